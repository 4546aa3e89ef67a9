// The last hour: what the agent remembered when the page was opened, and what was seen since, in the agent's steps.
//
// Every ring has a fixed size, and a destination that goes takes its own with it: an open page does not grow.

/** An hour of samples. */
export const SAMPLES = 360;

/** The newest samples, the newest last; NaN where nothing is known. */
class Ring {
  values = new Float64Array(SAMPLES).fill(NaN);

  fill(list) {
    this.values.fill(NaN);
    const newest = list.slice(-SAMPLES);
    newest.forEach((value, at) => {
      this.values[SAMPLES - newest.length + at] = value ?? NaN;
    });
  }

  push(value) {
    this.values.copyWithin(0, 1);
    this.values[SAMPLES - 1] = value;
  }
}

/** What was seen of one destination. */
class Destination {
  lag = new Ring();
  rate = new Ring();
  state = null;
  since = null;
}

export class Past {
  accepted = new Ring();
  /** Changes whenever there is something new to draw. */
  drawn = 0;
  #step = 10;
  #last = 0;
  #destinations = new Map();

  /** Takes in what the agent remembers, in place of what is here. */
  load(history) {
    this.#step = history.step_seconds;
    this.#last = history.at.length > 0 ? Date.parse(history.at.at(-1)) : 0;
    this.accepted.fill(history.accepted_per_second);
    this.#destinations.clear();
    for (const [name, of] of Object.entries(history.destinations)) {
      const past = this.of(name);
      past.lag.fill(of.lag);
      past.rate.fill(of.records_per_second);
      past.state = of.state;
      past.since = of.since;
    }
    this.drawn += 1;
  }

  /** Takes in what is, as a sample if a step has passed. */
  note(status) {
    const names = new Set(status.destinations.map(({ name }) => name));
    for (const name of this.#destinations.keys()) if (!names.has(name)) this.#destinations.delete(name);
    for (const { name, state } of status.destinations) {
      const past = this.of(name);
      if (past.state === state) continue;
      // What was before the page was opened is not known.
      past.since = past.state === null ? null : status.at;
      past.state = state;
    }
    const now = Date.parse(status.at);
    const steps = this.#last === 0 ? 1 : Math.floor((now - this.#last + 500) / (this.#step * 1000));
    if (!(steps >= 1)) return;
    for (let missed = 1; missed < Math.min(steps, SAMPLES); missed += 1) this.#push(status, true);
    this.#push(status, false);
    this.#last = now;
    this.drawn += 1;
  }

  /** One destination's. */
  of(name) {
    let past = this.#destinations.get(name);
    if (!past) {
      past = new Destination();
      this.#destinations.set(name, past);
    }
    return past;
  }

  #push(status, missed) {
    this.accepted.push(missed ? NaN : status.log.records_per_second);
    for (const { name, lag, records_per_second: rate } of status.destinations) {
      const past = this.of(name);
      past.lag.push(missed ? NaN : lag.records);
      past.rate.push(missed ? NaN : rate);
    }
  }
}
