// Lines or points over a number, such as losses by epoch: the charts of a report whose axis is no time.
/* global uPlot */
import { colour } from "./page.js";
import { keep, panel } from "./charts.js";
import { number } from "./words.js";

// `lines` are { name, colour, values, points }; `more` may set the names of the axes and logarithmic ones.
export function plot(charts, title, words, x, lines, more = {}) {
  const { readout, place } = panel(charts, title, words);
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui", labelFont: "12px system-ui", labelSize: 18 };
  const values = (_, ticks) => ticks.map((one) => (one === null ? "" : number(one, 3)));
  const series = lines.map((one) => ({
    stroke: colour(one.colour), width: 1.5, dash: one.dash ? [4, 4] : undefined,
    paths: one.points ? () => null : undefined,
    points: { show: one.points ?? false, size: 5, fill: colour(one.colour) },
  }));
  const chart = new uPlot({
    width: Math.max(200, place.clientWidth), height: more.height ?? 200, legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, distr: more.log ? 3 : 1 }, y: { distr: more.log ? 3 : 1 } },
    axes: [{ ...axis, label: more.x, values }, { ...axis, size: 62, values }],
    series: [{}, ...series],
    hooks: { setCursor: [(one) => {
      const at = one.cursor.idx;
      readout.textContent = at === null || at === undefined ? words
        : `${more.x ?? "at"} ${number(x[at])}: ${lines.filter((each) => each.values[at] !== null).map((each) => `${each.name} ${number(each.values[at], 3)}`).join(", ")}`;
    }] },
  }, [x, ...lines.map((one) => one.values)], place);
  keep([chart]);
}
