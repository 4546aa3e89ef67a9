// A replay of dead letters: first a dry run, always, and what it tells; then, if the operator wants it, the replay.

import { Refused, events } from "./api.js";
import { make, open, say, show, tell } from "./dom.js";
import { counted, grouped } from "./words.js";

const COUNTS = [
  ["superseded", "superseded by something newer there"],
  ["skipped", "left out by today's transform"],
  ["stale", "stale"],
  ["purged", "without data, their object was deleted"],
  ["unrouted", "of an index that does not go there any more"],
  ["failed", "refused again"],
];

/** How it went, or would go, in words. */
function words(progress, dryRun) {
  const sent = `${grouped(progress.replayed)} ${dryRun ? "would be sent" : "delivered"}`;
  const others = COUNTS.filter(([key]) => progress[key] > 0).map(([key, what]) => `${grouped(progress[key])} ${what}`);
  return `${counted(progress.letters, "letter")}: ${[sent, ...others].join(", ")}`;
}

/** How many have come to an end. */
function done(progress) {
  return COUNTS.reduce((sum, [key]) => sum + progress[key], progress.replayed);
}

/** Opens the dialog for a destination's letters that a filter lets through; `after` is called when something was replayed. */
export function replay(destination, filter, what, after = () => {}) {
  let running = null;
  const told = make("p", { role: "status" });
  const wrong = make("p", { class: "wrong", role: "alert" });
  const bar = make("progress", { "aria-label": "letters replayed", max: "1", value: "0", hidden: true });
  const left = make("ul", { class: "left", role: "list" });
  const force = make("input", { type: "checkbox", id: "replay-force", change: () => run(true) });
  const forced = make("p", { class: "check" }, force, make("label", { for: "replay-force" },
    "Also those that are stale: a destination that keeps no versions then has older states"));
  const go = make("button", { type: "button", class: "primary", disabled: true, click: () => run(false) }, "Replay");
  const stop = make("button", { type: "button", hidden: true, click: () => running?.abort() }, "Stop");

  async function run(dryRun) {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    go.disabled = true;
    force.disabled = !dryRun;
    show(stop, !dryRun);
    show(bar, !dryRun);
    bar.value = 0;
    left.replaceChildren();
    say(wrong, "");
    say(told, dryRun ? "A dry run looks what would be sent …" : "The replay begins …");
    let last = null;
    try {
      const asked = { destination, filter, force: force.checked, dry_run: dryRun };
      for await (const { name, data } of events("/v1/dead-letters/replay", asked, mine.signal)) {
        if (name === "error") throw new Refused(data);
        last = data;
        if (data.letters > 0) bar.value = done(data) / data.letters;
        if (data.state === "waiting") say(told, "It waits for its turn …");
        else if (data.state === "running" && !dryRun) say(told, `replayed: ${grouped(done(data))} of ${counted(data.letters, "letter")}`);
      }
      if (running !== mine) return;
      if (last?.state !== "done") throw new Refused({ error: "the agent ended before the replay did", advice: "ask for it again" });
      finished(last, dryRun);
    } catch (error) {
      if (running !== mine) return;
      const stopped = mine.signal.aborted;
      say(told, stopped ? "Stopped: what was not replayed is as it was." : "");
      if (!stopped) say(wrong, error.message);
    } finally {
      if (running === mine) {
        running = null;
        force.disabled = false;
        show(stop, false);
        show(bar, false);
        if (!dryRun) after();
      }
    }
  }

  function finished(progress, dryRun) {
    const sentence = words(progress, dryRun);
    say(told, dryRun ? `Dry run, nothing was sent. ${sentence}` : sentence);
    go.disabled = !dryRun || progress.replayed === 0;
    say(go, dryRun && progress.replayed > 0 ? `Replay ${counted(progress.replayed, "letter")}` : "Replay");
    const shown = progress.left.slice(0, 100).map(({ id, index, object_id: object, why }) => make("li", {},
      make("span", { class: "what" }, `${id} · ${object} in ${index}`), make("span", { class: "message" }, why)));
    const count = progress.stale + progress.purged + progress.unrouted + progress.failed;
    if (count > shown.length) shown.push(make("li", {}, `and ${grouped(count - shown.length)} more`));
    left.replaceChildren(...shown);
    if (!dryRun) tell(`${destination}, ${sentence}`, count > 0 ? "warn" : "good");
  }

  const dialog = open(`Replay ${what} of ${destination}`,
    make("p", {}, "The original records go through today's transform and the ordinary lane, with their old versions. What is delivered is deleted here; what is refused again stays, with the new reason."),
    told, bar, wrong, left, forced, make("p", { class: "actions" }, go, stop));
  dialog.addEventListener("close", () => running?.abort());
  run(true);
}
