// What an agent might say: a status that is varied from a real one, and an hour before it. For how the page looks and how
// it behaves over an hour, which nobody wants to wait for.

const SAMPLES = 360;

/** Numbers that look like chance and are the same in every run. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A time as the agent writes it. */
export const iso = (milliseconds) => new Date(milliseconds).toISOString().replace("Z", "000Z");

/** A status some seconds after a real one, in which destinations fail, lag and recover. */
export function later(status, second, next = chance(second)) {
  const now = Date.parse(status.at) + second * 1000;
  const varied = structuredClone(status);
  varied.at = iso(now);
  varied.log.records_per_second = 900 + 200 * next();
  varied.log.held_bytes = varied.log.bytes = Math.floor((4 + (second / 3600) * 3) * 2 ** 30);
  varied.log.bytes_max = 20 * 2 ** 30;
  varied.log.disk_full_in_seconds = 40_000 - 5 * second;
  varied.destinations.forEach((destination, number) => {
    // Each has its own bad minutes.
    const phase = (second + number * 97) % 1200;
    const down = number % 4 === 1 && phase < 300;
    const slow = number % 4 === 2 && phase < 600;
    destination.state = down ? (phase < 20 ? "backing_off" : "open") : "running";
    destination.until = down ? iso(now + 12_000) : null;
    destination.last_error = down ? `503 Service Unavailable: node ${Math.floor(next() * 1e6)} has left the cluster` : null;
    destination.records_per_second = down ? 0 : 850 + 200 * next();
    destination.lag.records = Math.floor(down ? phase * 900 : slow ? phase * 40 : 300 * next());
    destination.lag.seconds = down ? phase : slow ? phase / 5 : next();
    destination.lag.bytes = destination.lag.records * 700;
    destination.dead_letters.letters = number % 5 === 0 ? Math.floor(second / 60) : 0;
    destination.dead_letters.by_reason = number % 5 === 0 ? { rejected: Math.floor(second / 60) } : {};
    destination.outcomes.accepted += second * 1000;
  });
  return varied;
}

/** The hour before a status. */
export function before(status) {
  const at = Array.from({ length: SAMPLES }, (_, sample) => iso(Date.parse(status.at) - (SAMPLES - 1 - sample) * 10_000));
  const next = chance(7);
  const destinations = {};
  status.destinations.forEach((destination, number) => {
    const lag = [];
    const rate = [];
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const bump = Math.max(0, 1 - Math.abs(sample - 120 - number * 31) / 60);
      const fails = destination.state !== "running" && sample > 300;
      lag.push(Math.floor(fails ? (sample - 300) * 9_000 : 300 * next() + 40_000 * bump * (number % 3 === 1)));
      rate.push(fails ? 0 : 1000 + 150 * next() - 400 * bump * (number % 3 === 1));
    }
    destinations[destination.name] = { state: destination.state, since: at[300], lag, records_per_second: rate };
  });
  return { step_seconds: 10, at, accepted_per_second: at.map((_, sample) => 1000 + 120 * Math.sin(sample / 25) + 60 * next()), destinations };
}
