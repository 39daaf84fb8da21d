// The buttons of decisions, the dialog that asks why, and the list of what was decided.
import { ask, element, isReport } from "./page.js";
import { decided, outcome, time } from "./words.js";

const KINDS = {
  accept: { button: "Accept", title: "Accept the level as normal", help: "From then on the old level is unusual. The incident ends." },
  reject: { button: "Reject", title: "Reject: it is a fault", help: "It is never learnt and never offered. It stays open until it is over." },
  mute: { button: "Mute series", title: "Mute the series", help: "It opens no incident for that time. A duration of 0s ends a mute." },
  "false-alarm": { button: "False alarm", title: "It was a false alarm", help: "This is kept, and changes no score." },
  real: { button: "Real", title: "It was real", help: "This is kept, and changes no score." },
};
const EVERY_MS = 2000;
const by = (id) => document.getElementById(id);
let timer = null;

async function send(body) {
  const headers = { "Content-Type": "application/json", "X-Streamgauge": "decide" };
  const answer = await fetch("/api/v1/decisions", { method: "POST", headers, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error.message);
  return told;
}

function field(name, label, attributes, kind = "input") {
  const box = element(kind, { id: `ask-${name}`, name, ...attributes });
  return element("p", {}, element("label", { for: `ask-${name}` }, label), box);
}

// Opens the dialog for one kind of decision. The focus returns to the button when it closes.
function open(kind, about, subject) {
  const isBacktest = about.kind === "backtest";
  const fields = [];
  if (kind === "mute") fields.push(field("for", "How long, such as 2h", { value: "2h", required: true, autocomplete: "off" }));
  if (isBacktest && kind === "mute") fields.push(field("at", "From, UTC", { value: new Date(subject.from).toISOString(), required: true, autocomplete: "off" }));
  if (isBacktest && (kind === "accept" || kind === "reject")) {
    fields.push(field("at", "From, UTC; empty: when it was offered, or its worst row", { placeholder: new Date(subject.from).toISOString(), autocomplete: "off" }));
  }
  fields.push(field("why", "Reason, kept with the decision", { rows: 3, maxlength: 1000 }, "textarea"));
  const problem = element("p", { role: "alert", class: "bad" });
  const submit = element("button", { type: "submit" }, KINDS[kind].button);
  const cancel = element("button", { type: "button", onclick: () => by("ask").close() }, "Cancel");
  const form = element("form", { novalidate: true }, element("h2", { id: "ask-title" }, KINDS[kind].title),
    element("p", { class: "quiet" }, KINDS[kind].help), ...fields, problem, element("p", { class: "bar" }, submit, cancel));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { action: kind, ...(kind === "mute" ? { series: subject.series } : { incident: subject.incident }) };
    for (const [name, value] of new FormData(form)) if (value.trim()) body[name] = value.trim();
    submit.disabled = true;
    problem.textContent = "";
    try {
      const told = await send(body);
      by("ask").close();
      by("told").textContent = `Written to ${told.place}: ${decided(told.decision)}. ${outcome(told.decision, isBacktest)}.${told.note ? ` ${told.note}` : ""}`;
      if (kind === "real" || kind === "false-alarm") dispatchEvent(new Event("view"));
      else await refresh(about, subject);
    } catch (error) {
      problem.textContent = `Not written: ${error.message}`;
    } finally {
      submit.disabled = false;
    }
  });
  by("ask").replaceChildren(form);
  by("ask").showModal();
  form.querySelector("input, textarea").focus();
}

function buttons(about, subject, found) {
  if (found.writing.refused) {
    by("actions").replaceChildren(element("span", { class: "quiet" }, `No decisions here: ${found.writing.refused}.`));
    return;
  }
  if (!by("actions").children.length) {
    const kinds = subject.incident ? Object.keys(KINDS) : ["mute"];
    by("actions").replaceChildren(...kinds.map((kind) =>
      element("button", { type: "button", "data-kind": kind, "aria-haspopup": "dialog", onclick: () => open(kind, about, by("decide").subject) }, KINDS[kind].button)));
  }
  for (const one of by("actions").children) one.disabled = one.dataset.kind in found.obstacles;
  const reasons = new Set(Object.values(found.obstacles));
  by("obstacles").textContent = [...reasons].map((one) => `${one}.`).join(" ");
  const who = found.writing.who === null ? "the name that the proxy gives" : found.writing.who;
  by("writer").textContent = `Decisions are written to ${found.writing.place} by ${who}.`;
}

function list(found, isBacktest) {
  const rows = found.decisions.map((one) => element("tr", {},
    element("td", {}, one.decided === null ? "unknown" : time(one.decided)),
    element("td", {}, one.who || "unknown"),
    element("td", {}, decided(one)),
    element("td", {}, one.why),
    element("td", {}, outcome(one, isBacktest))));
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 5, class: "quiet" }, "Nobody has decided anything.")));
  by("decided").tBodies[0].replaceChildren(...rows);
  by("replay").replaceChildren(...(found.command === null ? [] : [
    element("p", { class: "quiet" }, "Repeat the backtest to see the effect, and open it again:"), element("pre", { tabindex: 0 }, found.command)]));
}

async function refresh(about, subject) {
  const found = await ask("decisions", subject.incident ? { incident: subject.incident, series: subject.series } : { series: subject.series });
  buttons(about, subject, found);
  list(found, about.kind === "backtest");
  clearTimeout(timer);
  if (about.kind !== "backtest" && found.decisions.some((one) => one.outcome === "pending")) {
    timer = setTimeout(() => showDecisions(about, subject), EVERY_MS);
  }
}

// Shows the buttons and the list, except in a report, where nobody can decide. A failure is shown there, since
// the rest of the page is sound.
export async function showDecisions(about, subject) {
  by("decide").hidden = isReport;
  if (isReport) return;
  by("decide").subject = subject;
  try {
    await refresh(about, subject);
  } catch (error) {
    by("told").textContent = `Decisions cannot be shown: ${error.message}`;
  }
}
