// The report of a training: how it went, and how well the model rebuilds rows that it had not seen.
import { ask, element, load } from "./page.js";
import { plot } from "./plot.js";
import { number } from "./words.js";

const by = (id) => document.getElementById(id);

function losses(found) {
  if (!found.train.length) { by("losses").replaceChildren(element("p", {}, found.words)); return; }
  const lines = [{ name: "training", colour: "actual", values: found.train }, { name: "validation", colour: "sum", values: found.validation }];
  plot(by("losses"), "Loss", found.words, found.train.map((_, at) => at + 1), lines, { x: "epoch" });
}

function windows(place, list) {
  for (const one of list) {
    const charts = element("div", { class: "charts small" });
    place.append(element("h3", {}, one.title), charts);
    for (const channel of one.channels) {
      const lines = [{ name: "actual", colour: "actual", values: channel.actual }, { name: "rebuilt", colour: "expected", values: channel.rebuilt, dash: true }];
      plot(charts, channel.name, "line: actual, dashes: rebuilt", channel.actual.map((_, at) => at), lines, { x: "row", height: 150 });
    }
  }
}

function latent(found) {
  by("latent-said").textContent = found.words;
  if (found.x === null) return;
  plot(by("latent"), "Held-out windows", "one point for each window; near points are alike to the model", found.x, [{ name: "second component", colour: "actual", values: found.y, points: true }], { x: "first component", height: 320 });
}

function budget(found) {
  by("budget-said").textContent = found.words;
  if (!found.budgeted.length) return;
  const lines = [{ name: "realised", colour: "actual", values: found.realised, points: true }, { name: "as budgeted", colour: "expected", values: found.budgeted, dash: true }];
  plot(by("budget"), "False alarms on blocks that did not set the threshold", "dots: realised; dashes: as budgeted", found.budgeted, lines, { x: "budgeted" });
}

load(async () => {
  const report = await ask("report");
  return () => {
    document.title = `${report.title} - Streamgauge`;
    by("title").textContent = report.title;
    by("about").textContent = report.about;
    by("summary").replaceChildren(...report.words.map((one) => element("p", {}, one)));
    losses(report.losses);
    const cells = (one) => [one.median, one.high, one.greatest, one.scale].map((value) => element("td", { class: "number" }, number(value, 3)));
    by("residuals").tBodies[0].replaceChildren(...report.residuals.map((one) => element("tr", {}, element("th", { scope: "row" }, one.channel), ...cells(one))));
    budget(report.budget);
    by("windows-said").textContent = report.windows.words;
    windows(by("worst"), report.windows.worst);
    windows(by("best"), report.windows.best);
    latent(report.latent);
    by("card").textContent = report.card;
  };
});
