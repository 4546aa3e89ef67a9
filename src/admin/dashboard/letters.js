// Dead letters: how many of which destination and why, and in dialogs some of them, one of them, and their replay.

import { ask } from "./api.js";
import { Keyed, element, make, open, say, show } from "./dom.js";
import { replay } from "./replay.js";
import { bytes, counted, grouped, indented, percent, position, time } from "./words.js";

/** Letters on one page of the list. */
const PAGE = 50;

class Row {
  #last;
  #count = make("p", { class: "count" });
  #size = make("p", { class: "hint" });
  #reasons = make("ul", { class: "reasons", role: "list" });
  #chips;

  constructor({ name }) {
    const button = (words, click) => make("button", { type: "button", "aria-label": `${words} of ${name}`, click }, words);
    const look = button("Show letters", () => list(this.#last.name, {}, this.#last));
    const again = button("Replay …", () => replay(this.#last.name, {}, "all its dead letters"));
    const head = make("div", { class: "who" }, make("h3", {}, name), this.#count, this.#size);
    this.node = make("li", { class: "row", "data-level": "warn" }, head, this.#reasons, make("p", { class: "actions" }, look, again));
    this.#chips = new Keyed(this.#reasons, ([reason]) => this.#chip(reason));
  }

  draw(destination) {
    this.#last = destination;
    const { letters, bytes: size, bytes_max: most, by_reason: reasons } = destination.dead_letters;
    say(this.#count, counted(letters, "letter"));
    say(this.#size, most > 0 ? `${bytes(size)}, ${percent(size, most)} of ${bytes(most)}` : bytes(size));
    this.#chips.update(Object.entries(reasons).sort((a, b) => b[1] - a[1]), ([reason]) => reason);
  }

  #chip(reason) {
    const count = make("span", { class: "number" });
    const button = make("button", { type: "button", class: "chip", click: () => list(this.#last.name, { reason }, this.#last) },
      make("span", {}, reason), " ", count);
    return { node: make("li", {}, button), draw: ([, letters]) => say(count, grouped(letters)) };
  }
}

let rows;

/** Makes the section. */
export function begin() {
  rows = new Keyed(element("letters"), (destination) => new Row(destination));
}

/** Draws a row for every destination that has letters. */
export function draw({ destinations }) {
  const having = destinations.filter(({ dead_letters: { letters } }) => letters > 0);
  rows.update(having, ({ name }) => name);
  show(element("letters-empty"), having.length === 0);
}

/** Opens the letters of a destination, page by page, the newest first. */
function list(name, chosen, destination) {
  const items = make("ul", { class: "letters", role: "list" });
  const told = make("p", { class: "hint", role: "status" });
  const reason = make("select", { id: "letters-reason" }, make("option", { value: "" }, "any reason"));
  for (const code of Object.keys(destination.dead_letters.by_reason)) reason.append(make("option", { value: code }, code));
  reason.value = chosen.reason ?? "";
  const index = make("input", { id: "letters-index", autocomplete: "off" });
  const object = make("input", { id: "letters-object", autocomplete: "off" });
  const older = make("button", { type: "button", click: () => load(oldest - 1) }, "Older");
  const newest = make("button", { type: "button", click: () => load() }, "Newest");
  let oldest = 0;
  let asked = 0;

  const filter = () => ({
    ...(reason.value && { reason: reason.value }),
    ...(index.value && { index: index.value }),
    ...(object.value && { object: object.value }),
  });
  const load = async (last) => {
    asked += 1;
    const now = asked;
    try {
      const body = { destination: name, limit: PAGE, filter: last === undefined ? filter() : { ...filter(), last } };
      const report = await ask("/v1/dead-letters/list", body);
      if (now !== asked) return;
      oldest = report.letters.at(-1)?.id ?? 0;
      items.replaceChildren(...report.letters.map((letter) => item(name, letter, load)), ...report.ranges.map(range));
      older.disabled = !report.more;
      newest.disabled = last === undefined;
      const shown = counted(report.letters.length, "letter");
      say(told, report.letters.length === 0 ? "no such letters" : `${last === undefined ? "the newest " : ""}${shown}${report.more ? ", and there are older ones" : ""}`);
    } catch (error) {
      say(told, error.message);
    }
  };

  const form = make("form", { class: "filter", submit: (event) => {
    event.preventDefault();
    load();
  }, change: () => load() },
  make("div", {}, make("label", { for: "letters-reason" }, "Reason"), reason),
  make("div", {}, make("label", { for: "letters-index" }, "Index"), index),
  make("div", {}, make("label", { for: "letters-object" }, "Object"), object),
  make("button", { type: "submit" }, "Show"),
  make("button", { type: "button", click: () => replay(name, filter(), "the letters chosen here", load) }, "Replay these …"));
  const dialog = open(`Dead letters of ${name}`, form, told, items, make("p", { class: "actions" }, newest, older));
  dialog.classList.add("wide");
  load();
}

function item(name, letter, again) {
  const { id, index, object_id: object, reason, stale, purged, stage, attempts, dead_lettered_at: at } = letter;
  const marks = [purged ? "purged" : stale ? "stale" : "", stage, attempts > 0 ? `sent ${attempts === 1 ? "once" : `${grouped(attempts)} times`}` : "never sent"];
  const code = reason.status === null ? reason.code : `${reason.code} (${reason.status})`;
  const button = make("button", { type: "button", class: "letter", click: () => letterOf(name, id, again) },
    make("span", { class: "what" }, `${object} in ${index}`),
    make("span", { class: "code" }, code),
    make("span", { class: "message" }, reason.message),
    make("span", { class: "hint" }, `letter ${id} · ${time(at)} · ${marks.filter(Boolean).join(", ")}`));
  return make("li", {}, button);
}

function range({ from, to, records, index, cause, message, recorded_at: at }) {
  return make("li", { class: "range" },
    make("span", { class: "what" }, `${counted(records, "record")} of ${index ?? "unknown indexes"}, from ${position(from)} up to ${position(to)}: neither delivered nor kept as letters`),
    make("span", { class: "message" }, `${cause}: ${message}`),
    make("span", { class: "hint" }, time(at)));
}

/** Opens one letter; `again` is called when it was replayed. */
async function letterOf(name, id, again) {
  const content = make("div", { class: "letter-body" }, make("p", { class: "hint" }, "Asking the agent …"));
  const dialog = open(`Dead letter ${id} of ${name}`, content);
  dialog.classList.add("wide");
  try {
    const report = await ask("/v1/dead-letters/show", { destination: name, id });
    content.replaceChildren(...described(report, () => {
      dialog.close();
      again();
    }));
  } catch (error) {
    content.replaceChildren(make("p", { class: "wrong", role: "alert" }, error.message));
  }
}

function described(report, done) {
  const { destination, letter, record, operation } = report;
  const { reason, stale, purged } = letter;
  const code = reason.status === null ? reason.code : `${reason.code} (${reason.status})`;
  const fact = (label, value) => make("div", {}, make("dt", {}, label), make("dd", {}, value));
  const sent = letter.stage !== "delivery" ? "never sent" : letter.attempts === 1 ? "sent once" : `sent ${grouped(letter.attempts)} times`;
  const nodes = [make("p", { class: "reason" }, make("strong", {}, code), make("span", {}, reason.message))];
  if (purged) nodes.push(make("p", { class: "hint" }, "purged: its object was deleted since, and with it the data here"));
  else if (stale) nodes.push(make("p", { class: "hint" }, "stale: something newer of its object was delivered since; a replay leaves it out"));
  const facts = make("dl", { class: "facts" },
    fact("stage", `${letter.stage}, ${sent}`),
    fact("accepted", time(letter.accepted_at)),
    fact("dead-lettered", time(letter.dead_lettered_at)),
    fact("request id", report.request_id),
    fact("position", `${position(report.position)}, operation ${report.number}`));
  if (report.caller) facts.append(fact("caller", report.caller));
  if (report.module) facts.append(fact("module", report.module));
  nodes.push(facts, ...changed("record", record));
  if (operation) nodes.push(...changed("operation", operation));
  else nodes.push(make("p", { class: "hint" }, letter.stage === "transform" ? "no operation: the transform failed" : "the operation is the record"));
  const again = () => replay(destination, { ids: [letter.id] }, `letter ${letter.id}`, done);
  nodes.push(make("p", { class: "actions" }, make("button", { type: "button", click: again }, "Replay this letter …")));
  return nodes;
}

function changed(what, { action, index, object_id: object, data, data_bytes_left_out: left }) {
  const nodes = [make("h3", {}, `${what}: ${action} ${object} in ${index}`)];
  if (data !== "") {
    const text = make("pre", { tabindex: "0", role: "region", "aria-label": `data of the ${what}` });
    // Over several lines, and made printable on the way.
    text.textContent = indented(data);
    nodes.push(text);
  }
  if (left > 0) nodes.push(make("p", { class: "hint" }, `and ${bytes(left)} more: \`sync-agent dead-letters show\` has all of it`));
  return nodes;
}
