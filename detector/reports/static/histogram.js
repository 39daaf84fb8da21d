// Numbers of rows by ranges of a value, as bars of uPlot.
/* global uPlot */
import { colour, element } from "./page.js";
import { keep, panel } from "./charts.js";
import { number } from "./words.js";

// `edges` has one number more than `counts`; the bars are drawn at equal widths on a logarithmic axis of counts.
export function histogram(place, found) {
  const total = found.counts.reduce((sum, one) => sum + one, 0);
  const words = `${total.toLocaleString("en")} rows; the height of a bar is logarithmic`;
  const { readout, place: plot } = panel(place, found.title, words);
  const at = found.counts.map((_, index) => index);
  const range = (index) => `${number(found.edges[index], 3)} to ${found.edges[index + 1] === null ? "more" : number(found.edges[index + 1], 3)}`;
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui" };
  const above = found.limit;
  const powers = (_, splits) => splits.map((one) => (Number.isInteger(Math.log10(one)) ? one : null));
  const grid = { ...axis.grid, filter: powers }, ticks = { ...axis.ticks, filter: powers };
  const every = plot.clientWidth < 60 * at.length ? 2 : 1;
  const chart = new uPlot({
    width: Math.max(200, plot.clientWidth), height: 180, legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: [-0.6, at.length - 0.4] }, y: { distr: 3, log: 10, range: (_, low, high) => [0.5, Math.max(10, high ?? 1)] } },
    axes: [
      { ...axis, grid: { show: false }, splits: () => at, values: (_, splits) => splits.map((one) => (one % every ? "" : number(found.edges[one], 3))) },
      { ...axis, grid, ticks, filter: powers, size: 62, values: (_, splits) => splits.map((one) => (one === null ? "" : one.toLocaleString("en"))) },
    ],
    series: [{}, ...["actual", "limit"].map((name) => ({ stroke: colour(name), fill: `${colour(name)}88`, width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [0.86] }) }))],
    hooks: { setCursor: [(one) => {
      const index = one.cursor.idx;
      readout.textContent = index === null || index === undefined ? words : `${range(index)}: ${found.counts[index].toLocaleString("en")} rows`;
    }] },
  }, [at, found.counts.map((one, index) => (index < above && one ? one : null)), found.counts.map((one, index) => (index >= above && one ? one : null))], plot);
  keep([chart]);
  const rows = found.counts.map((one, index) => element("tr", {}, element("td", {}, range(index)), element("td", { class: "number" }, one.toLocaleString("en"))));
  place.append(element("details", {}, element("summary", {}, "The numbers as a table"), element("table", {}, element("tbody", {}, ...rows))));
}
