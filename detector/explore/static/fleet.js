import { ask, change, element, incidentList, link, load, onView, rangeBar, rangeOf, source, view } from "./page.js";
import { follow } from "./live.js";
import { LEVELS, lane } from "./lanes.js";
import { whatIf } from "./whatif.js";
import { count, number, state, time } from "./words.js";

const by = (id) => document.getElementById(id);
const SIZE = 25, ALL = ["search", "state", "sort", "trouble"];
let lanes = [], typing = 0;

function row(one, cells) {
  const made = lane(one.series, cells, one.lane, (from, to) => {
    const margin = to - from;
    location.href = link("/series", { name: one.series, from: Math.max(0, from - margin), to: to + margin });
  });
  lanes.push(made);
  const range = Object.fromEntries([...view()].filter(([key]) => key === "from" || key === "to"));
  const bad = one.state === "anomalous" ? "bad" : ["ok", "idle"].includes(one.state) ? "" : "warn";
  const trouble = one.incidents ? `${one.severity}, ${one.incidents}${one.firing ? ", open" : ""}${one.lasting ? ", lasting: decide" : ""}` : "none";
  return element("tr", {},
    element("td", {}, element("a", { href: link("/series", { name: one.series, ...range }) }, one.series)),
    element("td", { class: bad }, state(one.state), one.muted_until === null ? null : element("span", { class: "quiet" }, `, muted until ${time(one.muted_until)}`)),
    element("td", { class: "number" }, number(one.strength, 3)),
    element("td", { class: one.severity === "critical" ? "bad" : one.incidents ? "warn" : "quiet" }, trouble),
    element("td", { class: "lane" }, made.canvas));
}

function pages(found) {
  const last = Math.max(0, Math.ceil(found.total / found.size) - 1);
  const step = (to, name) => element("button", { type: "button", disabled: to < 0 || to > last, onclick: () => change({ page: to || null }) }, name);
  by("pages").replaceChildren(...(last ? [step(found.page - 1, "Previous page"),
    element("span", {}, `Page ${found.page + 1} of ${last + 1}`), step(found.page + 1, "Next page")] : []));
}

function show(about, found, newest) {
  lanes = [];
  const troubled = found.series.filter((one) => one.incidents).length;
  const names = Object.entries(found.states).map(([name, num]) => `${num.toLocaleString("en")} ${state(name)}`);
  by("summary").textContent = `${count(found.total, "series", "series")} found. `
    + `${count(newest.total, "incident")} in this range; ${troubled} of the ${found.series.length} shown have one. `
    + `At the end: ${names.join(", ") || "no rows"}.`;
  const rows = found.series.map((one) => row(one, found.lanes));
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 5 }, "No series fits. Change the search, the state or the range.")));
  by("fleet").tBodies[0].replaceChildren(...rows);
  by("lane-from").textContent = time(found.lanes.from);
  by("lane-to").textContent = time(found.lanes.from + found.lanes.num * found.lanes.step);
  lanes.forEach((one) => one.draw());
  pages(found);
  incidentList(by("incidents"), newest.incidents, newest.total, true);
  by("command").textContent = about.command;
  by("card").textContent = about.card;
}

function fill(about) {
  const address = view();
  if (by("state").options.length === 1) about.states.forEach((one) => by("state").append(element("option", { value: one }, state(one))));
  if (document.activeElement !== by("search")) by("search").value = address.get("search") ?? "";
  by("state").value = address.get("state") ?? "";
  by("sort").value = address.get("sort") ?? "trouble";
  by("trouble").checked = address.get("trouble") === "true";
  const shades = LEVELS.map(([name, words]) => {
    const patch = element("i");
    patch.style.background = `var(--${name})`;
    if (name === "none") patch.style.border = "1px solid var(--line)";
    return element("span", {}, patch, words);
  });
  by("legend").replaceChildren(element("span", {}, "Strength, where 1 is the limit:"), ...shades);
}

const refresh = () => load(async () => {
  const about = await source();
  const { from, to } = rangeOf(about);
  const address = view();
  const wanted = { from, to, size: SIZE, page: address.get("page"), cells: innerWidth < 700 ? 32 : 84 };
  for (const name of ALL) wanted[name] = address.get(name);
  if (["series"].includes(wanted.sort)) wanted.order = "asc";
  const [found, newest] = await Promise.all([ask("fleet", wanted), ask("incidents", { from, to, size: 20 })]);
  return () => { rangeBar(about); fill(about); show(about, found, newest); whatIf(by("whatif"), about); };
});

by("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ search: by("search").value, page: null }, true), 200);
});
for (const name of ["state", "sort"]) by(name).addEventListener("change", () => change({ [name]: by(name).value, page: null }));
by("trouble").addEventListener("change", () => change({ trouble: by("trouble").checked ? "true" : null, page: null }));
by("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => lanes.forEach((one) => one.draw()));
onView(refresh);
follow(refresh);
