// The channels of an incident, those first that made most of the error.
import { element } from "./page.js";
import { number } from "./words.js";

export function ranked(channels) {
  const rows = channels.map((one) => {
    const meter = element("span", { class: "meter" });
    meter.style.width = `${Math.max(0, 70 * (one.contribution ?? 0))}%`;
    const expected = one.lower !== null ? `${number(one.lower)} to ${number(one.upper)}` : number(one.expected);
    return element("tr", {},
      element("th", { scope: "row" }, one.name),
      element("td", {}, meter, one.contribution === null ? "unknown" : `${Math.round(100 * one.contribution)} %`),
      element("td", { class: "number" }, number(one.actual)),
      element("td", {}, expected + (one.clipped ? ", the edge of what history showed" : "")));
  });
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 4, class: "quiet" }, "No channel: the rows themselves are missing.")));
  return rows;
}
