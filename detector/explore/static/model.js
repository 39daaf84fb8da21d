import { ask, element, link, load, onView, rangeOf, source, view } from "./page.js";
import { count, number, reason, span, time } from "./words.js";

const by = (id) => document.getElementById(id);
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const none = (words) => element("p", { class: "quiet" }, words);

function table(heads, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((one) => element("th", { scope: "col" }, one)))),
    element("tbody", {}, ...rows.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((one) => element("td", {}, one))))));
}

function meter(share, words) {
  const bar = element("span", { class: "meter" });
  bar.style.width = `${Math.max(0, Math.min(70, 70 * share))}%`;
  return element("span", { class: "metered" }, bar, words);
}

function facts(found) {
  const members = found.members.map((one) => `${one.family} over ${one.window} rows`).join(", ");
  const pairs = [["Version", found.version], ["Place", found.place], ["Written", found.written === null ? "unknown" : time(Math.round(found.written / 1000) * 1000)],
    ["Members", members], ["A row", span(found.interval)], ["A verdict waits", count(found.delay, "row")],
    ["Own scales", found.own_scales ? `of ${count(found.own_scales, "series", "series")}` : "none: one scale fits all series"],
    ["Slow levels", found.drift === null ? "none: the history is too short" : `known of ${count(found.drift.series, "series", "series")}`]];
  by("facts").replaceChildren(element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
}

function used(found) {
  const { used: use, shares } = found;
  const most = Math.max(1, ...use.series.map((one) => one.alarms));
  const parts = Object.entries(shares).filter(([, share]) => share > 0).map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
  const most_false = number(use.allowed, 3);
  const allowed = use.allowed < 1 ? "less than one false alarm" : `${most_false} false alarm${most_false === "1" ? "" : "s"}`;
  by("used").replaceChildren(
    element("p", {}, `${count(use.alarms, "alarm")} in this range${use.real ? `, ${use.real} of them real` : ""}; the budget of ${use.alarm_budget} allows ${allowed} in that time, and real ones do not count. Shares of the budget: ${parts.join(", ")}.`),
    use.evidence.length ? table(["Evidence", "Alarms"], use.evidence.map((one) => [reason(one.reason), String(one.alarms)])) : none("No kind of evidence raised an alarm."),
    ...(use.series.length ? [table(["Series", "Alarms"], use.series.map((one) => [element("a", { href: link("/series", { name: one.series }) }, one.series), meter(one.alarms / most, String(one.alarms))]))] : []));
}

function curve(found) {
  const { threshold } = found;
  const most = Math.max(...found.curve.map((one) => one.threshold));
  const rows = found.curve.map((one) => [one.alarm_budget, meter(one.threshold / most, number(one.threshold)), one.alarm_budget === threshold.alarm_budget ? "in force" : ""]);
  by("curve").replaceChildren(
    element("p", {}, `The score is 1 at the error ${number(threshold.value)}, found by ${threshold.method.replaceAll("_", " ")} for ${threshold.alarm_budget}; sharpness ${number(threshold.sharpness, 3)}.`),
    rows.length ? table(["Alarm budget", "Threshold", ""], rows) : none("The model keeps no held-out errors, so other budgets are unknown."));
}

function channels(found) {
  const rows = found.channels.map((one) => [one.name, one.law, `${number(one.center)} ± ${number(one.scale)}`, `± ${number(one.band)}`,
    one.stuck_after === null ? "never" : count(one.stuck_after, "row"), one.missing_after === null ? "not learnt" : count(one.missing_after, "row"),
    one.adds_up ? "yes" : "no", one.drift_unit === null ? "none" : number(one.drift_unit)]);
  const laws = [...new Map(found.channels.filter((one) => one.law_means).map((one) => [one.law, one.law_means]))];
  by("channels").replaceChildren(table(["Channel", "Law", "Centre and scale", "Expected band", "Stuck after", "Missing after", "Departures add up", "Unit of drift"], rows),
    ...laws.map(([law, means]) => none(`${law}: ${means}.`)));
}

const KINDS = { spike: "a spike", level: "a shift", drift: "a drift", noise: "noise", stuck: "a stuck value" };
const unitOf = (found, channel) => found.channels.find((one) => one.name === channel)?.unit ?? "";
const withUnit = (value, unit) => `${number(value, 3)}${unit ? ` ${unit}` : ""}`;

// One line a channel, and one column for each kind and length of fault.
function finds(found) {
  if (!found.detectable.length) { by("finds").replaceChildren(none("It was not measured which faults the model finds.")); return; }
  const columns = [...new Map(found.detectable.map((one) => [`${one.kind} ${one.rows}`, one])).values()];
  const names = [...new Set(found.detectable.map((one) => one.channel))];
  const said = (one, unit) => (one === undefined ? "not measured" : one.kind === "stuck" ? (one.smallest === null ? "not found" : "found")
    : one.smallest === null ? `not found up to ${withUnit(one.largest, unit)}` : withUnit(one.smallest, unit));
  const rows = names.map((name) => [name, ...columns.map(({ kind, rows: long }) =>
    said(found.detectable.find((one) => one.channel === name && one.kind === kind && one.rows === long), unitOf(found, name)))]);
  const best = found.detectable.find((one) => one.kind === "level" && one.smallest !== null);
  by("finds").replaceChildren(none(`The smallest fault that is found in held-out rows.${best ? ` So a shift of ${withUnit(best.smallest, unitOf(found, best.channel))} in ${best.channel} is found in ${count(best.rows, "row")}.` : ""}`),
    table(["Channel", ...columns.map((one) => `${KINDS[one.kind] ?? one.kind} in ${count(one.rows, "row")}`)], rows));
}

function drift(found) {
  if (found.drift === null) { by("drift").replaceChildren(none("The history is too short for slow levels: a week of a series is needed.")); return; }
  const rows = found.drift.channels.map((one) => [element("a", { href: link("/series", { name: one.series, channel: one.channel }) }, one.series), one.channel,
    one.level === null ? "unknown" : withUnit(one.level, unitOf(found, one.channel)), one.now === null ? "no value" : withUnit(one.now, unitOf(found, one.channel)),
    one.distance === null ? "unknown" : number(one.distance, 3), one.watched ? "yes" : "no"]);
  const listed = new Set(found.drift.channels.map((one) => one.series)).size;
  by("drift").replaceChildren(none(`Now is the mean from ${time(Math.round(found.drift.from / 1000) * 1000)} to ${time(Math.round(found.drift.to / 1000) * 1000)}. A distance of 1 is how far a quarter of a day usually wanders. `
    + `${listed} of ${count(found.drift.series, "series", "series")} with a known level are listed, the largest distances first.`),
    rows.length ? table(["Series", "Channel", "Level of the history", "Now", "Distance", "Watched"], rows) : none("No series with a known level has rows in this range."));
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A curve of one day with the spread around it: 24 hours are 480 wide, the range of all curves is 120 high.
function drawn(level, spread, least, most) {
  const place = (value) => 120 - (120 * (value - least)) / (most - least || 1);
  const at = (slot) => (480 * (slot + 0.5)) / level.length;
  const points = (sign) => level.map((one, slot) => `${at(slot).toFixed(1)},${place(one + sign * spread[slot]).toFixed(1)}`);
  const box = svg("svg", { viewBox: "0 0 480 120", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const hour of [6, 12, 18]) box.append(svg("line", { x1: 20 * hour, x2: 20 * hour, y1: 0, y2: 120, class: "hour" }));
  box.append(svg("polygon", { points: [...points(1), ...points(-1).reverse()].join(" "), class: "spread" }), svg("polyline", { points: points(0).join(" "), class: "level" }));
  return box;
}

function season(found) {
  if (found.season === null) { by("season").replaceChildren(none("No channel has a season in the history.")); return; }
  const parts = found.season.profiles.map((one) => {
    const ends = one.level.flatMap((values, at) => values.flatMap((value, slot) => [value - one.spread[at][slot], value + one.spread[at][slot]]));
    const [least, most] = [Math.min(...ends), Math.max(...ends)];
    const days = one.level.map((_, at) => DAYS.filter((__, day) => one.curve_of[day] === at).join(" "));
    const figures = one.level.map((values, at) => element("figure", {}, drawn(values, one.spread[at], least, most),
      element("figcaption", {}, `${one.period === "day" ? "every day" : days[at]}: ${number(Math.min(...values))} to ${number(Math.max(...values))}, spread ${number(Math.max(...one.spread[at]), 3)}`)));
    return element("section", { class: "chart" }, element("h3", {}, one.channel, element("span", {}, `repeats every ${one.period}, explains ${Math.round(100 * one.explains)} %; 0 h to 24 h, ${found.season.zone}`)), ...figures);
  });
  by("season").replaceChildren(...parts);
}

function modes(found) {
  if (found.modes === null) { by("modes").replaceChildren(none("The model knows no modes.")); return; }
  const holds = (one) => (one.low === null ? `${one.channel} up to ${number(one.high)}` : one.high === null ? `${one.channel} from ${number(one.low)}` : `${one.channel} ${number(one.low)} to ${number(one.high)}`);
  const rows = found.modes.map((one) => [one.name, one.conditions.map(holds).join(" and ") || "none of the others", `${number(100 * one.share, 3)} %`,
    one.judge.join(", ") || "nothing", count(one.settle_rows, "row"), one.usual_rows ? count(one.usual_rows, "row") : "unknown", number(one.steady, 3)]);
  by("modes").replaceChildren(none(found.modes_found ? "Training found them." : "The configuration states them."),
    table(["Mode", "Holds where", "Of the history", "Judges", "Settles in", "Change takes", "Factor"], rows));
}

function versions(found) {
  if (!found.versions.length) { by("versions").replaceChildren(none("This is the only version there.")); return; }
  const parts = found.versions.map((one) => {
    const notes = [{ current: "current", candidate: "candidate, never in use", former: "in use before" }[one.standing], one.is_shown ? "shown here" : ""].filter(Boolean).join(", ");
    const title = `${one.version}, written ${time(Math.round(one.written / 1000) * 1000)}${notes ? ` (${notes})` : ""}`;
    if (one.is_shown) return element("p", {}, title);
    const rows = one.differences.map((line) => [line.path, line.shown, line.other]);
    return element("details", {}, element("summary", {}, `${title}: ${count(rows.length, "difference")}`), element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Differences of ${one.version}` }, table(["Of the description", "Shown here", one.version], rows)));
  });
  by("versions").replaceChildren(...parts);
}

// Of several models all are listed, and one is shown if the address names it.
function models(found) {
  const range = Object.fromEntries([...view()].filter(([key]) => key === "from" || key === "to"));
  const rows = found.map((one) => [element("a", { href: link("/model", { model: one.model, ...range }) }, one.model), one.version,
    one.series ? element("a", { href: link("/", { model: one.model, ...range }) }, count(one.series, "series", "series")) : "none yet", one.channels.join(", "),
    one.alarm_budget, `${one.alarms}${one.real ? `, ${one.real} of them real` : ""}`, one.allowed < 1 ? "less than 1" : number(one.allowed, 3)]);
  by("models").replaceChildren(table(["Model", "Version", "Judges", "Channels", "Alarm budget", "Alarms", "Allowed false ones"], rows));
}

onView(() => load(async () => {
  const about = await source(), several = Boolean(about.models?.length), name = view().get("model");
  by("models").hidden = !several || Boolean(name);
  by("one").hidden = several && !name;
  if (several && !name) {
    const { models: found } = await ask("models", rangeOf(about));
    return () => {
      document.title = "Models - Streamgauge";
      by("name").textContent = "Models";
      by("summary").textContent = `${count(found.length, "model")} in one group. Alarms are those in this range.`;
      models(found);
    };
  }
  const found = await ask("model", { ...rangeOf(about), model: several ? name : null });
  return () => {
    document.title = `Model ${found.model} - Streamgauge`;
    by("name").textContent = `Model ${found.model}`;
    by("summary").textContent = `${count(found.channels.length, "channel")}, alarm budget ${found.threshold.alarm_budget}.`;
    [facts, used, curve, channels, finds, drift, season, modes, versions].forEach((one) => one(found));
    by("card").textContent = found.card;
  };
}));
