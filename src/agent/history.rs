//! The last hour of every destination, kept in memory, so that whoever looks now also sees what was.
//!
//! One sample every ten seconds, at most 360 of them; a destination that goes takes its samples with it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use plugin_api::identity::Timestamp;
use tokio::time::Instant;

use crate::admin::{self, DestinationState, Time};

/// From one sample to the next.
const STEP: Duration = Duration::from_secs(10);
/// An hour of them.
const SAMPLES_MAX: usize = 360;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    destinations: BTreeMap<Arc<str>, Past>,
    /// When the last sample was taken, or would have been, and how many records the log had accepted.
    last: Option<(Instant, u64)>,
}

#[derive(Debug)]
struct Sample {
    at: Timestamp,
    accepted_per_second: f64,
}

/// What was seen of one destination.
#[derive(Debug)]
struct Past {
    state: DestinationState,
    since: Timestamp,
    /// One for each sample since it is there; none where its lane was not to be seen.
    points: VecDeque<Option<Point>>,
    /// What it had settled at the last sample.
    settled: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    lag: u64,
    records_per_second: f64,
}

/// A destination at one moment.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) state: DestinationState,
    /// Records that it had settled and that it had not, if its lane was to be seen.
    pub(super) settled_and_pending: Option<(u64, u64)>,
}

impl History {
    /// Takes in what was seen at a moment, which makes a sample once every step: called more often than that.
    pub(super) fn note(&mut self, at: Instant, now: Timestamp, end: u64, seen: &BTreeMap<Arc<str>, Seen>) {
        self.destinations.retain(|name, _| seen.contains_key(name));
        for (name, seen) in seen {
            let new = || Past { state: seen.state, since: now, points: VecDeque::new(), settled: None };
            let past = self.destinations.entry(name.clone()).or_insert_with(new);
            if past.state != seen.state {
                (past.state, past.since) = (seen.state, now);
            }
        }
        let Some((last, accepted)) = self.last else {
            self.last = Some((at, end));
            self.begin(seen);
            return;
        };
        let step = at.duration_since(last);
        if step < STEP {
            return;
        }
        let per_second = |records: u64| (records as f64 / step.as_secs_f64() * 10.0).round() / 10.0;
        let accepted_per_second = per_second(end.saturating_sub(accepted));
        push(&mut self.samples, Sample { at: now, accepted_per_second });
        for (name, seen) in seen {
            let Some(past) = self.destinations.get_mut(name) else { continue };
            let point = seen.settled_and_pending.map(|(settled, lag)| {
                let before = past.settled.unwrap_or(settled);
                Point { lag, records_per_second: per_second(settled.saturating_sub(before)) }
            });
            push(&mut past.points, point);
        }
        self.last = Some((at, end));
        self.begin(seen);
    }

    /// What was settled when the next step began.
    fn begin(&mut self, seen: &BTreeMap<Arc<str>, Seen>) {
        for (name, seen) in seen {
            if let Some(past) = self.destinations.get_mut(name) {
                past.settled = seen.settled_and_pending.map(|(settled, _)| settled);
            }
        }
    }

    /// All of it.
    pub(super) fn report(&self) -> admin::History {
        let destinations = self.destinations.iter().map(|(name, past)| {
            // A sample from before it was there tells nothing of it.
            let before = self.samples.len().saturating_sub(past.points.len());
            let points = || std::iter::repeat_n(None, before).chain(past.points.iter().copied());
            let history = admin::DestinationHistory {
                state: past.state,
                since: Time(past.since),
                lag: points().map(|point| point.map(|point| point.lag)).collect(),
                records_per_second: points()
                    .map(|point| point.map(|point| point.records_per_second))
                    .collect(),
            };
            (name.to_string(), history)
        });
        admin::History {
            step_seconds: STEP.as_secs(),
            at: self.samples.iter().map(|sample| Time(sample.at)).collect(),
            accepted_per_second: self.samples.iter().map(|sample| sample.accepted_per_second).collect(),
            destinations: destinations.collect(),
        }
    }
}

/// The newest comes last; the oldest goes when there are too many.
fn push<T>(ring: &mut VecDeque<T>, newest: T) {
    if ring.len() == SAMPLES_MAX {
        ring.pop_front();
    }
    ring.push_back(newest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A destination's name, what it does, and what it has settled and not.
    type Moment<'a> = (&'a str, DestinationState, Option<(u64, u64)>);

    /// Looks once a second, and tells what a destination is seen to do then.
    struct Looks {
        history: History,
        start: Instant,
        second: u64,
    }

    impl Looks {
        fn new() -> Self {
            Self { history: History::default(), start: Instant::now(), second: 0 }
        }

        fn look(&mut self, end: u64, seen: &[Moment<'_>]) {
            let seen = seen.iter().map(|(name, state, settled_and_pending)| {
                (Arc::from(*name), Seen { state: *state, settled_and_pending: *settled_and_pending })
            });
            let (at, now) =
                (self.start + Duration::from_secs(self.second), Timestamp(self.second * 1_000_000));
            self.history.note(at, now, end, &seen.collect());
            self.second += 1;
        }
    }

    /// Scenario: two hours go by, at 100 records accepted each second, of which a destination settles 90.
    ///
    /// Protects G9: an hour is kept, and no more.
    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut looks = Looks::new();
        for second in 0..7_200 {
            let settled = second * 90;
            looks.look(second * 100, &[("search", DestinationState::Running, Some((settled, second * 10)))]);
        }
        let report = looks.history.report();
        assert_eq!((report.step_seconds, report.at.len()), (10, 360));
        assert_eq!(report.at[359].0.0 - report.at[0].0.0, 3_590_000_000);
        assert!(report.accepted_per_second.iter().all(|rate| *rate == 100.0), "{report:?}");
        let search = &report.destinations["search"];
        assert_eq!(search.lag.len(), 360);
        assert_eq!((search.lag[359], search.lag[358]), (Some(71_900), Some(71_800)));
        assert!(search.records_per_second.iter().all(|rate| *rate == Some(90.0)), "{search:?}");
        assert_eq!((search.state, search.since), (DestinationState::Running, Time(Timestamp(0))));
    }

    /// Scenario: a destination comes, its breaker opens, its lane is not to be seen for a while, it goes, and it comes
    /// again. What was before it came is not known, and nothing stays of what went.
    #[test]
    fn a_destination_comes_and_goes() {
        let (running, open) = (DestinationState::Running, DestinationState::Open);
        let archive = ("archive", running, Some((0, 0)));
        let mut looks = Looks::new();
        (0..=20).for_each(|_| looks.look(0, &[archive]));
        (0..10).for_each(|_| looks.look(0, &[archive, ("search", running, Some((7, 3)))]));
        (0..10).for_each(|_| looks.look(0, &[archive, ("search", open, None)]));
        (0..10).for_each(|_| looks.look(0, &[archive, ("search", open, Some((27, 1)))]));
        let report = looks.history.report();
        let search = &report.destinations["search"];
        assert_eq!(search.lag, [None, None, Some(3), None, Some(1)]);
        // What it settled while nobody saw it is not told of the step after.
        assert_eq!(search.records_per_second, [None, None, Some(0.0), None, Some(0.0)]);
        assert_eq!((search.state, search.since), (open, Time(Timestamp(31_000_000))));

        looks.look(0, &[archive]);
        assert!(!looks.history.report().destinations.contains_key("search"));
        (0..10).for_each(|_| looks.look(0, &[archive, ("search", running, Some((0, 0)))]));
        let report = looks.history.report();
        assert_eq!(report.destinations["search"].lag.iter().flatten().count(), 1);
        assert_eq!(report.destinations["archive"].lag.len(), report.at.len());
    }

    /// What is settled goes back where a cursor is moved back; no rate is below nothing.
    #[test]
    fn a_cursor_that_is_moved_back_is_no_rate() {
        let mut looks = Looks::new();
        for settled in [100; 11].into_iter().chain([0; 10]) {
            looks.look(100, &[("search", DestinationState::Running, Some((settled, 100 - settled)))]);
        }
        let report = looks.history.report();
        assert_eq!(report.destinations["search"].records_per_second, [Some(0.0), Some(0.0)]);
        assert_eq!(report.destinations["search"].lag, [Some(0), Some(100)]);
    }
}
