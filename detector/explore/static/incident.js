import { ask, element, incidentList, link, load, onView, source, view } from "./page.js";
import { showDecisions } from "./decide.js";
import { follow } from "./live.js";
import { describe, showCharts } from "./charts.js";
import { ranked } from "./evidence.js";
import { count, number, opinion, reason, span, state, time } from "./words.js";

const by = (id) => document.getElementById(id);

function facts(found, models) {
  const about = found.evidence;
  const pairs = [
    ["Series", element("a", { href: link("/series", { name: found.series, from: Math.floor(found.window.from), to: Math.ceil(found.window.to) }) }, found.series)],
    ...(models.length ? [["Model", element("a", { href: link("/model", { model: found.model }) }, found.model)]] : []),
    ["Began", time(found.start)],
    ["Ended", found.end === null ? `still open${about.lasting_since ? `, lasting since ${time(Date.parse(about.lasting_since))}: somebody must decide` : ""}` : `${time(found.end)}, after ${span(found.end - found.start)}`],
    ["Worst row", `${time(found.peak)}${found.peak_score === null ? "" : `, score ${number(found.peak_score, 3)}`}`],
    ["Why", reason(found.reason)],
    ["Kind of evidence", state(about.evidence ?? "unknown")],
    ...(found.modes.length ? [["Mode of operation", found.modes.map((one) => `${one.mode ?? "unknown"} (${count(one.rows, "row")})`).join(", then ")]] : []),
    ["Runbook", element("span", {}, ...found.runbooks.flatMap(({ alert, link: to }, at) => [at ? ", " : "",
      to === null ? alert : element("a", { href: to }, alert)]))],
    ["Id", found.id],
  ];
  if (about.held_by.length) pairs.push(["Opened late", `delayed by the rules: ${about.held_by.map(state).join(", ")}`]);
  if (about.flapping) pairs.push(["Flapping", "it was kept open, because the series kept turning bad and good"]);
  if (about.decision) pairs.push(["Decision", `${about.decision.action} by ${about.decision.who || about.decision.by}${about.decision.why ? `: ${about.decision.why}` : ""}`]);
  by("facts").replaceChildren(element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
}

function others(found) {
  const rows = found.others.map((one) => {
    const after = one.seconds_after;
    const when = `${time(one.onset)}, ${after < 1 ? "at once" : `${span(1000 * after)} later`}`;
    return element("tr", {},
      element("td", {}, element("a", { href: link("/series", { name: one.series, from: Math.floor(found.window.from), to: Math.ceil(found.window.to) }) }, one.series)),
      element("td", { class: "number" }, number(one.strength, 3)),
      element("td", { class: "number" }, number(one.strength_before, 3)),
      element("td", {}, when),
      element("td", {}, one.incident ? element("a", { href: link("/incident", { id: one.incident }) }, "incident") : "none"));
  });
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 5, class: "quiet" }, "None: all other series were as usual.")));
  by("others").tBodies[0].replaceChildren(...rows);
}

function rows(found) {
  const window = found.window;
  const names = window.channels.map((one) => one.name), hasMode = window.mode.some((one) => one !== null);
  const cells = (at) => window.channels.map((one) => {
    const actual = window.bucket && one.actual_min[at] !== one.actual_max[at] ? `${number(one.actual_min[at])} to ${number(one.actual_max[at])}` : number(one.actual_max[at]);
    return element("td", { class: "number" }, one.actual_max[at] === null ? "none" : actual);
  });
  const body = window.time.map((ms, at) => element("tr", {}, element("th", { scope: "row" }, time(ms)), element("td", {}, state(window.state[at])),
    hasMode ? element("td", {}, window.mode[at] ?? "unknown") : null, element("td", { class: "number" }, number(window.score_max[at], 3)), ...cells(at)));
  const heads = ["Time", "State", ...(hasMode ? ["Mode"] : []), "Score", ...names].map((name) => element("th", { scope: "col" }, name));
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

const refresh = () => load(async () => {
  const about = await source();
  const id = view().get("id");
  if (!id) throw new Error("the address names no incident");
  const found = await ask(`incidents/${encodeURIComponent(id)}`, { points: Math.round(Math.min(1200, Math.max(300, innerWidth - 120))) });
  return () => {
    document.title = `${found.series} - Streamgauge`;
    by("sentence").textContent = found.sentence;
    by("summary").replaceChildren(element("span", { class: found.severity === "critical" ? "bad" : "warn" }, found.severity),
      `, ${found.state === "firing" ? "still open" : "over"}${found.opinion ? `; ${opinion(found.opinion)}` : ""}`);
    facts(found, about.models ?? []);
    by("ranked").tBodies[0].replaceChildren(...ranked(found.evidence.channels));
    by("detail").textContent = describe(found.window);
    const window = { ...found.window, incidents: [found] };
    showCharts(by("charts"), window, (from, to) => { location.href = link("/series", { name: found.series, from: Math.floor(from), to: Math.ceil(to) }); });
    by("rows").ontoggle = () => { if (by("rows").open) by("rows").lastElementChild.replaceChildren(rows(found)); };
    others(found);
    incidentList(by("earlier"), found.earlier, found.earlier.length, true, found.opinions_unknown);
    showDecisions(about, { incident: found.id, series: found.series, from: found.start });
  };
});

onView(refresh);
follow(refresh);
