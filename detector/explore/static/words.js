// Numbers, times and states as people read them. All times are UTC.
const pad = (number, length = 2) => String(number).padStart(length, "0");

export function time(ms, withSeconds = false) {
  const when = new Date(ms);
  const day = `${when.getUTCFullYear()}-${pad(when.getUTCMonth() + 1)}-${pad(when.getUTCDate())}`;
  const seconds = withSeconds || ms % 60000 ? `:${pad(when.getUTCSeconds())}` : "";
  return `${day} ${pad(when.getUTCHours())}:${pad(when.getUTCMinutes())}${seconds}`;
}

export function span(ms) {
  for (const [unit, length] of [["d", 864e5], ["h", 36e5], ["min", 6e4], ["s", 1e3]]) {
    if (ms >= 2 * length || (unit === "s" && ms >= length)) return `${number(ms / length, 3)} ${unit}`;
  }
  return ms >= 6e4 ? "1 min" : ms ? `${number(ms, 3)} ms` : "0 s";
}

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "unknown";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

export const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
export const state = (name) => name.replaceAll("_", " ");

const REASONS = {
  score: "the values together are unusual",
  cumulative: "small departures have added up",
  season: "unusual for the time of day",
  drift: "a slow drift",
  mode: "a change of mode takes too long",
  flatline: "a sensor is stuck",
  out_of_range: "a value is out of range",
  missing: "a channel has stopped sending",
  silent: "the series has stopped sending",
  stream_silent: "the whole stream has stopped",
};
const ACTIONS = { accept: "accepted", reject: "rejected as a fault", mute: "muted", "false-alarm": "false alarm", real: "real" };
export function decided(one) {
  const what = one.action === "mute" && one.until <= one.at ? "mute ended" : ACTIONS[one.action] ?? one.action;
  const until = one.action === "mute" && one.until > one.at ? ` until ${time(one.until)}` : "";
  return `${what}${one.channels.length ? ` (${one.channels.join(", ")})` : ""}${until}`;
}

export function outcome(one, isBacktest) {
  if (one.outcome === "kept") return "kept, without effect on scores";
  if (one.outcome === "applied") return `in effect from the row of ${time(one.at, true)}`;
  if (one.outcome === "ignored") return `it changed nothing${one.reason ? `: ${one.reason}` : ""}`;
  return isBacktest ? "pending until the backtest is repeated" : "pending until the next row of the series";
}

export const opinion = (name) => (name === null ? "" : `people say: ${ACTIONS[name] ?? name}`);
export const reason = (name) => REASONS[name] ?? state(name);
