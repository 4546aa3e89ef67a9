//! What the lanes of a destination count and measure of what they send, since the agent started.

use std::sync::{Mutex, PoisonError};

use plugin_api::{
    operation::{Batch, Operation},
    verdict::{ReasonCode, Scope, Verdict, WriteError},
};

use crate::{
    dead_letter::{Fate, Letter},
    log::interface::Totals,
    runtime::{Counter, Histogram},
};

/// See the module's text.
#[derive(Debug)]
pub struct Meters {
    /// Seconds from accept until the destination has taken an operation; of every operation that it took.
    pub accept_delivered: Histogram,
    /// Operations of each request that was sent.
    pub batch_operations: Histogram,
    /// Bytes of each request that was sent, before compression.
    pub batch_bytes: Histogram,
    /// The totals when they were last counted.
    seen: Mutex<Option<Totals>>,
    written: Counter,
    superseded: Counter,
    skipped: Counter,
    dead_lettered: Counter,
    gap: Counter,
    retries: [Counter; Cause::ALL.len()],
    letters: [Counter; ReasonCode::ALL.len()],
}

/// Why something is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The destination asked for less.
    Throttled,
    /// It could not be reached, or said that it cannot serve.
    Unavailable,
    /// It was sent, and nobody knows what became of it.
    Unknown,
    /// It refuses everything, or an index.
    Misconfigured,
    /// The request was too large.
    TooLarge,
    /// The request was refused for one of its operations.
    BatchRejected,
}

/// From an index at hand to an outage of an hour.
const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
const OPERATIONS: [f64; 10] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4];
/// By four, from 1 KiB to 64 MiB.
const BYTES: [f64; 9] =
    [1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0];

impl Default for Meters {
    fn default() -> Self {
        Self {
            accept_delivered: Histogram::new(&SECONDS),
            batch_operations: Histogram::new(&OPERATIONS),
            batch_bytes: Histogram::new(&BYTES),
            seen: Mutex::default(),
            written: Counter::default(),
            superseded: Counter::default(),
            skipped: Counter::default(),
            dead_lettered: Counter::default(),
            gap: Counter::default(),
            retries: Default::default(),
            letters: Default::default(),
        }
    }
}

impl Meters {
    /// Records by what became of them.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        let Self { written, superseded, skipped, dead_lettered, gap, .. } = self;
        [
            ("written", written.get()),
            ("superseded", superseded.get()),
            ("skipped", skipped.get()),
            ("dead_lettered", dead_lettered.get()),
            ("gap", gap.get()),
        ]
    }

    /// Requests after which something had to be sent again, by why.
    pub fn retries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cause::ALL.into_iter().zip(&self.retries).map(|(cause, count)| (cause.as_str(), count.get()))
    }

    /// Dead letters that were filed, by their reason.
    pub fn letters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ReasonCode::ALL.into_iter().zip(&self.letters).map(|(reason, count)| (reason.as_str(), count.get()))
    }

    /// The totals are so now. Those of the first lane are what was settled before the agent started; what is added between
    /// two lanes is what an operator gave up, and where they begin anew nothing is counted twice.
    pub(super) fn settled(&self, now: Totals) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.replace(now).unwrap_or(now);
        drop(seen);
        self.written.add(now.written.saturating_sub(before.written));
        self.superseded.add(now.superseded.saturating_sub(before.superseded));
        self.skipped.add(now.skipped.saturating_sub(before.skipped));
        self.dead_lettered.add(now.dead_lettered.saturating_sub(before.dead_lettered));
        self.gap.add(now.gap.saturating_sub(before.gap));
    }

    pub(super) fn sent(&self, batch: &Batch) {
        self.batch_operations.observe(batch.operations().len() as f64);
        self.batch_bytes.observe(batch.bytes() as f64);
    }

    pub(super) fn sent_again(&self, cause: Cause) {
        self.retries[cause as usize].add(1);
    }

    pub(super) fn filed(&self, letters: &[Letter], fates: &[Fate]) {
        for (letter, _) in letters.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Kept) {
            if let Some(at) = ReasonCode::ALL.iter().position(|code| *code == letter.reason.code) {
                self.letters[at].add(1);
            }
        }
    }

    /// The destination took these at a time of the clock. What was accepted together is observed together.
    pub(super) fn delivered<'a>(&self, operations: impl Iterator<Item = &'a Operation>, now: u64) {
        let mut run: Option<(u64, u64)> = None;
        let seconds = |accepted_at: u64| now.saturating_sub(accepted_at) as f64 / 1e6;
        for accepted_at in operations.map(|operation| operation.source.accepted_at.0) {
            match &mut run {
                Some((of, count)) if *of == accepted_at => *count += 1,
                _ => {
                    if let Some((of, count)) = run.replace((accepted_at, 1)) {
                        self.accept_delivered.observe_many(seconds(of), count);
                    }
                }
            }
        }
        if let Some((of, count)) = run {
            self.accept_delivered.observe_many(seconds(of), count);
        }
    }
}

impl Cause {
    const ALL: [Self; 6] = [
        Self::Throttled,
        Self::Unavailable,
        Self::Unknown,
        Self::Misconfigured,
        Self::TooLarge,
        Self::BatchRejected,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Misconfigured => "misconfigured",
            Self::TooLarge => "too_large",
            Self::BatchRejected => "batch_rejected",
        }
    }

    /// Why an answer has something sent again. After an error nothing may be left to send: whoever settles it knows.
    pub(super) fn of(answer: &Result<Vec<Verdict>, WriteError>) -> Option<Self> {
        match answer {
            Ok(verdicts) => verdicts.iter().find_map(|verdict| match verdict {
                Verdict::Retry(reason) => Some(match reason.code {
                    ReasonCode::Throttled => Self::Throttled,
                    ReasonCode::Unavailable => Self::Unavailable,
                    _ => Self::Unknown,
                }),
                Verdict::Written | Verdict::Superseded | Verdict::Reject(_) => None,
            }),
            Err(WriteError::Throttled { .. }) => Some(Self::Throttled),
            Err(WriteError::Unavailable { .. }) => Some(Self::Unavailable),
            Err(WriteError::Unknown { .. }) => Some(Self::Unknown),
            Err(WriteError::Misconfigured { scope: Scope::Destination | Scope::Index(_), .. }) => {
                Some(Self::Misconfigured)
            }
            Err(WriteError::TooLarge { .. }) => Some(Self::TooLarge),
            Err(WriteError::BatchRejected { .. }) => Some(Self::BatchRejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was settled before the start does not count, what is missed between two lanes does, and a cursor that is set
    /// back takes nothing away.
    #[test]
    fn totals_count_since_the_start() {
        let meters = Meters::default();
        let totals = |written, gap| Totals { written, gap, ..Totals::default() };
        for now in [totals(100, 1), totals(130, 1), totals(130, 9), totals(0, 0), totals(5, 0)] {
            meters.settled(now);
        }
        assert_eq!(meters.outcomes()[0], ("written", 35));
        assert_eq!(meters.outcomes()[4], ("gap", 8));
    }

    /// Each cause and reason has a name of its own: two would be one series.
    #[test]
    fn names_differ() {
        let meters = Meters::default();
        let mut names: Vec<_> = meters.retries().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
        meters.sent_again(Cause::TooLarge);
        let there: Vec<_> = meters.retries().filter(|(_, count)| *count > 0).collect();
        assert_eq!(there, [("too_large", 1)]);
    }
}
