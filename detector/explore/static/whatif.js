// What other settings would have found: a form, a computation in the background, and its result.
import { ask, change, element, isReport, link, rangeOf, send, view } from "./page.js";
import { count, number, span, state, time } from "./words.js";

const RULES = {
  for_rows: "open after so many bad rows", of_rows: "among the last so many rows", quiet_rows: "close after so many quiet rows",
  close_score: "a row is quiet up to the strength", critical_score: "critical from the strength",
  min_duration: "bad rows must span", cooldown: "no other within",
};
const POLL = 250;
let place = null, settings = null, running = null, series = "", about = null;
const by = (name) => place.querySelector(`[name=${name}]`);
const out = (name) => place.querySelector(`.${name}`);

function field(name) {
  const value = settings.rules[name];
  const isNumber = typeof value === "number";
  const input = element("input", { name, type: isNumber ? "number" : "text", step: "any", min: isNumber ? 0 : null, size: 7, autocomplete: "off" });
  return element("label", {}, `${RULES[name]} `, input);
}

const title = () => element("summary", {}, "What if: another alarm budget, other rules");

function build() {
  const budgets = settings.budgets;
  const slider = element("input", { name: "budget", type: "range", min: 0, max: budgets.length - 1, step: 1, list: "budgets" });
  const marks = element("datalist", { id: "budgets" }, ...budgets.map((one, at) => element("option", { value: at, label: one })));
  const form = element("form", { class: "whatif", onsubmit: (event) => { event.preventDefault(); compute(); } },
    element("label", { class: "budget" }, "Alarm budget ", slider, element("output", {})), marks,
    element("details", {}, element("summary", {}, "Incident rules"), element("div", { class: "bar rules" }, ...Object.keys(RULES).map(field))),
    element("div", { class: "bar" },
      element("button", { type: "submit", class: "start" }, "Compute"),
      element("button", { type: "button", class: "cancel", hidden: true, onclick: cancel }, "Cancel"),
      element("progress", { hidden: true, max: 1, "aria-label": "Progress of the computation" }),
      element("span", { class: "status quiet", role: "status" })));
  form.addEventListener("input", () => { say(); remember(); });
  place.replaceChildren(title(), form, element("div", { class: "result" }));
}

const budget = () => settings.budgets[Number(by("budget").value)];

function say() {
  const is = budget() === settings.alarm_budget ? `${budget()}, as now` : `${budget()}; now ${settings.alarm_budget}`;
  out("budget").querySelector("output").textContent = is;
  by("budget").setAttribute("aria-valuetext", is);
}

// What differs from the present settings is in the address.
function remember() {
  const values = { budget: budget() === settings.alarm_budget ? null : budget() };
  for (const name of Object.keys(RULES)) values[name] = by(name).value === String(settings.rules[name]) ? null : by(name).value;
  change(values, true, true);
}

function fill() {
  const address = view();
  const at = settings.budgets.indexOf(address.get("budget") ?? settings.alarm_budget);
  by("budget").value = at < 0 ? settings.budgets.indexOf(settings.alarm_budget) : at;
  for (const name of Object.keys(RULES)) by(name).value = address.get(name) ?? settings.rules[name];
  say();
}

function question() {
  const incidents = {};
  for (const name of Object.keys(RULES)) {
    const now = settings.rules[name], text = by(name).value.trim();
    if (text !== String(now) && text !== "") incidents[name] = typeof now === "number" ? Number(text) : text;
  }
  const { from, to } = rangeOf(about);
  return { series, from: Math.floor(from), to: Math.ceil(to), alarm_budget: budget(), incidents };
}

function busy(job) {
  running = job;
  out("cancel").hidden = job === null;
  place.querySelector("progress").hidden = job === null;
  place.querySelector("progress").removeAttribute("value");
  out("start").disabled = job !== null;
}

async function compute() {
  out("result").replaceChildren();
  out("status").textContent = "starting";
  try {
    const asked = question();
    let job = await send("POST", "whatif", asked);
    busy(job.id);
    while (job.state === "running") {
      await new Promise((done) => setTimeout(done, POLL));
      job = await ask(`whatif/${job.id}`);
      if (job.of) place.querySelector("progress").value = job.done / job.of;
      out("status").textContent = job.of ? `${count(job.done, "row")} of ${job.of.toLocaleString("en")}, ${number(job.seconds, 2)} s` : "loading the model";
    }
    out("status").textContent = { done: `computed in ${number(job.seconds, 2)} s`, cancelled: "cancelled", failed: "" }[job.state];
    if (job.state === "failed") throw new Error(job.message);
    if (job.state === "done") show(job.result, asked);
  } catch (error) {
    out("status").textContent = `This cannot be computed: ${error.message}`;
  }
  const focused = document.activeElement === out("cancel");
  busy(null);
  if (focused) out("start").focus();
}

const cancel = () => running && send("DELETE", `whatif/${running}`).catch(() => null);

function figures(found) {
  const { present, proposed } = found;
  const delay = (one) => (one.delay_seconds === null ? "unknown" : span(1000 * one.delay_seconds));
  const rows = [
    ["Alarm budget", (one) => one.alarm_budget],
    ["Threshold", (one) => number(one.threshold)],
    ["Incidents", (one) => one.incidents],
    ["of them critical", (one) => one.critical],
    ["Alarms that count for the budget", (one) => `${one.alarms}; the budget allows ${one.allowed < 1 ? "less than one" : number(one.allowed, 3)}`],
  ];
  if (present.events !== null) rows.push(["Labelled events caught", (one) => `${one.caught} of ${one.events}`],
    ["Incidents beside any event", (one) => one.false], ["Median delay", delay]);
  const body = rows.map(([name, of]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, String(of(present))), element("td", {}, String(of(proposed)))));
  const heads = ["", "Now", "Then"].map((name) => element("th", { scope: "col" }, name));
  return element("table", { class: "figures" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

function words(found) {
  const later = found.later_seconds;
  const opens = later === null ? "" : later === 0 ? ", opened at the same time"
    : `, opened ${span(1000 * Math.abs(later))} ${later > 0 ? "later" : "earlier"} (median)`;
  return `${count(found.common, "incident")} in common${opens}; ${found.new} new; ${found.gone} gone.`;
}

// Two rows of bars on the axis of time: what is found now, and then.
function bars(found, asked) {
  const line = (name, wanted) => {
    const shown = found.incidents.filter((one) => wanted.includes(one.change));
    const marks = shown.map((one) => {
      const left = Math.max(0, (one.start - asked.from) / (asked.to - asked.from));
      const right = Math.min(1, ((one.end ?? asked.to) - asked.from) / (asked.to - asked.from));
      const mark = element("i", { class: one.change, title: one.sentence });
      mark.style.left = `${100 * left}%`;
      mark.style.width = `max(3px, ${100 * Math.max(0, right - left)}%)`;
      return mark;
    });
    return element("div", { class: "bars" }, element("span", {}, name), element("div", { role: "img", "aria-label": `${name}: ${count(shown.length, "incident")}` }, ...marks));
  };
  return element("div", {}, line("Now", ["same", "gone"]), line("Then", ["same", "new"]));
}

function list(found) {
  const rows = found.incidents.filter((one) => one.change !== "same").map((one) => element("li", {},
    element("span", { class: "quiet" }, time(one.start)),
    element("span", { class: one.change === "new" ? "warn" : "quiet" }, one.change),
    element("a", { href: link("/series", { name: one.series, from: Math.floor(one.start - 6e5), to: Math.ceil((one.end ?? one.start) + 6e5) }) }, one.sentence)));
  return element("ul", { class: "incidents" }, ...rows.slice(0, 40));
}

function toml(text) {
  if (!text) return element("p", { class: "quiet" }, "These are the present settings: there is nothing to change.");
  const done = element("span", { class: "quiet", role: "status" });
  const code = element("pre", { class: "toml", tabindex: 0, "aria-label": "Changed settings as TOML" }, text);
  const copy = element("button", { type: "button", class: "copy", onclick: async () => {
    try { await navigator.clipboard.writeText(text); done.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); done.textContent = "selected: copy it with the keyboard"; }
  } }, "Copy");
  return element("div", {}, code, element("div", { class: "bar" }, copy, done));
}

function exactness(found) {
  const from = found.is_whole ? "from the first row on: it is exact" : `from ${time(found.read_from)} on. What adds up for longer began there anew, so the first part may differ from the stream`;
  const check = found.repeats ? "With the present settings it gives the stored incidents." : "With the present settings it does not give the stored incidents: take the figures as close, not as equal.";
  return element("p", { class: found.repeats ? "quiet" : "warn" }, `The engine read ${count(found.rows, "row")} again, ${from}. ${check}`);
}

function show(found, asked) {
  out("result").replaceChildren(element("p", { class: "lead" }, words(found)), bars(found, asked), figures(found), list(found), toml(found.toml), exactness(found));
}

export async function whatIf(where, source, name = "") {
  where.hidden = isReport;
  if (isReport) return;
  [place, about, series] = [where, source, name];
  if (settings === null) {
    settings = await ask("whatif", { series });
    if (settings.why_not) place.replaceChildren(title(), element("p", { class: "warn" }, `Nothing can be computed: ${settings.why_not}`));
    else build();
  }
  if (!settings.why_not && running === null) fill();
  if (["budget", ...Object.keys(RULES)].some((one) => view().has(one))) place.open = true;
}
addEventListener("pagehide", cancel);
