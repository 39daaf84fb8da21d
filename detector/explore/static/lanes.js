// A swim lane: one cell of time beside the other, on a canvas that works with pointer and keyboard.
import { colour, element } from "./page.js";
import { time, number, state } from "./words.js";

export const LEVELS = [
  ["calm", "calm"], ["high", "from 0.5"], ["unusual", "unusual: above 1"],
  ["paged", "counts for an incident"], ["severe", "from 3 times the limit"], ["none", "no rows"],
];

function level(strength, paged, worst) {
  if (worst === null) return "none";
  if (paged) return strength !== null && strength >= 3 ? "severe" : "paged";
  if (strength === null) return worst === "ok" ? "calm" : "unknown";
  return strength > 1 ? "unusual" : strength >= 0.5 ? "high" : "calm";
}

// The begin of the cell that somebody chose, by the name of the lane: it stays chosen when new rows come.
const chosen = new Map();

export function lane(series, cells, values, onOpen) {
  const canvas = element("canvas", {
    tabindex: 0, role: "slider", "data-key": `lane of ${series}`, "aria-label": `Strength of ${series} by time`,
    "aria-valuemin": 0, "aria-valuemax": cells.num - 1, "aria-description": "Arrow keys move, Enter opens",
  });
  const kept = chosen.has(series) ? Math.floor((chosen.get(series) - cells.from) / cells.step) : cells.num - 1;
  let at = Math.min(cells.num - 1, Math.max(0, kept)), focused = false;
  const draw = () => {
    const ratio = devicePixelRatio || 1;
    const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
    const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
    const context = canvas.getContext("2d");
    const shades = Object.fromEntries(LEVELS.map(([name]) => [name, colour(name)]));
    const rule = colour("line");
    for (let cell = 0; cell < cells.num; cell += 1) {
      const left = Math.round((cell * width) / cells.num), right = Math.round(((cell + 1) * width) / cells.num);
      const gap = right - left > 4 * ratio ? ratio : 0;
      const found = level(values.strength[cell], values.paged[cell], values.state[cell]);
      if (found === "none" || found === "unknown") {
        context.fillStyle = rule;
        context.fillRect(left, height / 2 - ratio / 2, right - left - gap, found === "none" ? ratio : 4 * ratio);
      } else {
        context.fillStyle = shades[found];
        context.fillRect(left, 0, right - left - gap, height);
      }
      if (focused && cell === at) {
        context.strokeStyle = colour("fg");
        context.lineWidth = 2 * ratio;
        context.strokeRect(left + ratio, ratio, Math.max(2 * ratio, right - left - 2 * ratio), height - 2 * ratio);
      }
    }
  };
  const begin = (cell) => cells.from + cell * cells.step;
  const describe = (cell) => {
    const worst = values.state[cell];
    const strength = values.strength[cell] === null ? "" : `, strength ${number(values.strength[cell], 3)}`;
    return `${time(begin(cell))}: ${worst === null ? "no rows" : state(worst)}${strength}`;
  };
  const move = (cell) => {
    at = Math.min(cells.num - 1, Math.max(0, cell));
    canvas.setAttribute("aria-valuenow", at);
    canvas.setAttribute("aria-valuetext", describe(at));
    draw();
  };
  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return Math.min(cells.num - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * cells.num)));
  };
  const open = (cell) => onOpen(begin(cell), begin(cell + 1));
  canvas.addEventListener("mousemove", (event) => { canvas.title = describe(under(event)); });
  canvas.addEventListener("click", (event) => open(under(event)));
  canvas.addEventListener("focus", () => { focused = true; move(at); });
  canvas.addEventListener("blur", () => { focused = false; draw(); });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: cells.num - 1 };
    if (event.key in moves) { event.preventDefault(); move(moves[event.key]); chosen.set(series, begin(at)); }
    else if (event.key === "Enter") open(at);
  });
  move(at);
  return { canvas, draw };
}
