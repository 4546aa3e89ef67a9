// What is wrong, and where: the sentences at the top of the page, the worst first.
//
// A pure function from the status and what was before it; the words are those of `sync-agent status`.

import { between, bytes, counted, duration, grouped, percent, rate, time } from "./words.js";

/** From here on a destination that runs is said to be behind, in seconds. */
const BEHIND = 60;
/** A time to full that is worth a warning, in seconds. */
export const SOON = 24 * 3600;
/** Versions that run ahead of the clock by more are worth one, in seconds. */
const AHEAD_MAX = 60;
/** Parts of a budget from which on its use is worth a word, a warning, an alarm. */
const BUDGET = [[0.95, "bad"], [0.8, "warn"], [0.5, "note"]];

export const LEVELS = ["bad", "warn", "note"];

/** How bad a destination's state is: its place in the list, and its colour. */
const STATES = {
  halted: { place: 0, level: "bad", words: "halted" },
  detached: { place: 1, level: "bad", words: "detached" },
  open: { place: 2, level: "bad", words: "breaker open" },
  backing_off: { place: 4, level: "warn", words: "backing off" },
  paused: { place: 5, level: "warn", words: "paused" },
  running: { place: 7, level: "good", words: "running" },
  not_configured: { place: 8, level: "faint", words: "not configured" },
};

/** Whether an operator paused it, rather than that it refuses everything. */
export function isPausedByOperator({ name, state, why }, { drift }) {
  return state === "paused" && drift.includes(`destination ${name} is paused: ${why}`);
}

/** What a destination is doing: its place, its level, its words, and since when. */
export function stateOf(destination, status, since) {
  const { place, level, words } = STATES[destination.state] ?? { place: 3, level: "warn", words: destination.state };
  const refuses = destination.state === "paused" && !isPausedByOperator(destination, status.config);
  const lags = destination.state === "running" && destination.lag.seconds > BEHIND;
  const long = since && destination.state !== "running" ? ` for ${duration(between(since, status.at))}` : "";
  const until = destination.until;
  const again = until ? `, again in ${duration(between(status.at, until))}` : "";
  return {
    place: refuses ? 3 : lags ? 6 : place,
    level: refuses ? "bad" : lags ? "warn" : level,
    words: lags ? "running, behind" : `${words}${long}${again}`,
  };
}

function ofDestination(destination, status, since) {
  const { name, state, why, last_error: error, lag, records_per_second: settled } = destination;
  const { level, words } = stateOf(destination, status, since);
  const problems = [];
  const push = (of, title, detail) =>
    problems.push({ key: `${of} ${name}`, level: of === "state" ? level : "note", subject: name, title, detail, destination: name });
  const waits = lag.records > 0 ? `${counted(lag.records, "record")} behind, the oldest for ${duration(lag.seconds)}` : "";
  const why_and_error = [why, error && why ? `last error: ${error}` : error].filter(Boolean).join("; ");
  if (state === "running" && lag.seconds > BEHIND) {
    const gain = settled - status.log.records_per_second;
    const left = gain > 1 ? `about ${duration(lag.records / gain)} until it has caught up` : "not catching up";
    push("state", `behind by ${counted(lag.records, "record")}, the oldest for ${duration(lag.seconds)}`,
      [`settles ${rate(settled)} records/s: ${left}`, error].filter(Boolean).join("; "));
  } else if (state !== "running" && state !== "not_configured") {
    push("state", words, [waits, why_and_error].filter(Boolean).join("; "));
  }
  const used = (part, whole, what, key) => {
    const found = whole > 0 && BUDGET.find(([from]) => part >= from * whole);
    if (!found) return;
    push(key, `${what} ${percent(part, whole)} of ${bytes(whole)}`, "");
    problems.at(-1).level = found[1];
  };
  used(lag.bytes, lag.bytes_max ?? 0, "its backlog takes", "backlog");
  used(destination.dead_letters.bytes, destination.dead_letters.bytes_max, "its dead letters take", "letters");
  return problems;
}

function ofConfig({ config, draining, destinations }) {
  const problems = [];
  if (config.serving_last_accepted) {
    problems.push({ key: "last accepted", level: "bad", subject: "config",
      title: "the file was broken at the start: the last config that was accepted serves", detail: "", section: "config" });
  }
  if (config.refused) {
    const { errors } = config.refused.config;
    const lines = errors.slice(0, 3).map(({ line, key, message }) => `${line ? `line ${line}: ` : ""}${key}: ${message}`);
    if (errors.length > 3) lines.push(`and ${errors.length - 3} more`);
    problems.push({ key: "refused", level: "bad", subject: "config",
      title: `the file is refused since ${time(config.refused.at)}, the one before serves: ${counted(errors.length, "error")}`,
      detail: lines.join("; "), section: "config" });
  }
  if (draining) {
    problems.push({ key: "draining", level: "warn", subject: "draining", title: "every request is refused",
      detail: "`sync-agent drain --cancel` takes them again", section: "config" });
  }
  if (destinations.every(({ state }) => state === "not_configured")) {
    problems.push({ key: "nowhere", level: "warn", subject: "config", title: "no destination is configured", detail: "", section: "config" });
  }
  return problems;
}

function ofLog({ log }) {
  const problems = [];
  const push = (key, level, title) => problems.push({ key, level, subject: "log", title, detail: "", section: "log" });
  if (log.refusing) {
    push("refusing", "bad", `every request is refused: ${log.refusing}`);
  }
  const left = log.disk_full_in_seconds;
  const used = BUDGET.find(([from]) => log.held_bytes >= from * log.bytes_max);
  if (left !== null && left < SOON) {
    push("full", "bad", `its disk budget is used up in ${duration(left)}: then ingest is refused`);
  } else if (used) {
    push("full", used[1], `what is held for destinations takes ${percent(log.held_bytes, log.bytes_max)} of the disk budget`);
  }
  if (log.versions_ahead_seconds > AHEAD_MAX) {
    push("ahead", "bad", `versions run ahead of the clock by ${duration(log.versions_ahead_seconds)}: is the clock right?`);
  }
  return problems;
}

function ofTransforms({ transforms }) {
  const problems = [];
  for (const { name, suspended, refused } of transforms) {
    if (suspended.length > 0) {
      problems.push({ key: `suspended ${name}`, level: "bad", subject: name,
        title: `the transform is suspended on ${suspended.length === 1 ? "1 index" : `${suspended.length} indexes`}`,
        detail: `${suspended.slice(0, 5).join(", ")}: their records become dead letters`, section: "transforms" });
    }
    if (refused) {
      problems.push({ key: `module ${name}`, level: "warn", subject: name,
        title: `a module is refused since ${time(refused.since)}, the one before serves`, detail: refused.why, section: "transforms" });
    }
  }
  return problems;
}

function ofLetters({ destinations }) {
  const having = destinations.filter(({ dead_letters: { letters } }) => letters > 0);
  if (having.length === 0) return [];
  const letters = having.reduce((sum, of) => sum + of.dead_letters.letters, 0);
  const names = having.slice(0, 4).map(({ name, dead_letters: of }) => `${name} ${grouped(of.letters)}`);
  if (having.length > 4) names.push(`and ${having.length - 4} more`);
  return [{ key: "letters", level: "note", subject: counted(letters, "dead letter"),
    title: `${letters === 1 ? "waits" : "wait"} for somebody to look at`, detail: names.join(", "), section: "letters" }];
}

/** Everything that is wrong, the worst first; what is as bad, in the order in which it keeps records from arriving. */
export function problems(status, past) {
  const found = [
    ...status.destinations.flatMap((destination) => ofDestination(destination, status, past.of(destination.name).since)),
    ...ofLog(status),
    ...ofTransforms(status),
    ...ofConfig(status),
    ...ofLetters(status),
  ];
  const place = ({ level }) => LEVELS.indexOf(level);
  return found.sort((a, b) => place(a) - place(b));
}

/** One sentence for all of it, and how bad it is. */
export function headline(status, found) {
  const configured = status.destinations.filter(({ state }) => state !== "not_configured").length;
  const bad = found.filter(({ level }) => level !== "note");
  if (bad.length === 0) {
    const all = configured === 1 ? "The only destination is keeping up" : `All ${configured} destinations are keeping up`;
    return { level: "good", words: all };
  }
  const level = bad.some((problem) => problem.level === "bad") ? "bad" : "warn";
  if (bad.length === 1) return { level, words: `${bad[0].subject}: ${bad[0].title}` };
  const hit = new Set(bad.flatMap(({ destination }) => destination ?? [])).size;
  const sections = [...new Set(bad.flatMap(({ section }) => (section ? `the ${section}` : [])))];
  const words = hit > 0
    ? `${hit} of ${counted(configured, "destination")} ${hit === 1 ? "needs" : "need"} attention`
    : `${counted(bad.length, "thing")} need attention`;
  if (sections.length === 0) return { level, words };
  const also = hit > 0 ? `, and so ${sections.length === 1 ? "does" : "do"} ` : ": ";
  return { level, words: words + also + sections.join(", ").replace(/, ([^,]*)$/, " and $1") };
}
