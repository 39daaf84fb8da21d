// The report of an evaluation: one row for each file, sorted by any column.
import { ask, element, load } from "./page.js";
import { number } from "./words.js";

const by = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const COLUMNS = [
  ["file", "File", (one) => one.file], ["spark", "Score", null], ["rows", "Rows", (one) => one.rows],
  ["vus_pr", "VUS-PR", (one) => one.vus_pr], ["linear_vus_pr", "VUS-PR of plain linear errors", (one) => one.linear_vus_pr],
  ["events_found", "Events found", (one) => one.events_found], ["missed", "Events missed", (one) => one.events - one.events_found],
  ["false_alarms", "False alarms", (one) => one.false_alarms], ["budgeted", "False alarms budgeted", (one) => one.budgeted],
];
let sorted = ["file", 1];

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function spark(values, name) {
  const most = Math.max(1.2, ...values.map((one) => one ?? 0));
  const high = (value) => (30 - 28 * Math.sqrt(Math.max(0, value) / most)).toFixed(1);
  const made = drawn("svg", { class: "spark", viewBox: "0 0 160 32", preserveAspectRatio: "none", role: "img", "aria-label": `scores of ${name}, at most ${number(Math.max(...values.map((one) => one ?? 0)), 3)}` });
  let path = "", isOpen = false;
  values.forEach((one, at) => {
    if (one !== null) path += `${isOpen ? "L" : "M"}${((160 * at) / Math.max(1, values.length - 1)).toFixed(1)} ${high(one)}`;
    isOpen = one !== null;
  });
  made.append(drawn("path", { d: `M0 ${high(1)}H160`, class: "limit" }), drawn("path", { d: path, class: "line" }));
  return made;
}

function show(files) {
  const [key, sign] = sorted;
  const value = COLUMNS.find(([name]) => name === key)[2];
  const order = [...files].sort((one, other) => {
    const [left, right] = [value(one), value(other)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (typeof left === "string" ? left.localeCompare(right) : left - right) || one.file.localeCompare(other.file);
  });
  by("files").tHead.rows[0].replaceChildren(...COLUMNS.map(([name, words, read]) => {
    const direction = name === key ? (sign > 0 ? "ascending" : "descending") : null;
    const press = () => { sorted = [name, name === key ? -sign : name === "file" ? 1 : -1]; show(files); by("files").querySelector(`[data-sort=${name}]`).focus(); };
    const head = read === null ? words : element("button", { type: "button", "data-sort": name, onclick: press }, words);
    return element("th", { scope: "col", class: ["file", "spark"].includes(name) ? null : "number", "aria-sort": direction }, head);
  }));
  const cells = (one) => COLUMNS.slice(2).map(([, , read]) => element("td", { class: "number" }, Number.isInteger(read(one)) ? read(one).toLocaleString("en") : number(read(one), 3)));
  by("files").tBodies[0].replaceChildren(...order.map((one) => element("tr", {},
    element("th", { scope: "row" }, one.file), element("td", {}, spark(one.spark, one.file)), ...cells(one))));
}

load(async () => {
  const report = await ask("report");
  return () => {
    document.title = `${report.title} - Streamgauge`;
    by("title").textContent = report.title;
    by("summary").replaceChildren(...report.words.map((one) => element("p", {}, one)));
    show(report.files);
    by("failed").hidden = !report.failures.length;
    by("failures").replaceChildren(...report.failures.map((one) => element("li", {}, `${one.file}: ${one.reason}`)));
  };
});
