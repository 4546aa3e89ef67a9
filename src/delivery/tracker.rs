//! Which records of a lane are settled, and therefore how far its cursor may move.
//!
//! Every record of the log enters once, in order. The watermark passes a record only when all of its operations are
//! settled; records beyond it that are settled already are kept as ranges, so that a restart does not send them again.
//! At every moment accepted = settled + pending, with nothing counted twice.

use std::collections::VecDeque;

use plugin_api::identity::{Position, Timestamp};

use crate::log::interface::{Progress, Totals};

/// What became of one operation, and of a record: the greatest of its operations' outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Skipped,
    Superseded,
    Written,
    /// Rejected, and not kept as a letter.
    Gap,
    DeadLettered,
}

/// The records between the watermark and the newest that entered.
#[derive(Debug)]
pub(super) struct Tracker {
    next: Position,
    pending: VecDeque<Pending>,
    /// Ranges that were settled before a restart and have not been entered yet.
    completed: VecDeque<(u64, u64)>,
    totals: Totals,
    /// The blocks that were read and are not settled whole.
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// A block that keeps its bytes.
#[derive(Clone, Copy, Debug)]
struct Held {
    end: Position,
    bytes: usize,
    /// When its first record was.
    accepted_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    outstanding: u32,
    outcome: Outcome,
}

impl Tracker {
    pub(super) fn new(progress: &Progress) -> Self {
        Self {
            next: progress.next,
            pending: VecDeque::new(),
            completed: progress.completed.iter().copied().collect(),
            totals: progress.totals,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// A block was read whose records enter next, up to `end`, or a transform has made so many bytes of its records. As a single operation keeps all of its block's bytes in
    /// memory, they count until the watermark has passed the block.
    pub(super) fn hold(&mut self, end: Position, bytes: usize, accepted_at: Timestamp) {
        if end > self.next {
            self.held.push_back(Held { end, bytes, accepted_at });
            self.held_bytes += bytes;
        }
    }

    /// When the oldest block that is not settled whole was accepted.
    pub(super) fn oldest_held(&self) -> Option<Timestamp> {
        self.held.iter().map(|held| held.accepted_at).min()
    }

    /// Bytes of the blocks that are not settled whole.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes the next record of the log. False if it was settled before a restart: its operations must not be sent.
    pub(super) fn enter(&mut self, position: Position, operations: u32) -> bool {
        debug_assert_eq!(position, self.entered(), "the feed yields every record once, in order");
        let settled_before = self.take_completed(position.offset);
        let outstanding = if settled_before { 0 } else { operations };
        self.pending.push_back(Pending { outstanding, outcome: Outcome::Skipped });
        if outstanding == 0 {
            if !settled_before {
                self.count(Outcome::Skipped);
            }
            self.advance();
        }
        !settled_before
    }

    /// A record that entered as one operation, since it was not known what it becomes, becomes so many. False if it was
    /// settled before a restart.
    pub(super) fn expand(&mut self, position: Position, operations: u32) -> bool {
        let index = position.offset.checked_sub(self.next.offset).map(|index| index as usize);
        let record =
            index.and_then(|index| self.pending.get_mut(index)).filter(|record| record.outstanding > 0);
        let Some(record) = record else { return false };
        if operations == 0 {
            self.settle(position, Outcome::Skipped);
        } else {
            record.outstanding = operations;
        }
        true
    }

    /// One operation of the record at this position has come to its end.
    pub(super) fn settle(&mut self, position: Position, outcome: Outcome) {
        let index = (position.offset - self.next.offset) as usize;
        let record = &mut self.pending[index];
        debug_assert!(record.outstanding > 0, "an operation settles once");
        record.outstanding -= 1;
        record.outcome = record.outcome.max(outcome);
        if record.outstanding == 0 {
            let outcome = record.outcome;
            self.count(outcome);
            self.advance();
        }
    }

    /// Records up to `end` cannot be read, and this is what becomes of them. Nothing may be pending.
    pub(super) fn pass_over(&mut self, end: Position, outcome: Outcome) {
        debug_assert!(self.pending.is_empty(), "what was entered can still be delivered");
        *self.counter(outcome) += self.missing_before(end);
        while let Some((first, after)) = self.completed.pop_front() {
            if after > end.offset {
                // What was settled beyond is still to be passed over.
                self.completed.push_front((first.max(end.offset), after));
                break;
            }
        }
        self.next = end;
    }

    /// Of the records up to `end` that have not entered, those that were not settled before a restart.
    pub(super) fn missing_before(&self, end: Position) -> u64 {
        let settled = |(first, after): &(u64, u64)| after.min(&end.offset).saturating_sub(*first);
        let settled: u64 = self.completed.iter().map(settled).sum();
        end.offset - self.entered().offset - settled
    }

    /// The position of the next record to enter.
    pub(super) fn entered(&self) -> Position {
        self.next.plus(self.pending.len() as u64)
    }

    /// Whether each record from this offset to before that one is settled.
    pub(super) fn is_settled(&self, first: u64, end: u64) -> bool {
        let pending = |offset: u64| self.pending.get((offset - self.next.offset) as usize);
        (first.max(self.next.offset)..end)
            .all(|offset| pending(offset).is_some_and(|record| record.outstanding == 0))
    }

    /// Every record before this one is settled.
    pub(super) fn watermark(&self) -> Position {
        self.next
    }

    /// Records that entered and are not settled, or lie behind one that is not.
    pub(super) fn reach(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// What a cursor should hold now, but for the confirmations.
    pub(super) fn progress(&self) -> Progress {
        let mut completed = Vec::new();
        let mut open = None;
        for (offset, record) in (self.next.offset..).zip(&self.pending) {
            match (record.outstanding, open) {
                (0, None) => open = Some(offset),
                (0, Some(_)) => {}
                (_, Some(first)) => {
                    completed.push((first, offset));
                    open = None;
                }
                (_, None) => {}
            }
        }
        let mut ahead = self.completed.iter().copied();
        if let Some(first) = open {
            let entered = self.entered().offset;
            let joined = self.completed.front().filter(|(next, _)| *next == entered);
            completed.push((first, joined.map_or(entered, |(_, end)| *end)));
            if joined.is_some() {
                ahead.next();
            }
        }
        completed.extend(ahead);
        let mut next = self.next;
        // What was settled before a restart may begin right here before it has been entered again.
        if let Some((_, end)) = completed.first().copied().filter(|(first, _)| *first == next.offset) {
            next.offset = end;
            completed.remove(0);
        }
        Progress { next, completed, totals: self.totals, ..Progress::default() }
    }

    fn take_completed(&mut self, offset: u64) -> bool {
        let Some((first, end)) = self.completed.front_mut() else { return false };
        if offset < *first {
            return false;
        }
        *first += 1;
        if first == end {
            self.completed.pop_front();
        }
        true
    }

    fn advance(&mut self) {
        while self.pending.front().is_some_and(|record| record.outstanding == 0) {
            self.pending.pop_front();
            self.next = self.next.plus(1);
        }
        while let Some(held) = self.held.pop_front_if(|held| held.end <= self.next) {
            self.held_bytes -= held.bytes;
        }
    }

    fn count(&mut self, outcome: Outcome) {
        *self.counter(outcome) += 1;
    }

    fn counter(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Skipped => &mut self.totals.skipped,
            Outcome::Superseded => &mut self.totals.superseded,
            Outcome::Written => &mut self.totals.written,
            Outcome::Gap => &mut self.totals.gap,
            Outcome::DeadLettered => &mut self.totals.dead_lettered,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    fn tracker() -> Tracker {
        Tracker::new(&Progress::default())
    }

    /// G3: the watermark waits for the oldest record, and ranges settled beyond it survive a restart.
    #[test]
    fn watermark_waits_and_ranges_survive() {
        let mut tracker = tracker();
        for offset in 0..6 {
            assert!(tracker.enter(at(offset), 1));
        }
        for offset in [1, 2, 4] {
            tracker.settle(at(offset), Outcome::Written);
        }
        let progress = tracker.progress();
        assert_eq!((progress.next, &progress.completed[..]), (at(0), &[(1, 3), (4, 5)][..]));

        let mut again = Tracker::new(&progress);
        let sent: Vec<u64> = (0..6).filter(|offset| again.enter(at(*offset), 1)).collect();
        assert_eq!(sent, [0, 3, 5]);
        assert!(again.is_settled(1, 3) && !again.is_settled(0, 3) && !again.is_settled(4, 7));
        for offset in sent {
            again.settle(at(offset), Outcome::Written);
        }
        assert_eq!((again.watermark(), again.totals().written, again.totals().settled()), (at(6), 6, 6));
    }

    /// G9: one operation that is not settled holds its whole block, and every block read after it.
    #[test]
    fn blocks_count_until_they_are_passed() {
        let mut tracker = tracker();
        for (end, bytes) in [(2, 100), (4, 1000)] {
            tracker.hold(at(end), bytes, Timestamp(end));
            tracker.enter(at(end - 2), 1);
            tracker.enter(at(end - 1), 0);
        }
        tracker.settle(at(2), Outcome::Written);
        assert_eq!((tracker.held_bytes(), tracker.oldest_held()), (1100, Some(Timestamp(2))));
        tracker.settle(at(0), Outcome::Written);
        assert_eq!(tracker.held_bytes(), 0);
    }

    /// G3: a record counts once, by the gravest outcome of its operations.
    #[test]
    fn gravest_outcome_counts() {
        let mut tracker = tracker();
        tracker.enter(at(0), 3);
        tracker.settle(at(0), Outcome::Written);
        tracker.settle(at(0), Outcome::DeadLettered);
        assert_eq!(tracker.totals().settled(), 0);
        tracker.settle(at(0), Outcome::Superseded);
        assert_eq!((tracker.totals().dead_lettered, tracker.totals().settled()), (1, 1));
        for (offset, outcomes) in
            [(1, [Outcome::Gap, Outcome::Written]), (2, [Outcome::DeadLettered, Outcome::Gap])]
        {
            tracker.enter(at(offset), 2);
            outcomes.into_iter().for_each(|outcome| tracker.settle(at(offset), outcome));
        }
        let totals = tracker.totals();
        assert_eq!(
            (totals.gap, totals.dead_lettered, totals.written),
            (1, 2, 0),
            "no loss hides behind a success"
        );
    }

    /// G3: what cannot be read is counted as what it is, apart from what had been settled before.
    #[test]
    fn gap_counts_what_was_missed() {
        let progress = Progress { completed: vec![(2, 4), (8, 12)], ..Progress::default() };
        let mut tracker = Tracker::new(&progress);
        tracker.pass_over(at(10), Outcome::Gap);
        assert_eq!((tracker.totals().gap, tracker.watermark()), (10 - 2 - 2, at(10)));
        // What had been settled beyond the gap is neither sent nor counted again.
        assert_eq!((tracker.progress().next, tracker.progress().completed), (at(12), vec![]));
        assert!(!tracker.enter(at(10), 1) && !tracker.enter(at(11), 1) && tracker.enter(at(12), 1));
    }

    proptest! {
        /// G3: in whatever order records settle and however often the agent restarts, settled + pending is what
        /// entered, and no record is sent again once its settling was persisted.
        #[test]
        fn accounts_for_every_record(steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>()), 1..200)) {
            let mut tracker = tracker();
            let mut open: Vec<u64> = Vec::new();
            let mut persisted = tracker.progress();
            for (step, which) in steps {
                match step {
                    0 => {
                        let position = tracker.entered();
                        if tracker.enter(position, 1) { open.push(position.offset); }
                    }
                    1 if !open.is_empty() => {
                        let offset = open.swap_remove(which.index(open.len()));
                        tracker.settle(at(offset), Outcome::Written);
                    }
                    1 => {}
                    _ => {
                        persisted = tracker.progress();
                        tracker = Tracker::new(&persisted);
                        open.clear();
                    }
                }
                let ahead: u64 = tracker.completed.iter().map(|(first, end)| end - first).sum();
                let progress = tracker.progress();
                let beyond: u64 = progress.completed.iter().map(|(first, end)| end - first).sum();
                // As the log demands it of a cursor: ascending, not empty, apart from each other and from `next`.
                let mut after = progress.next.offset;
                for (first, end) in &progress.completed {
                    prop_assert!(after < *first && first < end, "{:?}", progress);
                    after = *end;
                }
                prop_assert_eq!(progress.next.offset + beyond, tracker.totals().settled());
                prop_assert_eq!(tracker.entered().offset + ahead, tracker.totals().settled() + open.len() as u64);
            }
            prop_assert!(persisted.totals.settled() <= tracker.totals().settled());
        }
    }
}
