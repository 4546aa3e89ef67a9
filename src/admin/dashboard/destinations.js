// The destinations: one row each, what needs attention first; opened, a row shows all that is known of it.

import { ask } from "./api.js";
import { Chart, summary } from "./chart.js";
import { Keyed, element, make, open, say, set, show, tell } from "./dom.js";
import { isPausedByOperator, stateOf } from "./verdict.js";
import { bytes, counted, duration, grouped, percent, position, rate } from "./words.js";

/** So long after the pointer or a key was in the list its order stays as it is: nobody is to click on another row. */
const CALM = 4000;

/** Records behind that fill a chart's height at least: a busy destination always has some hundred. */
const LAG_LEAST = 1000;

const records = (count) => counted(count, "record");
const perSecond = (of) => `${rate(of)} records/s`;
const path = (name, command) => `/v1/destinations/${encodeURIComponent(name)}/${command}`;

/** A number with its name. */
function metric(name) {
  const value = make("dd");
  const node = make("div", { class: "metric" }, make("dt", {}, name), value);
  return { node, value };
}

class Row {
  #status;
  #last;
  #panel = null;
  #name = make("button", { type: "button", class: "name", "aria-expanded": "false", click: () => this.toggle() });
  #kind = make("span", { class: "kind" });
  #state = make("p", { class: "state" });
  #trouble = make("p", { class: "trouble" });
  #behind = metric("behind");
  #oldest = metric("oldest");
  #rate = metric("settled");
  #letters = metric("dead letters");
  #lagChart = new Chart("lag", 3, LAG_LEAST);
  #rateChart = new Chart("rate", 3);
  #act = make("button", { type: "button", class: "act" });

  constructor({ name }) {
    const id = `destination-${name}`;
    const title = make("h3", {}, this.#name);
    const head = make("div", { class: "who" }, title, this.#kind, this.#state);
    const lag = make("div", { class: "measure" }, make("dl", {}, this.#behind.node, this.#oldest.node), this.#lagChart.node);
    const settled = make("div", { class: "measure" }, make("dl", {}, this.#rate.node, this.#letters.node), this.#rateChart.node);
    this.node = make("li", { class: "destination", id, "data-level": "good" }, head, lag, settled, this.#act, this.#trouble);
    this.#act.addEventListener("click", () => act(this.#last, this.#status));
    say(this.#name, name);
  }

  draw({ destination, status, past, drawn }) {
    this.#last = destination;
    this.#status = status;
    const { name, kind, lag, dead_letters: letters, why, last_error: error } = destination;
    const { level, words } = stateOf(destination, status, past.since);
    set(this.node, "data-level", level);
    say(this.#kind, kind ?? "");
    say(this.#state, words);
    say(this.#behind.value, grouped(lag.records));
    say(this.#oldest.value, lag.records > 0 ? duration(lag.seconds) : "–");
    say(this.#rate.value, `${rate(destination.records_per_second)}/s`);
    say(this.#letters.value, grouped(letters.letters));
    set(this.#letters.value, "data-level", letters.letters > 0 ? "warn" : "faint");
    const trouble = [why, error && why ? `last error: ${error}` : error].filter(Boolean).join("; ");
    say(this.#trouble, trouble);
    show(this.#trouble, trouble !== "");
    this.#lagChart.draw(drawn, past.lag.values, `records that ${name} is behind`, grouped);
    this.#rateChart.draw(drawn, past.rate.values, `records that ${name} settles`, perSecond);
    const action = actionFor(destination, status);
    say(this.#act, action ?? "");
    set(this.#act, "aria-label", `${action} ${name}`);
    show(this.#act, action !== null);
    this.#panel?.draw(destination, past, drawn);
  }

  toggle(wanted = this.#panel === null) {
    if (wanted === (this.#panel !== null)) return;
    set(this.#name, "aria-expanded", String(wanted));
    if (wanted) {
      this.#panel = new Panel(this.#last.name);
      this.node.append(this.#panel.node);
      redraw();
    } else {
      this.#panel.node.remove();
      this.#panel = null;
    }
  }

  /** Opens it and goes there. */
  visit() {
    this.toggle(true);
    this.node.scrollIntoView({ block: "center" });
    this.#name.focus({ preventScroll: true });
  }
}

/** What is known of one destination, at length. */
class Panel {
  #facts = new Map();
  #list = make("dl", { class: "facts" });
  #lag = new Chart("lag", 1, LAG_LEAST);
  #rate = new Chart("rate", 1);
  #lagWords = make("figcaption");
  #rateWords = make("figcaption");

  constructor(name) {
    this.name = name;
    const probe = make("button", { type: "button", "aria-label": `Probe ${name}`, click: () => this.#probe() }, "Probe");
    this.node = make("div", { class: "more" },
      make("div", { class: "charts" },
        make("figure", {}, this.#lag.node, this.#lagWords),
        make("figure", {}, this.#rate.node, this.#rateWords)),
      this.#list,
      make("p", { class: "actions" }, probe, make("span", { class: "hint" }, "asks whether it would take anything, and changes nothing")));
  }

  draw(destination, past, drawn) {
    const { lag, outcomes: of, delivered, visible, in_flight: flying, dead_letters: letters } = destination;
    this.#lag.draw(drawn, past.lag.values, `records that ${this.name} is behind`, grouped);
    this.#rate.draw(drawn, past.rate.values, `records that ${this.name} settles`, perSecond);
    say(this.#lagWords, `records behind, the last hour: ${summary(past.lag.values, grouped)}`);
    say(this.#rateWords, `records settled each second, the last hour: ${summary(past.rate.values, rate)}`);
    this.#fact("what became of every record",
      `${grouped(of.accepted)} accepted = ${grouped(of.written)} written + ${grouped(of.superseded)} superseded + ` +
      `${grouped(of.skipped)} skipped + ${grouped(of.dead_lettered)} dead-lettered + ${grouped(of.gap)} gap + ${grouped(of.pending)} pending`);
    this.#fact("operations in flight", grouped(flying));
    this.#fact("delivered up to", `${position(delivered)}, visible to searches up to ${position(visible)}`);
    this.#fact("backlog", lag.bytes_max ? `${bytes(lag.bytes)}, ${percent(lag.bytes, lag.bytes_max)} of ${bytes(lag.bytes_max)}` : bytes(lag.bytes));
    this.#fact("dead letters", letters.letters === 0 ? "none" : `${grouped(letters.letters)}, ${bytes(letters.bytes)} of ${bytes(letters.bytes_max)}`);
  }

  #fact(name, words) {
    let value = this.#facts.get(name);
    if (!value) {
      value = make("dd");
      this.#facts.set(name, value);
      this.#list.append(make("div", {}, make("dt", {}, name), value));
    }
    say(value, words);
  }

  async #probe() {
    try {
      const { healthy, error, milliseconds } = await ask(path(this.name, "probe"), {});
      if (healthy) tell(`${this.name} would take records; it answered within ${milliseconds} ms`);
      else tell(`${this.name} would take nothing: ${error}`, "bad");
    } catch (error) {
      tell(error.message, "bad");
    }
  }
}

/** What there is to do with it. */
function actionFor(destination, { config }) {
  switch (destination.state) {
    case "not_configured": return null;
    case "detached": return "Resume";
    case "paused": return isPausedByOperator(destination, config) ? "Resume" : "Pause";
    default: return "Pause";
  }
}

function act(destination, status) {
  if (actionFor(destination, status) === "Pause") return pause(destination.name);
  if (destination.state === "detached") return goOn(destination.name);
  return resume(destination.name, {});
}

function pause(name) {
  const why = make("input", { id: "pause-why", autocomplete: "off", maxlength: "500" });
  const wrong = make("p", { class: "wrong", role: "alert" });
  const form = make("form", { submit: async (event) => {
    event.preventDefault();
    try {
      const { pending } = await ask(path(name, "pause"), why.value.trim() === "" ? {} : { why: why.value.trim() });
      dialog.close();
      tell(`${name} is paused; ${records(pending)} ${pending === 1 ? "waits" : "wait"} for it`);
    } catch (error) {
      say(wrong, error.message);
    }
  } },
  make("p", {}, "Nothing more is sent to it until it is resumed, also after a restart. Its records wait in the log."),
  make("label", { for: "pause-why" }, "Why, for whoever looks at the status (may be empty)"), why, wrong,
  make("p", { class: "actions" },
    make("button", { type: "submit", class: "primary" }, `Pause ${name}`),
    make("button", { type: "button", click: () => dialog.close() }, "Leave it")));
  const dialog = open(`Pause ${name}?`, form);
  why.focus();
}

async function resume(name, body) {
  try {
    const { pending, missed } = await ask(path(name, "resume"), body);
    const gone = missed ? `; it has missed ${records(missed.records)} for good` : "";
    tell(`${name} goes on; ${records(pending)} ${pending === 1 ? "waits" : "wait"} for it${gone}`);
  } catch (error) {
    tell(error.message, "bad");
  }
}

/** One that was detached goes on where the operator says. */
function goOn(name) {
  const from = (at, words) => make("button", { type: "button", click: async () => {
    await resume(name, { from: at });
    dialog.close();
  } }, words);
  const dialog = open(`Resume ${name}?`,
    make("p", {}, "It fell too far behind. What the log does not hold any more it has missed for good; the gap is recorded."),
    make("p", { class: "actions" }, from("oldest", "At the oldest record that is left"), from("now", "At the next one that is accepted")));
}

let rows;
let busyUntil = 0;
let redraw = () => {};

/** Makes the list; `again` draws what was drawn last. */
export function begin(again) {
  redraw = again;
  const list = element("destinations");
  rows = new Keyed(list, ({ destination }) => new Row(destination));
  const touch = () => {
    busyUntil = performance.now() + CALM;
  };
  for (const event of ["pointermove", "pointerdown", "keydown"]) list.addEventListener(event, touch, { passive: true });
}

/** Draws every row in place. */
export function draw(status, past) {
  const items = status.destinations.map((destination) => {
    const of = past.of(destination.name);
    return { destination, status, past: of, drawn: past.drawn, place: stateOf(destination, status, of.since).place };
  });
  items.sort((a, b) => a.place - b.place || (a.destination.name < b.destination.name ? -1 : 1));
  rows.update(items, ({ destination }) => destination.name, performance.now() > busyUntil);
}

/** Opens a destination's row and goes there. */
export function visit(name) {
  rows.row(name)?.visit();
}
