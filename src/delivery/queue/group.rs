//! Operations that go out in one request, and what became of them so far.

use plugin_api::operation::{Key, Operation};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::suspicion::FAILURES_BEFORE_OTHERS;
use crate::delivery::backoff::Backoff;

/// Operations that go out in one request, in this order.
#[derive(Debug)]
pub(in crate::delivery) struct Group {
    pub(in crate::delivery) operations: Vec<Operation>,
    /// Requests that carried these operations, with others or alone, and failed for what they held or for unknown
    /// reasons; an outage does not count.
    pub(in crate::delivery) attempts: u32,
    /// How often it was to be sent less or later, in a row.
    pub(super) delays: u32,
    /// It is not sent again before this moment.
    pub(super) due: Instant,
    /// Requests of exactly this group whose outcome was unknown.
    pub(super) failures: u32,
    /// Those of them, while it was a single operation, that had others' success since the one before.
    pub(super) judged: u32,
    /// Others' successes when it was last tried.
    pub(super) mark: u64,
}

impl Group {
    pub(super) fn new(operations: Vec<Operation>, attempts: u32, mark: u64, due: Instant) -> Self {
        Self { operations, attempts, delays: 0, due, failures: 0, judged: 0, mark }
    }

    /// Whether it has been put back before.
    pub(in crate::delivery) fn was_delayed(&self) -> bool {
        self.delays > 0
    }

    /// Lets it wait for longer each time.
    pub(super) fn delay(&mut self, backoff: Backoff, now: Instant) {
        self.delays = self.delays.saturating_add(1);
        self.due = now + backoff.delay(self.delays, None);
    }

    /// Two groups that share no key; the second one is empty if there is only one key.
    pub(super) fn halves(self, mark: u64, now: Instant) -> (Self, Self) {
        let mut sides: FxHashMap<Key, bool> = FxHashMap::default();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for operation in self.operations {
            // With two keys or more neither side stays empty.
            let in_first = *sides.entry(operation.key.clone()).or_insert(first.len() <= second.len());
            if in_first { first.push(operation) } else { second.push(operation) }
        }
        // A half is under suspicion already: its next failure is judged by its sibling's success.
        let failures = FAILURES_BEFORE_OTHERS - 1;
        let half = |operations| Self { failures, ..Self::new(operations, self.attempts, mark, now) };
        (half(first), half(second))
    }

    #[cfg(test)]
    pub(super) fn describe(&self) -> String {
        let offsets: Vec<_> = self.operations.iter().map(|o| o.source.position.offset).collect();
        let Self { failures, judged, attempts, mark, .. } = self;
        format!("{offsets:?} failures {failures} judged {judged} attempts {attempts} mark {mark}")
    }
}
