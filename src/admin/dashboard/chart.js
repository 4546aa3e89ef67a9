// A line over the last hour, as inline SVG: the shape for the eye, and the same in words for those who do not see it.

import { set } from "./dom.js";
import { SAMPLES } from "./past.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 40;

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** How the samples are told: what is now, and the highest. */
export function summary(values, words) {
  let highest = 0;
  for (const value of values) if (value > highest) highest = value;
  const now = values[SAMPLES - 1];
  return Number.isNaN(now)
    ? `nothing known yet`
    : `now ${words(now)}, at most ${words(highest)}`;
}

export class Chart {
  /** Samples that become one point: their highest, so that no peak is lost. */
  #each;
  /** What fills the height at least: a little is to look like a little. */
  #least;
  #area = shape("path", { class: "area" });
  #line = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  #drawn = -1;

  constructor(kind, each, least = 1) {
    this.#each = each;
    this.#least = least;
    this.node = shape("svg", {
      class: `chart ${kind}`,
      viewBox: `0 0 ${SAMPLES} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": "",
    });
    this.node.append(this.#area, this.#line);
  }

  /** Draws, unless it has drawn that already; `label` and `words` are for those who do not see it. */
  draw(drawn, values, label, words) {
    if (this.#drawn === drawn) return;
    this.#drawn = drawn;
    const { line, area } = paths(values, this.#each, this.#least);
    set(this.#line, "d", line);
    set(this.#area, "d", area);
    set(this.node, "aria-label", `${label}, the last hour: ${summary(values, words)}`);
  }
}

/** The line, and the area below it; both end and begin anew where nothing is known. */
function paths(values, each, least) {
  const points = [];
  let highest = least;
  for (let at = 0; at < values.length; at += each) {
    let value = NaN;
    for (const sample of values.subarray(at, at + each)) if (Number.isNaN(value) || sample > value) value = sample;
    points.push(value);
    if (value > highest) highest = value;
  }
  const width = SAMPLES / points.length;
  let line = "";
  let area = "";
  let from = -1;
  for (let at = 0; at <= points.length; at += 1) {
    const known = at < points.length && !Number.isNaN(points[at]);
    if (known && from < 0) from = at;
    if (known || from < 0) continue;
    // From the middle of the first to the end of the last, so that one alone is seen, too.
    let run = "";
    for (let point = from; point < at; point += 1) {
      const y = (HEIGHT - 1 - (points[point] / highest) * (HEIGHT - 3)).toFixed(1);
      run += `${point === from ? "M" : "L"}${(point * width).toFixed(1)} ${y}`;
    }
    run += `H${(at * width).toFixed(1)}`;
    line += run;
    area += `${run}V${HEIGHT}H${(from * width).toFixed(1)}Z`;
    from = -1;
  }
  return { line, area };
}
