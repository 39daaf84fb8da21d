// A running group: what is new comes as server-sent events. If nothing comes, the page says so, and why.
import { element, isNow, isReport, source } from "./page.js";
import { time } from "./words.js";

const LEAST = 1000, SILENT = 20000, AGAIN = 5000;

// Calls `show` when there is something new to show, and keeps the sign of life beside the title.
export async function follow(show) {
  if (isReport) return;
  const about = await source().catch(() => null);
  if (about === null || about.kind !== "live") return;
  const sign = element("span", { id: "live", class: "live" });
  const stale = element("p", { id: "stale", class: "stale", role: "status", hidden: true });
  document.querySelector("header").append(sign);
  document.querySelector("header").after(stale);
  for (const one of document.querySelectorAll("[aria-live]")) one.setAttribute("aria-live", "off");
  noteMissing(about);
  let events = null, heard = Date.now(), pulse = null, shown = null, due = 0, waiting = 0;

  const say = () => {
    const gone = Date.now() - heard > SILENT;
    const trouble = gone
      ? { kind: "explorer", since: heard, words: "This page has lost the explorer: it is asked again." }
      : pulse?.trouble ?? null;
    stale.hidden = trouble === null;
    document.body.classList.toggle("is-stale", trouble !== null);
    sign.textContent = trouble ? "not live" : pulse?.rows ? `live, newest row ${time(about.last - about.interval, true)}` : "live, no row yet";
    const words = trouble ? `${trouble.words} Since ${time(1000 * Math.floor(trouble.since / 1000), true)}. What is shown was known then.` : "";
    if (stale.textContent !== words) stale.textContent = words;
  };

  const refresh = () => {
    if (document.hidden || waiting || document.querySelector(".u-over:active")) return;
    waiting = setTimeout(() => {
      waiting = 0;
      due = Date.now() + LEAST;
      show();
    }, Math.max(0, due - Date.now()));
  };

  const take = (event) => {
    heard = Date.now();
    pulse = JSON.parse(event.data);
    Object.assign(about, { first: pulse.first, last: pulse.last, rows: pulse.rows, series: pulse.series, version: pulse.version });
    const state = JSON.stringify([pulse.rows, pulse.version]);
    if (shown !== null && (shown.events !== pulse.events || (shown.state !== state && isNow(about)))) refresh();
    if (shown === null) refresh();
    shown = { state, events: pulse.events };
    say();
  };

  const open = () => {
    events?.close();
    events = new EventSource("/api/v1/events");
    events.addEventListener("pulse", take);
  };
  // Browsers allow few connections to a host: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) events?.close();
    else open();
  });
  setInterval(() => {
    if (!document.hidden && (events.readyState === EventSource.CLOSED || Date.now() - heard > 2 * SILENT)) open();
    say();
  }, AGAIN);
  addEventListener("pagehide", () => events?.close());
  open();
}

function noteMissing(about) {
  const place = document.getElementById("detail") ?? document.getElementById("range");
  for (const one of about.missing) {
    place?.after(element("p", { class: "quiet missing" }, `The group does not publish ${one.what}. ${one.setting} in its configuration gives them.`));
  }
}
