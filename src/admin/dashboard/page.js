// The page: takes a status in and draws it, each node in its place. What does not change is not touched.

import * as agent from "./agent.js";
import * as destinations from "./destinations.js";
import { Keyed, element, make, say, set, show } from "./dom.js";
import * as letters from "./letters.js";
import { Past } from "./past.js";
import { LEVELS, headline, problems, stateOf } from "./verdict.js";

/** So many problems are listed; the others are counted. */
const PROBLEMS_MAX = 12;

const past = new Past();
let found;
let last = null;
let begun = false;
/** What each destination was doing when it was last told to those who do not see the page. */
const told = new Map();

class Problem {
  #subject = make("strong");
  #title = make("span", { class: "title-words" });
  #detail = make("span", { class: "detail" });
  #go = make("a", { href: "#board" });
  #last;

  constructor() {
    this.#go.append(this.#subject, " ", this.#title);
    this.node = make("li", { class: "problem" }, this.#go, this.#detail);
    this.#go.addEventListener("click", (event) => {
      event.preventDefault();
      visit(this.#last);
    });
  }

  draw(problem) {
    const { level, subject, title, detail, isSaid } = problem;
    this.#last = problem;
    set(this.node, "data-level", level);
    say(this.#subject, subject);
    say(this.#title, title);
    show(this.#go, !isSaid);
    say(this.#detail, detail);
    show(this.#detail, detail !== "");
  }
}

/** Goes to what a problem is about. */
function visit({ destination, section }) {
  if (destination) {
    destinations.visit(destination);
    return;
  }
  const heading = element(`${section}-title`);
  heading.tabIndex = -1;
  heading.scrollIntoView({ block: "start" });
  heading.focus({ preventScroll: true });
}

/** Takes in what the agent remembers of the last hour. */
export function remember(history) {
  past.load(history);
}

/** Takes in what is now, and draws it if somebody may see it. */
export function update(status) {
  past.note(status);
  last = status;
  if (!document.hidden) draw();
}

/** Draws what was taken in last. */
export function draw() {
  if (last === null) return;
  if (!begun) {
    begun = true;
    found = new Keyed(element("problems"), () => new Problem());
    destinations.begin(draw);
    letters.begin();
    agent.begin();
  }
  drawVerdict(last);
  destinations.draw(last, past);
  letters.draw(last);
  agent.draw(last, past);
  tellChanges(last);
}

function drawVerdict(status) {
  const all = problems(status, past);
  const { level, words } = headline(status, all);
  set(element("verdict"), "data-level", level);
  say(element("headline"), words);
  const bad = all.filter((problem) => problem.level !== LEVELS[2]).length;
  document.title = bad > 0 ? `(${bad}) sync-agent` : "sync-agent";
  const shown = all.slice(0, PROBLEMS_MAX);
  if (bad === 1) {
    // The headline has said it; what is left are the details.
    const alone = shown.shift();
    if (alone.detail !== "") shown.unshift({ ...alone, isSaid: true });
  }
  if (all.length > PROBLEMS_MAX) {
    const more = `and ${all.length - PROBLEMS_MAX} more`;
    shown.push({ key: "more", level: "note", subject: more, title: "below", detail: "", section: "destinations" });
  }
  found.update(shown, ({ key }) => key);
}

/** Only what a destination does now, and only when it does something else: a screen reader is not to talk all the time. */
function tellChanges(status) {
  const changes = [];
  for (const destination of status.destinations) {
    const { name, state } = destination;
    const before = told.get(name);
    told.set(name, state);
    if (before !== undefined && before !== state) changes.push(`${name}: ${stateOf(destination, status, null).words}`);
  }
  for (const name of told.keys()) {
    if (!status.destinations.some((destination) => destination.name === name)) {
      told.delete(name);
      changes.push(`${name} is gone`);
    }
  }
  if (changes.length > 0) say(element("live"), changes.slice(0, 5).join("; "));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) draw();
});
