// A slider over alarm budgets: what each would have raised was computed when the report was written.
import { element, link } from "./page.js";
import { count, number, reason, time } from "./words.js";

export function budgets(place, found, held) {
  if (found.budgets === null) { place.replaceChildren(element("p", {}, found.words)); return; }
  const all = found.budgets;
  const start = Math.max(0, all.findIndex((one) => one.in_force));
  const slider = element("input", { type: "range", id: "budget", min: 0, max: all.length - 1, value: start, step: 1, list: "budget-steps" });
  const steps = element("datalist", { id: "budget-steps" }, ...all.map((one, at) => element("option", { value: at })));
  const words = element("p", { id: "budget-words", "aria-live": "polite" });
  const body = element("tbody");
  const heads = ["Series", "Began", "Why", "Peak"].map((name, at) => element("th", { scope: "col", class: at === 3 ? "number" : null }, name));
  const show = () => {
    const one = all[Number(slider.value)];
    slider.setAttribute("aria-valuetext", one.alarm_budget);
    words.textContent = `${one.alarm_budget}${one.in_force ? " (in force)" : ""}: ${count(one.incidents.length + one.left_out, "incident")}, `
      + `${count(one.alarms, "alarm")} of the model; threshold ${number(one.threshold, 4)}.`
      + (one.left_out ? ` The first ${one.incidents.length} are listed.` : "");
    body.replaceChildren(...one.incidents.map((each) => element("tr", {},
      element("td", {}, held.has(each.id) ? element("a", { href: link("/incident", { id: each.id }) }, each.series) : each.series),
      element("td", {}, time(each.start)), element("td", {}, reason(each.reason)),
      element("td", { class: "number" }, number(each.peak_score, 3)))));
  };
  slider.addEventListener("input", show);
  const ends = element("div", { class: "ends quiet" }, element("span", {}, all[0].alarm_budget), element("span", {}, all.at(-1).alarm_budget));
  place.replaceChildren(element("p", { class: "quiet" }, found.words),
    element("label", { for: "budget" }, "Alarm budget"), slider, steps, ends, words,
    element("div", { class: "wide" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)));
  show();
}
