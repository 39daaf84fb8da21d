// Two models on the same rows: incidents side by side, scores over each other, what the cards say differently.
/* global uPlot */
import { element, link } from "./page.js";
import { broken, keep, options, panel, plain } from "./charts.js";
import { number, span, time } from "./words.js";

const WHO = { both: "both", first: "only the first", second: "only the second" };

function overlay(charts, found, names) {
  const words = `line: ${names[0]}, dots: ${names[1]}; strength, where 1 is the limit`;
  const { readout, place } = panel(charts, found.series, words);
  const shown = { ...found, incidents: [] };
  const { times, pick } = broken(shown);
  const first = pick(found.first), second = pick(found.second);
  const limit = times.map(() => 1);
  const most = [...found.first, ...found.second].reduce((high, one) => Math.max(high, one ?? 0), 0);
  const floor = (values) => (most > 20 ? values.map((one) => (one === null ? null : Math.max(one, 1e-3))) : values);
  const y = most > 20 ? { distr: 3 } : { range: (_, low, high) => [0, 1.1 * Math.max(1.1, high ?? 0)] };
  const series = [plain("actual", 1.25), plain("sum", 1.5, { dash: [2, 3] }), plain("limit", 1.25, { dash: [6, 4] })];
  const onCursor = (at) => {
    readout.textContent = at === null || at === undefined ? words
      : `${time(1000 * times[at])}: ${names[0]} ${number(first[at], 3)}, ${names[1]} ${number(second[at], 3)}`;
  };
  const onZoom = (from, to) => { location.href = link("/series", { name: found.series, from: Math.floor(from), to: Math.ceil(to) }); };
  keep([new uPlot(options(shown, place, series, { onCursor, onZoom, y }), [times, floor(first), floor(second), limit], place)]);
}

const said = (name, one) => element("td", { "data-model": name }, one === null ? "nothing" : `${one.sentence} (${one.severity})`);

export function comparison(place, found) {
  const heads = ["Began", "Raised by", found.names[0], found.names[1]].map((name) => element("th", { scope: "col" }, name));
  const rows = found.incidents.map((one) => element("tr", { "data-kind": one.kind },
    element("td", {}, time(one.start), element("span", { class: "quiet" }, one.end === null ? " still open" : ` for ${span(one.end - one.start)}`)),
    element("td", { class: one.kind === "both" ? "" : "warn" }, WHO[one.kind]), said(found.names[0], one.first), said(found.names[1], one.second)));
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 4, class: "quiet" }, "Neither raised an incident.")));
  const charts = element("div", { class: "charts" });
  const cards = found.cards.map(([kind, line]) => element(kind === "first" ? "del" : "ins", {}, `${kind === "first" ? "- " : "+ "}${line}\n`));
  place.replaceChildren(
    ...found.words.map((one) => element("p", {}, one)),
    element("div", { class: "wide pairs" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))),
    element("h3", {}, "Scores over each other"), charts,
    element("h3", {}, "What the cards say differently"),
    element("pre", { id: "card-differences" }, ...(cards.length ? cards : ["nothing"])));
  found.series.forEach((one) => overlay(charts, one, found.names));
}
