// The page of a daemon: what /api/status says, every few seconds.

const EVERY_MS = 3000;
const PATIENCE_MS = 10000;
const by = id => document.getElementById(id);
let heard = null;

function write(element, text) {
  if (element.textContent !== text) element.textContent = text; // else a screen reader would say it again
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function fill(list, made) {
  if (list.textContent !== made.map(one => one.textContent).join("")) list.replaceChildren(...made);
}

function show(status) {
  const { overview } = status;
  write(by("model"), status.model);
  write(by("version"), status.version);
  write(by("about"), overview.about);
  write(by("state"), overview.words);
  by("state").className = overview.state;
  document.title = `${status.model}: ${overview.state} - Streamgauge`;
  by("problems").hidden = !overview.problems.length;
  fill(by("problems").querySelector("ul"), overview.problems.map(one => element("li", one)));
  fill(by("figures"), overview.figures.flatMap(one => [element("dt", one.name), element("dd", one.value)]));
  by("link").hidden = !overview.explorer;
  by("none").hidden = Boolean(overview.explorer);
  if (overview.explorer) by("link").firstElementChild.href = overview.explorer;
}

async function read() {
  try {
    const answer = await fetch("/api/status", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    heard = new Date();
    by("stale").hidden = true;
    document.body.classList.remove("is-stale");
  } catch (error) {
    const since = heard ? `The figures are of ${heard.toLocaleTimeString()}.` : "There are no figures yet.";
    write(by("stale"), `The daemon does not answer. ${since}`);
    by("stale").hidden = false;
    document.body.classList.add("is-stale");
  }
  document.body.removeAttribute("aria-busy");
  setTimeout(read, EVERY_MS);
}

read();
