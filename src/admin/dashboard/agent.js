// The agent itself: what it takes in at a glance, its transforms, its config, its log.

import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { Keyed, element, make, say, set, show, tell } from "./dom.js";
import { SOON } from "./verdict.js";
import { between, bytes, counted, duration, grouped, percent, position, rate, time } from "./words.js";

/** A time to full beyond this is none, in seconds. */
const FAR = 30 * 24 * 3600;
/** So much of a module's digest tells it from the others. */
const DIGEST = 12;

function tile(name) {
  const value = make("p", { class: "value" });
  const hint = make("p", { class: "hint" });
  const node = make("div", { class: "tile" }, make("h2", {}, name), value, hint);
  return { node, value, hint };
}

/** How full something is. */
function gauge(label) {
  const fill = make("div", { class: "fill" });
  const held = make("div", { class: "held" });
  const node = make("div", { class: "gauge", role: "img", "aria-label": label }, fill, held);
  const width = (part, whole) => `${whole > 0 ? Math.min(100, (100 * part) / whole).toFixed(1) : 0}%`;
  return {
    node,
    draw(all, still, whole, words) {
      fill.style.width = width(all, whole);
      held.style.width = width(still, whole);
      set(node, "aria-label", words);
    },
  };
}

const accepted = tile("Accepted");
const behind = tile("Behind");
const letters = tile("Dead letters");
const disk = tile("Disk");
const chart = new Chart("rate", 3);
const diskGauge = gauge("disk");
let transforms;
let config;
let log;

/** Makes the sections. */
export function begin() {
  accepted.node.append(chart.node);
  disk.node.append(diskGauge.node);
  element("tiles").append(accepted.node, behind.node, letters.node, disk.node);
  transforms = new Keyed(element("transforms"), (transform) => new Transform(transform));
  config = new Config(element("config"));
  log = new Facts();
  element("log").append(log.node);
}

/** Draws all of it. */
export function draw(status, past) {
  drawTiles(status, past);
  transforms.update(status.transforms, ({ name }) => name);
  show(element("transforms-empty"), status.transforms.length === 0);
  config.draw(status);
  drawLog(status);
  const { agent_version: version, started_at: since, at } = status;
  say(element("about"), `${version}, up ${duration(between(since, at))}`);
}

function drawTiles({ log: of, destinations }, past) {
  say(accepted.value, `${rate(of.records_per_second)}/s`);
  say(accepted.hint, "records, after they are safe on disk");
  chart.draw(past.drawn, past.accepted.values, "records accepted", (value) => `${rate(value)} records/s`);
  const furthest = destinations.reduce((most, one) => (one.lag.records > (most?.lag.records ?? 0) ? one : most), null);
  say(behind.value, furthest ? grouped(furthest.lag.records) : "0");
  const oldest = destinations.reduce((most, { lag }) => Math.max(most, lag.seconds), 0);
  say(behind.hint, furthest ? `records at ${furthest.name}; the oldest of all waits for ${duration(oldest)}` : "everything is settled everywhere");
  const count = destinations.reduce((sum, { dead_letters: { letters: some } }) => sum + some, 0);
  const of_them = destinations.filter(({ dead_letters: { letters: some } }) => some > 0);
  say(letters.value, grouped(count));
  say(letters.hint, count === 0 ? "nothing was refused" : `of ${of_them.length === 1 ? of_them[0].name : counted(of_them.length, "destination")}`);
  set(letters.node, "data-level", count > 0 ? "warn" : "good");
  const used = `${bytes(of.held_bytes)} of ${bytes(of.bytes_max)} held for destinations, in whole segments`;
  say(disk.value, percent(of.held_bytes, of.bytes_max));
  set(disk.node, "data-level", of.disk_full_in_seconds !== null && of.disk_full_in_seconds < SOON ? "bad" : "good");
  say(disk.hint, `${used}; ${untilFull(of)}`);
  diskGauge.draw(of.bytes, of.held_bytes, of.bytes_max, `log: ${used}, ${bytes(of.bytes)} with what is kept for retention`);
}

function untilFull({ disk_full_in_seconds: left }) {
  return left === null || left > FAR ? "not filling up" : `full in ${duration(left)}`;
}

function drawLog({ log: of, at }) {
  log.draw("on disk", `${bytes(of.bytes)}, ${percent(of.bytes, of.bytes_max)} of ${bytes(of.bytes_max)}`);
  log.draw("held for destinations", `${bytes(of.held_bytes)}, ${percent(of.held_bytes, of.bytes_max)}`);
  log.draw("time to full", untilFull(of));
  log.draw("accepted", `${rate(of.records_per_second)} records/s`);
  log.draw("oldest record", of.oldest ? `${position(of.oldest.position)}, accepted ${duration(between(of.oldest.accepted_at, at))} ago` : "empty");
  log.draw("end", position(of.end));
  const ahead = of.versions_ahead_seconds;
  log.draw("versions ahead of the clock", ahead >= 1 ? duration(ahead) : "no");
}

/** Names with values. */
class Facts {
  #values = new Map();

  constructor(shape = "facts") {
    this.node = make("dl", { class: shape });
  }

  draw(name, words) {
    let value = this.#values.get(name);
    if (!value) {
      value = make("dd");
      this.#values.set(name, value);
      this.node.append(make("div", {}, make("dt", {}, name), value));
    }
    say(value, words);
  }
}

class Transform {
  #facts = new Facts("line-up");
  #state = make("p", { class: "state" });
  #trouble = make("p", { class: "trouble" });
  #resume;

  constructor({ name }) {
    this.#resume = make("button", { type: "button", "aria-label": `Resume ${name}`, click: () => resume(name) }, "Resume");
    const head = make("div", { class: "who" }, make("h3", {}, name), this.#state);
    this.node = make("li", { class: "row" }, head, this.#facts.node, make("p", { class: "actions" }, this.#resume), this.#trouble);
  }

  draw({ module, generation, since, records, failures, cpu_seconds: cpu, suspended, refused }) {
    const level = suspended.length > 0 ? "bad" : refused ? "warn" : "good";
    set(this.node, "data-level", level);
    say(this.#state, suspended.length > 0 ? "suspended" : "running");
    this.#facts.draw("module", `${module.slice(0, DIGEST)}, generation ${generation} since ${time(since)}`);
    this.#facts.draw("records", grouped(records));
    this.#facts.draw("failures", grouped(failures));
    this.#facts.draw("CPU", `${cpu.toFixed(1)} s`);
    const troubles = [];
    if (suspended.length > 0) troubles.push(`it spent too much time on ${suspended.join(", ")}, and does not run there for now`);
    if (refused) troubles.push(`${refused.module?.slice(0, DIGEST) ?? "a file"} is refused since ${time(refused.since)}: ${refused.why}`);
    say(this.#trouble, troubles.join("; "));
    show(this.#trouble, troubles.length > 0);
    show(this.#resume, suspended.length > 0);
  }
}

async function resume(name) {
  try {
    const { indexes } = await ask(`/v1/transforms/${encodeURIComponent(name)}/resume`, {});
    tell(indexes.length === 0 ? `${name} was not suspended` : `${name} runs again on ${indexes.join(", ")}`);
  } catch (error) {
    tell(error.message, "bad");
  }
}

class Config {
  #facts = new Facts();
  #drift = make("ul", { class: "drift", role: "list" });
  #refused = make("div", { class: "refused", hidden: true });
  #shown = "";

  constructor(place) {
    place.append(this.#facts.node, this.#drift, this.#refused);
  }

  draw({ config: of, at }) {
    this.#facts.draw("file", of.source ?? "built in");
    this.#facts.draw("generation", `${of.generation}, serves for ${duration(between(of.loaded_at, at))}, since ${time(of.loaded_at)}`);
    this.#facts.draw("last refusal", of.refused ? time(of.refused.at) : "none since this generation serves");
    const shown = JSON.stringify([of.drift, of.refused]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#drift.replaceChildren(...of.drift.map((words) => make("li", {}, `differs from the config: ${words}`)));
    show(this.#refused, of.refused !== null);
    this.#refused.replaceChildren();
    if (!of.refused) return;
    const errors = of.refused.config.errors.map(({ line, key, message, accepted: would }) => make("li", {},
      make("strong", {}, `${line ? `line ${line}: ` : ""}${key}`),
      make("span", {}, would ? `${message}; ${would}` : message)));
    const text = make("pre", { tabindex: "0", role: "region", "aria-label": "the lines in question" });
    for (const line of of.refused.config.text.trimEnd().split("\n")) text.append(...make("span", {}, line).childNodes, "\n");
    this.#refused.append(
      make("p", {}, `The file is refused, the config before serves: ${counted(errors.length, "error")}`),
      make("ol", {}, ...errors), text);
  }
}
