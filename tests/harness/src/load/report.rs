//! What came of a load.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::history::{Outcome, Request};

/// Over all slots of a load.
#[derive(Debug)]
pub struct Report {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Requests by outcome.
    pub requests: Counts,
    /// Records by the outcome of their request.
    pub records: Counts,
    /// Bytes of requests sent, without HTTP/2's own.
    pub bytes: u64,
    /// Why requests were refused or unknown, and how often each.
    pub problems: BTreeMap<String, u64>,
    /// Every request, if the load was recorded; in no order.
    pub history: Vec<Request>,
    /// Where a load that goes on with these keys starts.
    pub next_sequence: u64,
    latencies: Histogram<u64>,
}

/// By outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted for good.
    pub acknowledged: u64,
    /// Certainly not accepted.
    pub refused: u64,
    /// Perhaps accepted.
    pub unknown: u64,
}

impl Report {
    pub(crate) fn new() -> Self {
        // From a microsecond to a minute at three digits.
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are valid");
        Self {
            elapsed: Duration::ZERO,
            requests: Counts::default(),
            records: Counts::default(),
            bytes: 0,
            problems: BTreeMap::new(),
            history: Vec::new(),
            next_sequence: 0,
            latencies,
        }
    }

    /// Records acknowledged a second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        self.records.acknowledged as f64 / self.elapsed.as_secs_f64()
    }

    /// Requests acknowledged a second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests.acknowledged as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the acknowledged requests did not exceed, such as 0.99.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }

    pub(crate) fn count(&mut self, outcome: &Outcome, records: u64, latency: Duration) {
        let of = |counts: &mut Counts, by| match outcome {
            Outcome::Acknowledged { .. } => counts.acknowledged += by,
            Outcome::Refused { .. } => counts.refused += by,
            Outcome::Unknown { .. } => counts.unknown += by,
        };
        of(&mut self.requests, 1);
        of(&mut self.records, records);
        match outcome {
            Outcome::Acknowledged { .. } => self.latencies.saturating_record(latency.as_micros() as u64),
            Outcome::Refused { status: problem } | Outcome::Unknown { reason: problem } => {
                *self.problems.entry(problem.clone()).or_default() += 1;
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        let add = |counts: &mut Counts, other: Counts| {
            counts.acknowledged += other.acknowledged;
            counts.refused += other.refused;
            counts.unknown += other.unknown;
        };
        add(&mut self.requests, other.requests);
        add(&mut self.records, other.records);
        self.bytes += other.bytes;
        for (problem, times) in other.problems {
            *self.problems.entry(problem).or_default() += times;
        }
        self.history.extend(other.history);
        self.next_sequence = self.next_sequence.max(other.next_sequence);
        self.latencies.add(other.latencies).expect("both histograms have the same bounds");
    }
}
