import { ask, change, element, incidentList, isReport, keepFocus, link, load, onView, rangeBar, rangeOf, source, view } from "./page.js";
import { follow } from "./live.js";
import { LEVELS, lane } from "./lanes.js";
import { whatIf } from "./whatif.js";
import { count, number, state, time } from "./words.js";

const by = (id) => document.getElementById(id);
const SIZE = 25, MOST_OPEN = 8, ALL = ["search", "state", "sort", "trouble", "model"];
let lanes = [], typing = 0;

const byGroups = (about) => view().get("show") === "groups" && hasGroups(about);
const hasGroups = (about) => !isReport && Boolean(about.group_by);
const range = () => Object.fromEntries([...view()].filter(([key]) => key === "from" || key === "to"));
const seriesLink = (name, shown = name) => element("a", { href: link("/series", { name, ...range() }), "data-key": `series ${name}`, title: shown === name ? null : name }, shown);
const classOf = (name) => (name === "anomalous" ? "bad" : ["ok", "idle"].includes(name) ? "" : "warn");

function cells(name, one, about, where, parts) {
  const made = lane(name, about, one.lane, (from, to) => {
    const margin = to - from;
    location.href = where(Math.max(0, from - margin), to + margin);
  });
  lanes.push(made);
  return [
    element("td", {}, ...parts.name),
    element("td", { class: classOf(one.state) }, state(one.state), parts.note ? element("span", { class: "quiet" }, parts.note) : null),
    element("td", { class: "kind" }, parts.kind),
    element("td", { class: "mode" }, parts.mode),
    element("td", { class: "number" }, number(one.strength, 3)),
    element("td", { class: one.severity === "critical" ? "bad" : one.incidents ? "warn" : "quiet" }, one.incidents ? parts.trouble : "none"),
    element("td", { class: "lane" }, made.canvas)];
}

// Under its group a series needs no more than the rest of its name.
const restOf = (name, group) => (group && name.startsWith(group) ? name.slice(group.length).replace(/^[^\p{L}\p{N}]+/u, "") || name : name);

function row(one, about, group = null) {
  return element("tr", { class: group === null ? null : "member" }, ...cells(one.series, one, about, (from, to) => link("/series", { name: one.series, from, to }), {
    name: [seriesLink(one.series, restOf(one.series, group))],
    note: one.muted_until === null ? "" : `, muted until ${time(one.muted_until)}`,
    kind: one.model ? element("a", { href: link("/model", { model: one.model, ...range() }) }, one.model) : "",
    mode: one.mode ?? "",
    trouble: `${one.severity}, ${one.incidents}${one.firing ? ", open" : ""}${one.lasting ? ", lasting: decide" : ""}`,
  }));
}

const openGroups = () => view().getAll("group");
function toggle(name) {
  const open = openGroups();
  change({ group: open.includes(name) ? open.filter((one) => one !== name) : [...open, name].slice(-MOST_OPEN) });
}

// A group of one series that has its name is that series. Others have a button that opens them.
function groupRow(one, about, isOpen) {
  const opener = element("button", { type: "button", class: "opener", "aria-expanded": String(isOpen), "data-key": `group ${one.group}`, onclick: () => toggle(one.group) }, one.group);
  const rest = Object.entries(one.states).filter(([name]) => name !== one.state).map(([name, num]) => `${num.toLocaleString("en")} ${state(name)}`);
  const isSeries = one.only === one.group;
  const where = (from, to) => (isSeries ? link("/series", { name: one.group, from, to }) : link("/", { group: one.group, from, to }));
  return element("tr", { class: "group" }, ...cells(one.group, one, about, where, {
    name: isSeries ? [seriesLink(one.group)] : [opener, element("span", { class: "quiet" }, count(one.series, "series", "series"))],
    note: `${isSeries ? "" : `: ${one.states[one.state].toLocaleString("en")}`}${rest.length ? `; ${rest.join(", ")}` : ""}${one.muted ? `; ${one.muted} muted` : ""}`,
    kind: "",
    mode: Object.keys(one.modes).join(", "),
    trouble: `${one.severity}, ${one.incidents}${isSeries ? "" : ` in ${count(one.troubled, "series", "series")}`}${one.firing ? `, ${one.firing} open` : ""}${one.lasting ? `, ${one.lasting} lasting: decide` : ""}`,
  }));
}

function groupRows(found, members) {
  return found.groups.flatMap((one) => {
    const inside = members.get(one.group);
    if (!inside || one.only === one.group) return [groupRow(one, found.lanes, false)];
    const rest = inside.total - inside.series.length;
    const all = element("a", { href: link("/", { group: one.group, ...range() }), "data-key": `all ${one.group}` }, `All ${count(inside.total, "series", "series")} of ${one.group}`);
    return [groupRow(one, found.lanes, true), ...inside.series.map((each) => row(each, inside.lanes, one.group)),
      ...(rest > 0 ? [element("tr", { class: "member" }, element("td", { colspan: 7 }, all))] : [])];
  });
}

function pages(found) {
  const last = Math.max(0, Math.ceil(found.total / found.size) - 1);
  const step = (to, name) => element("button", { type: "button", disabled: to < 0 || to > last, "data-key": name, onclick: () => change({ page: to || null }) }, name);
  keepFocus(by("pages"), () => by("pages").replaceChildren(...(last ? [step(found.page - 1, "Previous page"),
    element("span", {}, `Page ${found.page + 1} of ${last + 1}`), step(found.page + 1, "Next page")] : [])));
}

function summary(found, newest) {
  const shown = found.groups ?? found.series, troubled = shown.filter((one) => one.incidents).length;
  const parts = [found.groups ? `${count(found.total, "group")} of ${count(found.series, "series", "series")} found.` : `${count(found.total, "series", "series")} found.`,
    `${count(newest.total, "incident")} in this range; ${troubled} of the ${shown.length} shown have one.`];
  const names = Object.entries(found.states ?? {}).map(([name, num]) => `${num.toLocaleString("en")} ${state(name)}`);
  if (found.states) parts.push(`At the end: ${names.join(", ") || "no rows"}.`);
  return parts.join(" ");
}

function show(about, found, newest, members) {
  lanes = [];
  by("summary").textContent = summary(found, newest);
  const rows = found.groups ? groupRows(found, members) : found.series.map((one) => row(one, found.lanes));
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 7 }, "No series fits. Change the search, the state or the range.")));
  keepFocus(by("fleet"), () => by("fleet").tBodies[0].replaceChildren(...rows));
  by("fleet").classList.toggle("by-group", Boolean(found.groups));
  by("fleet").classList.toggle("no-kind", !(about.models ?? []).length || Boolean(found.groups && ![...members.values()].length));
  by("fleet").classList.toggle("no-mode", ![...by("fleet").querySelectorAll("td.mode")].some((one) => one.textContent));
  by("lane-from").textContent = time(found.lanes.from);
  by("lane-to").textContent = time(found.lanes.from + found.lanes.num * found.lanes.step);
  lanes.forEach((one) => one.draw());
  pages(found);
  incidentList(by("incidents"), newest.incidents, newest.total, true, newest.opinions_unknown);
  by("command").textContent = about.command;
  by("card").textContent = about.card;
}

function fill(about) {
  const address = view();
  if (by("state").options.length === 1) about.states.forEach((one) => by("state").append(element("option", { value: one }, state(one))));
  if (document.activeElement !== by("search")) by("search").value = address.get("search") ?? "";
  by("state").value = address.get("state") ?? "";
  const models = about.models ?? [];
  by("which").hidden = !models.length;
  if (by("model").options.length === 1) models.forEach((one) => by("model").append(element("option", { value: one.model }, one.model)));
  by("model").value = address.get("model") ?? "";
  by("sort").value = address.get("sort") ?? "trouble";
  by("trouble").checked = address.get("trouble") === "true";
  by("shown").hidden = !hasGroups(about);
  by("show").value = byGroups(about) ? "groups" : "";
  const group = byGroups(about) || isReport ? null : address.get("group");
  by("group").hidden = group === null;
  if (group !== null) by("group").replaceChildren(`Only group ${group}`, element("button", { type: "button", onclick: () => change({ group: null, page: null }) }, "Show all series"));
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
  const address = view(), grouped = byGroups(about), open = grouped ? openGroups().slice(-MOST_OPEN) : [];
  const wanted = { from, to, size: SIZE, cells: innerWidth < 700 ? 32 : 84 };
  for (const name of ALL) wanted[name] = address.get(name);
  if (["series"].includes(wanted.sort)) wanted.order = "asc";
  const page = { page: address.get("page"), group: grouped ? null : address.get("group") };
  const [found, newest, ...inside] = await Promise.all([ask(grouped ? "groups" : "fleet", { ...wanted, ...page }), ask("incidents", { from, to, size: 20, group: page.group, model: address.get("model") }),
    ...open.map((group) => ask("fleet", { ...wanted, group }))]);
  const members = new Map(open.map((name, at) => [name, inside[at]]));
  return () => { rangeBar(about); fill(about); show(about, found, newest, members); whatIf(by("whatif"), about); };
});

by("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ search: by("search").value, page: null }, true), 200);
});
for (const name of ["state", "sort", "model"]) by(name).addEventListener("change", () => change({ [name]: by(name).value, page: null }));
by("show").addEventListener("change", () => change({ show: by("show").value, group: null, page: null }));
by("trouble").addEventListener("change", () => change({ trouble: by("trouble").checked ? "true" : null, page: null }));
by("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => lanes.forEach((one) => one.draw()));
onView(refresh);
follow(refresh);
