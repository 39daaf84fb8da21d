import { ask, change, element, incidentList, link, load, onView, rangeBar, rangeOf, source, view } from "./page.js";
import { showDecisions } from "./decide.js";
import { follow } from "./live.js";
import { describe, showCharts } from "./charts.js";
import { whatIf } from "./whatif.js";
import { count, number, time } from "./words.js";

const by = (id) => document.getElementById(id);

function channels(found) {
  const shown = new Set(found.channels.map((one) => one.name));
  const box = (name) => {
    const input = element("input", { type: "checkbox", value: name, checked: shown.has(name) });
    return element("label", { class: "check" }, input, ` ${name}`);
  };
  by("channels").firstElementChild.replaceChildren(element("legend", {}, "Channels, those first that stand out most"), ...found.all_channels.map(box));
}

function muted(found) {
  const newest = found.decisions.filter((one) => one.action === "mute").at(-1);
  if (!newest || newest.until < found.to) return "";
  return ` Muted until ${time(newest.until)} by ${newest.who || "somebody"}${newest.why ? `: ${newest.why}` : ""}.`;
}

by("channels").addEventListener("change", () => {
  const chosen = [...by("channels").querySelectorAll("input:checked")].map((one) => one.value);
  change({ channel: chosen });
});

const refresh = () => load(async () => {
  const about = await source();
  const address = view();
  const name = address.get("name");
  if (!name) throw new Error("the address names no series");
  const points = Math.round(Math.min(2000, Math.max(300, innerWidth - 120)));
  const found = await ask("series", { name, ...rangeOf(about), points, channel: address.getAll("channel") });
  return () => {
    document.title = `${name} - Streamgauge`;
    by("name").textContent = name;
    const worst = found.strength_max.reduce((most, one) => (one !== null && one > most ? one : most), 0);
    const paged = found.paged.reduce((sum, one) => sum + one, 0);
    by("summary").textContent = `${count(found.incidents.length, "incident")} in this range. Highest strength ${number(worst, 3)}, `
      + `${count(paged, "row")} of ${found.rows.toLocaleString("en")} above the limit.${muted(found)}`;
    const mode = found.mode.at(-1) ?? null;
    if (mode !== null) by("summary").append(` Mode of operation at the end: ${mode}.`);
    if (about.models?.length) by("summary").append(" Judged by ", element("a", { href: link("/model", { model: found.model }) }, found.model), ".");
    const go = rangeBar(about);
    by("detail").textContent = describe(found);
    showCharts(by("charts"), found, go);
    channels(found);
    incidentList(by("incidents"), found.incidents, found.incidents.length, false, found.opinions_unknown);
    whatIf(by("whatif"), about, name);
    showDecisions(about, { series: name, from: Math.max(about.first, Math.floor(found.from)) });
  };
});

onView(refresh);
follow(refresh);
