// What all pages share: the address as the state of the view, requests, small elements.
import { time, span, count, opinion } from "./words.js";

export const view = () => new URLSearchParams(location.search);

export function change(values, replace = false, quietly = false) {
  const next = view();
  for (const [name, value] of Object.entries(values)) {
    next.delete(name);
    if (Array.isArray(value)) value.forEach((one) => next.append(name, one));
    else if (value !== null && value !== undefined && value !== "") next.set(name, value);
  }
  const target = `${location.pathname}${next.size ? `?${next}` : ""}`;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  if (!quietly) dispatchEvent(new Event("view"));
}

export function onView(show) {
  addEventListener("view", show);
  addEventListener("popstate", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  return answerOf(await fetch(`/api/v1/${path}?${query}`, { headers: { Accept: "application/json" } }));
}

// Sends what changes something: a body is JSON.
export async function send(method, path, body = null) {
  const headers = { "Content-Type": "application/json", "X-Streamgauge": "decide" };
  return answerOf(await fetch(`/api/v1/${path}`, { method, headers, body: body === null ? null : JSON.stringify(body), keepalive: body === null }));
}

async function answerOf(answer) {
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error.message);
  return body;
}

// Runs `work`; only the newest answer counts, and a failure is shown where everybody sees it.
let newest = 0;
export async function load(work) {
  const mine = (newest += 1);
  const problem = document.getElementById("problem");
  document.body.setAttribute("aria-busy", "true");
  try {
    const done = await work();
    if (mine === newest) done();
    problem.hidden = true;
  } catch (error) {
    if (mine !== newest) return;
    problem.textContent = `This cannot be shown: ${error.message}`;
    problem.hidden = false;
  } finally {
    if (mine === newest) document.body.removeAttribute("aria-busy");
  }
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((one) => one !== null));
  return made;
}

// A report is one file: which of its pages to show is then a part of the address.
export const isReport = document.documentElement.hasAttribute("data-report");
export const link = (path, parameters) =>
  isReport ? `?${new URLSearchParams({ show: path.slice(1), ...parameters })}` : `${path}?${new URLSearchParams(parameters)}`;
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const DAY = 864e5;
let kept = null;
export async function source() {
  kept ??= ask("source");
  const about = await kept;
  document.getElementById("about").textContent =
    `${about.kind} by ${[about.model, about.version].filter(Boolean).join(" ")}, ${count(about.series, "series", "series")}, times are UTC`;
  return about;
}

// Of a running group the range ends now, and moves on, unless the address says otherwise.
export const isNow = (about) => about.kind === "live" && !view().has("from") && !view().has("to");
const lengthOfNow = (about) => {
  const last = view().get("last");
  return last === "all" ? Infinity : /^\d+$/.test(last ?? "") ? Number(last) : DAY;
};

// Rows may lie between milliseconds; the API takes whole ones.
export function rangeOf(about) {
  const address = view();
  const [first, last] = [Math.floor(about.first), Math.ceil(about.last)];
  if (isNow(about)) return { from: Math.max(first, last - lengthOfNow(about)), to: last };
  const read = (name, usual) => (/^\d+$/.test(address.get(name) ?? "") ? Number(address.get(name)) : usual);
  return { from: read("from", first), to: read("to", last) };
}

// The buttons that move the range. The same keys work: + and - zoom, the arrows move, 0 shows everything.
export function rangeBar(about) {
  const bar = document.getElementById("range");
  const { from, to } = rangeOf(about);
  const length = to - from, live = about.kind === "live", now = isNow(about);
  const go = (begin, end) => {
    const least = 4 * about.interval;
    const middle = (begin + end) / 2;
    if (end - begin < least) [begin, end] = [middle - least / 2, middle + least / 2];
    if (begin <= about.first && end >= about.last) change({ from: null, to: null, last: live ? "all" : null });
    else change({ from: Math.max(0, Math.floor(begin)), to: Math.ceil(end), last: null });
  };
  const moves = {
    "Earlier": () => go(from - length / 2, to - length / 2),
    "Later": () => go(from + length / 2, to + length / 2),
    "Zoom in": () => go(from + length / 4, to - length / 4),
    "Zoom out": () => go(from - length / 2, to + length / 2),
    "Everything": () => change({ from: null, to: null, last: live ? "all" : null }),
  };
  const lately = (ms) => change(live ? { from: null, to: null, last: ms } : { from: about.last - ms, to: about.last });
  if (live && !now) moves["Follow"] = () => lately(Math.round(length));
  const presets = [["1 h", 36e5], ["6 h", 216e5], ["24 h", DAY], ["7 d", 6048e5]].filter(([, ms]) => ms < about.last - about.first);
  const focused = bar.contains(document.activeElement) ? document.activeElement.textContent : null;
  const is = (ms) => (now ? lengthOfNow(about) === ms : to === Math.ceil(about.last) && Math.abs(length - ms) < 2);
  const pressed = (name) => (name === "Everything" ? String(from <= about.first && to >= about.last) : null);
  bar.replaceChildren(
    ...Object.entries(moves).map(([name, act]) => element("button", { type: "button", onclick: act, "aria-pressed": pressed(name) }, name)),
    ...presets.map(([name, ms]) =>
      element("button", { type: "button", "aria-pressed": String(is(ms)), onclick: () => lately(ms) }, `Last ${name}`)),
    element("span", { class: "quiet" }, `${time(from)} to ${time(to)} (${span(length)})${live ? now ? ", goes on" : ", stands still" : ""}`),
  );
  for (const one of bar.children) if (focused !== null && one.textContent === focused) one.focus();
  const keys = { "+": "Zoom in", "=": "Zoom in", "-": "Zoom out", "0": "Everything", ArrowLeft: "Earlier", ArrowRight: "Later" };
  onkeydown = (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, [role=slider]");
    const name = busy ? null : keys[event.key];
    if (name) { event.preventDefault(); moves[name](); }
  };
  return go;
}

// Fills a place again; what had the focus there, by its `data-key`, gets it back.
export function keepFocus(place, fill) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  fill();
  if (key !== undefined) [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
}

export function incidentList(list, incidents, total, withSeries, unknown = null) {
  const rows = incidents.map((one) =>
    element("li", {},
      element("span", { class: "quiet" }, time(one.start)),
      element("span", { class: one.severity === "critical" ? "bad" : "warn" }, one.severity),
      element("span", {},
        element("a", { href: link("/incident", { id: one.id }), "data-key": one.id }, one.sentence),
        one.end === null ? element("span", { class: "quiet" }, "  still open") : null,
        one.opinion ? element("span", { class: "warn" }, `  ${opinion(one.opinion)}`) : null)));
  if (!rows.length) rows.push(element("li", { class: "quiet" }, withSeries ? "None." : "None of this series in this range."));
  if (total > incidents.length) rows.push(element("li", { class: "quiet" }, `and ${count(total - incidents.length, "earlier one")}`));
  if (unknown) rows.unshift(element("li", {}, element("span", { class: "warn" }, `What people said of incidents cannot be shown: ${unknown}`)));
  keepFocus(list, () => list.replaceChildren(...rows));
}
