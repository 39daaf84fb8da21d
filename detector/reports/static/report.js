// The first page of the report of a backtest: what happened in words, then the evidence.
import { ask, element, link, load, source } from "./page.js";
import { showCharts } from "./charts.js";
import { ranked } from "./evidence.js";
import { LEVELS, lane } from "./lanes.js";
import { count, number, span, state, time } from "./words.js";
import { budgets } from "./budgets.js";
import { comparison } from "./comparison.js";
import { histogram } from "./histogram.js";

const by = (id) => document.getElementById(id);
const OPEN = 3;
const cell = (words, more = {}) => element("td", more, words);
const visit = (address) => { location.href = address; };

function lanes(fleet, held) {
  const drawn = [];
  const rows = fleet.series.map((one) => {
    const shown = held.has(one.series);
    const open = (from, to) => { if (shown) visit(link("/series", { name: one.series, from: Math.floor(from - (to - from)), to: Math.ceil(to + (to - from)) })); };
    const made = lane(one.series, fleet.lanes, one.lane, open);
    drawn.push(made);
    const trouble = one.incidents ? `${one.severity}, ${one.incidents}${one.firing ? ", open" : ""}` : "none";
    const bad = one.state === "anomalous" ? "bad" : ["ok", "idle"].includes(one.state) ? "" : "warn";
    return element("tr", {},
      element("td", {}, shown ? element("a", { href: link("/series", { name: one.series }) }, one.series) : one.series),
      cell(state(one.state), { class: bad }), cell(number(one.strength, 3), { class: "number" }),
      cell(trouble, { class: one.severity === "critical" ? "bad" : one.incidents ? "warn" : "quiet" }),
      element("td", { class: "lane" }, made.canvas));
  });
  by("fleet").tBodies[0].replaceChildren(...rows);
  by("lane-from").textContent = time(fleet.lanes.from);
  by("lane-to").textContent = time(fleet.lanes.from + fleet.lanes.num * fleet.lanes.step);
  const shades = LEVELS.map(([name, words]) => {
    const patch = element("i");
    patch.style.background = `var(--${name})`;
    if (name === "none") patch.style.border = "1px solid var(--line)";
    return element("span", {}, patch, words);
  });
  by("legend").replaceChildren(element("span", {}, "Strength, where 1 is the limit:"), ...shades);
  const draw = () => drawn.forEach((one) => one.draw());
  addEventListener("resize", draw);
  draw();
}

// One incident: its sentence, and on demand the channels and the rows around it.
function card(one, isHeld, isOpen) {
  const severity = element("span", { class: one.severity === "critical" ? "bad" : "warn" }, one.severity);
  const line = element("summary", {}, element("span", { class: "quiet" }, `${time(one.start)} `), severity, ` ${one.sentence}`, one.end === null ? element("span", { class: "quiet" }, ", still open at the end") : "");
  if (!isHeld) {
    return element("details", { class: "incident", "data-id": one.id }, line,
      element("p", { class: "quiet" }, "Its rows are left out to keep this file small: the command streamgauge explore has them."));
  }
  const body = element("div");
  const made = element("details", { class: "incident", "data-id": one.id }, line, body);
  const show = async () => {
    if (!made.open || body.childElementCount) return;
    const found = await ask(`incidents/${encodeURIComponent(one.id)}`);
    const heads = ["Channel", "Share of the error", "Actual", "Expected"].map((name, at) => element("th", { scope: "col", class: at === 1 ? "share" : at === 2 ? "number" : null }, name));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...ranked(found.evidence.channels)));
    const charts = element("div", { class: "charts" });
    body.replaceChildren(table, charts, element("p", {}, element("a", { href: link("/incident", { id: one.id }) }, "All about this incident")));
    const few = { ...found.window, incidents: [found], channels: found.window.channels.slice(0, 2) };
    showCharts(charts, few, (from, to) => visit(link("/series", { name: found.series, from: Math.floor(from), to: Math.ceil(to) })));
  };
  made.addEventListener("toggle", show);
  made.open = isOpen;
  return made;
}

function cards(list, held, worst) {
  const made = list.incidents.map((one) => card(one, held.has(one.id), worst.includes(one.id)));
  if (!made.length) made.push(element("p", {}, "None: no rule opened an incident."));
  if (list.total > list.incidents.length) made.push(element("p", { class: "quiet" }, `${count(list.total - list.incidents.length, "earlier incident")} left out here; incidents.json has all of them.`));
  by("cards").replaceChildren(...made);
}

function labels(found, held) {
  by("labels").hidden = found === null;
  if (found === null) return;
  by("labels-words").textContent = found.words.join(" ");
  const rows = found.events.map((one) => element("tr", {},
    cell(held.has(one.series) ? element("a", { href: link("/series", { name: one.series, from: Math.floor(2 * one.start - one.end), to: Math.ceil(2 * one.end - one.start) }) }, one.series) : one.series),
    cell(time(one.start)), cell(span(one.end - one.start)),
    cell(one.found ? `yes, ${one.delay_rows === 0 ? "at once" : `after ${count(one.delay_rows, "row")}`}` : "missed", { class: one.found ? "" : "bad" }),
    cell(one.incident === null ? "none" : element("a", { href: link("/incident", { id: one.incident }) }, "found"))));
  by("events").tBodies[0].replaceChildren(...rows);
}

function table(place, pairs) {
  place.replaceChildren(...pairs.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), cell(value, { class: "number" }))));
}

load(async () => {
  const [about, report, fleet, list] = await Promise.all([source(), ask("report"), ask("fleet"), ask("incidents")]);
  return () => {
    const series = new Set(report.held.series), incidents = new Set(report.held.incidents);
    document.title = `${report.title} - Streamgauge`;
    by("title").textContent = report.title;
    by("summary").replaceChildren(...report.words.map((one) => element("p", {}, one)));
    lanes(fleet, series);
    by("lanes-left").textContent = report.left_out.join(" ");
    labels(report.labels, series);
    by("scores-words").textContent = report.scores.words;
    histogram(by("scores"), report.scores);
    budgets(by("budgets"), report.budgets, incidents);
    by("peers").hidden = report.apart.length === 0;
    table(by("apart").tBodies[0], report.apart);
    table(by("quality").tBodies[0], report.quality);
    by("made").replaceChildren(...report.made.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
    by("card").textContent = about.card;
    if (report.comparison) { by("compared").hidden = false; comparison(by("comparison"), report.comparison); }
    cards(list, incidents, report.held.incidents.slice(0, OPEN));
  };
});
