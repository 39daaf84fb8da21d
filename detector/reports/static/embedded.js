// The answers of the API that this file holds, behind `fetch`: a report asks no server.
const REFUSED = { error: { status: 404, message: "it is not in this report; open the backtest with the command streamgauge explore" } };
const COLUMNS = ["time", "state", "mode", "num_rows", "paged", "score_min", "score_max", "strength_min", "strength_max", "page_level_max", "cumulative_max"];
const OF_CHANNEL = ["actual_min", "actual_max", "expected_min", "expected_max", "contribution"];
let unpacked = null;

async function unpack() {
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// The same rows as before, those outside the range left out; the steps stay as long as they are.
function cut(view, from, to, names) {
  const wide = Math.max(view.bucket, view.interval);
  const kept = [...view.time.keys()].filter((at) => view.time[at] + wide > from && view.time[at] < to);
  const pick = (source, keys) => Object.fromEntries(keys.map((key) => [key, kept.map((at) => source[key][at])]));
  const columns = pick(view, COLUMNS);
  const wanted = names.length ? view.channels.filter((one) => names.includes(one.name)) : view.channels;
  return {
    ...view, ...columns, from, to,
    rows: columns.num_rows.reduce((sum, one) => sum + one, 0),
    channels: wanted.map((one) => ({ ...one, ...pick(one, OF_CHANNEL) })),
    incidents: view.incidents.filter((one) => one.start < to && (one.end ?? to) >= from),
  };
}

function find(answers, path, query) {
  if (path === "series") {
    const view = answers.series[query.get("name")];
    const read = (name) => Number(query.get(name) ?? answers.source[name === "from" ? "first" : "last"]);
    return view && cut(view, read("from"), read("to"), query.getAll("channel"));
  }
  if (path.startsWith("incidents/")) return answers.incident[decodeURIComponent(path.slice(10))];
  return answers[path];
}

globalThis.fetch = async (address) => {
  unpacked ??= unpack();
  const asked = new URL(address, "https://report.invalid");
  const found = find(await unpacked, asked.pathname.replace("/api/v1/", ""), asked.searchParams);
  return new Response(JSON.stringify(found ?? REFUSED), { status: found ? 200 : 404 });
};
