// Charts of a series on one axis of time: uPlot draws, this file says what.
/* global uPlot */
import { colour, element } from "./page.js";
import { number, state, time } from "./words.js";

const STATE_COLOURS = {
  anomalous: "paged", flatline: "paged", out_of_range: "paged", missing: "unusual", stale: "unusual", late: "unusual",
  gap: "quiet", warming: "line", transition: "accent", idle: "line",
};
let drawn = [];
const alive = new WeakMap();

// Rows that are far from each other are not joined by a line.
export function broken(found) {
  const far = 1.5 * Math.max(found.bucket, found.interval);
  const order = [];
  found.time.forEach((ms, at) => {
    if (at && ms - found.time[at - 1] > far) order.push(null);
    order.push(at);
  });
  const pick = (values) => order.map((at) => (at === null ? null : values[at]));
  const times = order.map((at, place) =>
    ((at === null ? found.time[order[place - 1]] + far : found.time[at]) + found.bucket / 2) / 1000);
  return { times, pick };
}

function shading(found) {
  return (chart) => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colour("incident");
    for (const one of found.incidents) {
      const left = chart.valToPos(one.start / 1000, "x", true);
      const right = chart.valToPos((one.end ?? found.to) / 1000, "x", true);
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.restore();
  };
}

function strip(found) {
  return (chart) => {
    const { ctx, bbox } = chart;
    const height = 5 * devicePixelRatio;
    const wide = Math.max(found.bucket, found.interval);
    found.time.forEach((ms, at) => {
      const name = STATE_COLOURS[found.state[at]];
      if (!name) return;
      const left = Math.max(bbox.left, chart.valToPos(ms / 1000, "x", true));
      const right = Math.min(bbox.left + bbox.width, chart.valToPos((ms + wide) / 1000, "x", true));
      ctx.fillStyle = colour(name);
      if (right > left) ctx.fillRect(left, bbox.top + bbox.height - height, Math.max(1, right - left), height);
    });
  };
}

// Labels of the axis of time: hours of the day, and the date where it changes.
function days(chart, ticks, axis, space, step) {
  let last = "";
  return ticks.map((seconds) => {
    const [day, clock] = time(1000 * seconds, step < 60).split(" ");
    const [big, small] = step >= 86400 ? [day.slice(0, 4), day.slice(5)] : [day, clock];
    const words = big === last ? small : `${small}\n${big}`;
    last = big;
    return words;
  });
}

export function options(found, place, series, more) {
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui" };
  return {
    width: Math.max(200, place.clientWidth), height: innerWidth < 700 ? 150 : 180,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    legend: { show: false },
    padding: [null, 36, null, null], // half a date, so that the last one is not cut
    cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { show: false } },
    scales: { x: { min: found.from / 1000, max: found.to / 1000 }, y: more.y ?? {} },
    axes: [{ ...axis, values: days, space: 70 }, { ...axis, size: 62, values: (_, ticks) => ticks.map((one) => (one === null ? "" : number(one, 4))) }],
    series: [{}, ...series],
    bands: more.bands,
    hooks: {
      drawClear: [shading(found)],
      draw: more.draw ? [more.draw] : [],
      setCursor: [(chart) => more.onCursor(chart.cursor.idx)],
      setSelect: [(chart) => {
        if (chart.select.width < 5) return;
        const [from, to] = [chart.select.left, chart.select.left + chart.select.width].map((left) => 1000 * chart.posToVal(left, "x"));
        chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        more.onZoom(from, to);
      }],
    },
  };
}

export function panel(charts, title, words) {
  const readout = element("span", {}, words);
  const place = element("div", { class: "plot" });
  charts.append(element("section", { class: "chart", role: "group", "aria-label": `${title}: ${words}` }, element("h3", {}, title, readout), place));
  return { readout, place };
}

export const plain = (name, width = 1.25, more = {}) => ({ stroke: colour(name), width, points: { show: false }, ...more });
const greatest = (values) => values.reduce((most, one) => (one !== null && one > most ? one : most), -Infinity);
const least = (values) => values.reduce((most, one) => (one !== null && one < most ? one : most), Infinity);

// What a chart shows of rows. `kind` differs where a chart has to be drawn anew; else its data are exchanged.
function scoreModel(found) {
  const { times, pick } = broken(found);
  const most = greatest(found.score_max), sum = greatest(found.cumulative_max);
  const words = `highest score ${number(Number.isFinite(most) ? most : null, 3)}, highest sum of small departures `
    + `${number(Number.isFinite(sum) ? sum : null, 3)}; the limit is the dashed line`;
  const logarithmic = Math.max(most, sum) > 20;
  const floor = (values) => (logarithmic ? values.map((one) => (one === null ? null : Math.max(one, 1e-3))) : values);
  const limit = pick(found.page_level_max.map((one) => one ?? 1)), modes = pick(found.mode ?? []);
  const data = [times, floor(pick(found.score_max)), floor(pick(found.score_min)), floor(pick(found.cumulative_max)), limit];
  const series = [plain("actual", 1.5), plain("actual", found.bucket ? 0.5 : 0), plain("sum", 1), plain("limit", 1.25, { dash: [6, 4] })];
  const says = (at) => (limit[at] === null ? words
    : `${time(1000 * times[at])}: score ${number(data[1][at], 3)}, limit ${number(limit[at], 3)}, small departures ${number(data[3][at], 3)}${modes[at] ? `, mode ${modes[at]}` : ""}`);
  const y = logarithmic ? { distr: 3 } : { range: (_, low, high) => [0, 1.1 * Math.max(1.1, high ?? 0)] };
  const more = { bands: [{ series: [1, 2], fill: colour("actual") + "33" }], y };
  return { title: "Score", kind: [logarithmic, Boolean(found.bucket)], words, says, data, series, more, draw: strip };
}

function channelModel(found, channel) {
  const { times, pick } = broken(found);
  const shift = (values, by) => pick(values).map((one) => (one === null ? null : one + by));
  const upper = shift(channel.expected_max, channel.band), lower = shift(channel.expected_min, -channel.band);
  const high = pick(channel.actual_max), low = pick(channel.actual_min);
  const middle = pick(channel.expected_max.map((one, at) => (one === null ? null : (one + channel.expected_min[at]) / 2)));
  const bounds = [least(channel.actual_min), greatest(channel.actual_max)].map((one) => (Number.isFinite(one) ? one : null));
  const words = `actual ${number(bounds[0])} to ${number(bounds[1])}; the shade is what is expected`;
  const series = [plain("band-edge", 0.75), plain("band-edge", 0.75), plain("expected", 1, { dash: [3, 3] }), plain("actual", 1.5), plain("actual", found.bucket ? 1 : 0)];
  const says = (at) => {
    const actual = high[at] === null ? "no value" : found.bucket && high[at] !== low[at] ? `${number(low[at])} to ${number(high[at])}` : number(high[at]);
    const expected = upper[at] === null ? "unknown" : `${number(lower[at])} to ${number(upper[at])}`;
    return `${time(1000 * times[at])}: ${actual}, expected ${expected}`;
  };
  const more = { bands: [{ series: [1, 2], fill: colour("band") }, { series: [4, 5], fill: colour("actual") + "40" }] };
  return { title: channel.name, kind: [Boolean(found.bucket)], words, says, data: [times, upper, lower, middle, high, low], series, more, draw: null };
}

// A chart that lives on while rows come: `held.now` and `held.model` are what it shows.
function build(charts, found, model, onZoom) {
  const { readout, place } = panel(charts, model.title, model.words);
  const held = { now: { ...found }, model, onZoom, readout, section: place.parentElement };
  const more = { ...model.more, draw: model.draw && model.draw(held.now), onZoom: (from, to) => held.onZoom(from, to),
    onCursor: (at) => { readout.textContent = at === null || at === undefined || held.model.data[0][at] === undefined ? held.model.words : held.model.says(at); } };
  held.chart = new uPlot(options(held.now, place, model.series, more), model.data, place);
  return held;
}

// Exchanges the rows. The cursor stays at its time; where that has left the range, it goes.
function renew(held, found, model, onZoom) {
  const { chart } = held, { left, top, idx } = chart.cursor;
  const hovered = left >= 0 && typeof idx === "number" ? chart.data[0][idx] : null;
  Object.assign(held.now, found);
  Object.assign(held, { model, onZoom });
  held.section.setAttribute("aria-label", `${model.title}: ${model.words}`);
  held.readout.textContent = model.words;
  chart.batch(() => {
    chart.setData(model.data, false);
    chart.setScale("x", { min: found.from / 1000, max: found.to / 1000 });
  });
  if (hovered === null || hovered === undefined) return;
  const inside = hovered >= found.from / 1000 && hovered <= found.to / 1000;
  chart.setCursor(inside ? { left: chart.valToPos(hovered, "x"), top } : { left: -10, top: -10 }, true, false);
}

export function showCharts(charts, found, onZoom) {
  const models = [scoreModel(found), ...found.channels.map((one) => channelModel(found, one))];
  const kind = JSON.stringify([colour("bg"), ...models.map((one) => [one.title, one.kind])]);
  const before = alive.get(charts);
  if (before?.kind === kind) { before.all.forEach((one, at) => renew(one, found, models[at], onZoom)); return; }
  drawn = drawn.filter(({ chart, place }) => !charts.contains(place) || chart.destroy());
  charts.replaceChildren();
  const all = models.map((one) => build(charts, found, one, onZoom));
  keep(all.map((one) => one.chart));
  alive.set(charts, { kind, all });
}

export const keep = (made) => drawn.push(...made.map((chart) => ({ chart, place: chart.root.parentElement })));

export function describe(found) {
  const states = [...new Set(found.state)].filter((one) => one !== "ok").map(state);
  const rows = `${found.rows.toLocaleString("en")} rows`;
  const detail = found.bucket
    ? `${rows} in ${found.time.length.toLocaleString("en")} steps: each line shows the least and the greatest value of a step.`
    : `${rows}, each one shown.`;
  const modes = [...new Set(found.mode ?? [])].filter((one) => one !== null);
  return `${detail} ${modes.length ? `Modes of operation: ${modes.join(", ")}. ` : ""}${states.length ? `States beside ok, at the foot of the score: ${states.join(", ")}.` : "All rows are ok."} `
    + "Incidents are shaded. Drag across a chart to zoom; the keys + - 0 and the arrows do the same.";
}

addEventListener("resize", () => drawn.forEach(({ chart, place }) => chart.setSize({ width: Math.max(200, place.clientWidth), height: chart.height })));
