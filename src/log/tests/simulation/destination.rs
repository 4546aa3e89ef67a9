//! What must be true of a destination: where its cursor may be, what its gaps say, and that every record is delivered,
//! still to come, or counted in a gap, once.

use std::collections::BTreeMap;

use super::{
    model::Requests,
    settled::settle,
    tally::{Event, Tally},
};
use crate::log::{
    interface::{BacklogLimit, Gap, GapCause, Progress, Subscription, Totals, WhenFull},
    tests::position,
};

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Destination {
    pub(super) name: &'static str,
    /// How far it may be behind in this life; `None` where it is not configured.
    pub(super) limit: Option<BacklogLimit>,
    /// Whether it asked for its cursor in this life, and was not told to ask again.
    pub(super) subscribed: bool,
    /// The cursor that was acknowledged or found last; `None` before the first one.
    acknowledged: Option<Progress>,
    /// Cursors that were asked for since, without an answer.
    in_doubt: Vec<Progress>,
    /// Where it began.
    begun: u64,
    /// Its gaps, as they were found when they were certain.
    gaps: Vec<Gap>,
    /// It was told to go on, without an answer.
    resuming: bool,
}

impl Destination {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Another life begins.
    pub(super) fn configure(&mut self, limit: Option<BacklogLimit>) {
        (self.limit, self.subscribed, self.resuming) = (limit, false, false);
    }

    /// The furthest that the cursor may be.
    pub(super) fn furthest(&self) -> u64 {
        self.candidates().map(|progress| progress.next.offset).max().unwrap_or(0)
    }

    /// Where the destination is for certain.
    pub(super) fn offset(&self) -> u64 {
        self.acknowledged.as_ref().map_or(0, |progress| progress.next.offset)
    }

    /// Whether the log has told it where it starts.
    pub(super) fn is_served(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// Whether it receives nothing until it is told to go on.
    pub(super) fn is_detached(&self) -> bool {
        self.open_gap().is_some_and(|gap| gap.cause == GapCause::BacklogFull)
    }

    /// The gap that grows.
    pub(super) fn open_gap(&self) -> Option<&Gap> {
        self.gaps.last().filter(|gap| gap.closed_at.is_none())
    }

    /// Every gap.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Every record before this one is settled or counted; `None` as long as it may be that nobody has served it.
    pub(super) fn accounted(&self) -> Option<u64> {
        let counted = self.gaps.last().map_or(0, |gap| gap.to.offset);
        (self.is_served() || !self.gaps.is_empty()).then(|| self.furthest().max(counted))
    }

    /// The cursor from which it goes on.
    pub(super) fn reached(&self) -> &Progress {
        self.candidates().next().expect("it has subscribed")
    }

    /// A cursor that is asked for.
    pub(super) fn ask(&mut self, progress: Progress) {
        self.in_doubt.push(progress);
    }

    /// The cursor that was asked for last is acknowledged.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = self.in_doubt.pop();
        self.in_doubt.clear();
    }

    /// It is told to go on.
    pub(super) fn ask_to_resume(&mut self) {
        self.resuming = true;
    }

    /// Its gaps, when they are certain: those that were closed stand for good, the last one has grown or was closed by
    /// whoever may, or there is another one; and each counts what the destination missed.
    pub(super) fn check_gaps(&mut self, found: Vec<Gap>, requests: &Requests, tally: &mut Tally) {
        if found == self.gaps {
            return;
        }
        let known = self.gaps.len();
        assert!((known..=known + 1).contains(&found.len()), "{found:?} in {self:?}");
        for (index, gap) in found.iter().enumerate() {
            match self.gaps.get(index).cloned() {
                Some(before) if before.closed_at.is_some() => {
                    assert_eq!(before, *gap, "a closed gap changes")
                }
                Some(before) if before == *gap => {}
                Some(before) => self.check_grown(&before, gap, requests, tally),
                None => self.check_opened(found[..index].last(), gap, requests, tally),
            }
        }
        self.gaps = found;
    }

    /// The cursor that a subscription found: the one that was acknowledged or one that was asked for since, behind the
    /// gap that was closed; and where there is none, the place to start.
    pub(super) fn check_found(&mut self, found: &Subscription, first: u64, tally: &mut Tally) {
        let Subscription { progress, alert, detached } = found;
        assert_eq!(*detached.borrow(), self.is_detached(), "{self:?}");
        let told = alert.as_deref().unwrap_or_default();
        if self.is_detached() {
            assert!(told.contains("is detached"), "{told}");
        } else {
            assert!(told.is_empty() || told.contains("are a gap of") && !self.gaps.is_empty(), "{told}");
        }
        if self.acknowledged.as_ref() != Some(progress) {
            let fresh = !self.is_served() && self.gaps.is_empty() && *progress == at_first(first);
            assert!(fresh || self.in_doubt.contains(progress), "{progress:?} in {self:?}");
            tally.count_many(Event::CommitInDoubtFound, u64::from(!fresh));
        }
        if !self.is_served() {
            self.begun = progress.next.offset;
        }
        self.acknowledged = Some(progress.clone());
        self.in_doubt.clear();
        self.check_totals(progress);
    }

    /// Whether opening the log must tell of it, `Some(false)` if it must not; `None` if it may.
    pub(super) fn is_told(&self, end: u64) -> Option<bool> {
        match self.limit {
            Some(_) => Some(false),
            None if self.is_served() && self.furthest() < end => Some(true),
            // The cursor of one that goes on behind a gap may not have followed yet.
            None if self.gaps.is_empty() && self.candidates().all(|one| one.next.offset == end) => {
                Some(false)
            }
            None => None,
        }
    }

    /// Every record before the cursor, and those that are settled beyond, were delivered or counted in a gap, once; and
    /// the cursor is in no gap.
    fn check_totals(&self, progress: &Progress) {
        let Totals { written, gap, .. } = progress.totals;
        let beyond: u64 = progress.completed.iter().map(|(from, to)| to - from).sum();
        assert_eq!(written + gap, progress.next.offset - self.begun + beyond, "{progress:?} in {self:?}");
        let closed = || self.gaps.iter().filter(|gap| gap.closed_at.is_some());
        assert_eq!(gap, closed().map(|gap| gap.records).sum::<u64>(), "{progress:?} in {self:?}");
        assert!(closed().all(|gap| gap.to <= progress.next), "{progress:?} in {self:?}");
    }

    fn check_opened(&mut self, last: Option<&Gap>, gap: &Gap, requests: &Requests, tally: &mut Tally) {
        let apart = last.is_none_or(|last| last.closed_at.is_some() && last.to <= gap.from);
        assert!(apart, "{gap:?} after {last:?}");
        match gap.cause {
            GapCause::BacklogFull => {
                let may_be = self.limit.is_some_and(|limit| limit.when_full == WhenFull::Detach);
                assert!(may_be && gap.from.offset < requests.end(), "{gap:?} in {self:?}");
                tally.count(Event::Detached);
            }
            GapCause::Removed => {
                assert!(self.limit.is_none(), "{gap:?} in {self:?}");
                tally.count(Event::Removed);
            }
            GapCause::Reset => panic!("{gap:?}: nobody has moved its cursor"),
        }
        let empty =
            Gap { to: gap.from, records: 0, by_index: BTreeMap::new(), closed_at: None, ..gap.clone() };
        self.check_grown(&empty, gap, requests, tally);
    }

    fn check_grown(&mut self, before: &Gap, gap: &Gap, requests: &Requests, tally: &mut Tally) {
        let same = |gap: &Gap| (gap.from, gap.cause, gap.opened_at);
        assert_eq!(same(before), same(gap));
        assert!(before.to <= gap.to, "{before:?} shrinks to {gap:?}");
        let ends = gap.to == gap.from || requests.is_bound(gap.to.offset);
        assert!(ends, "{gap:?} ends in a request");
        // While a gap is open the cursor stands still.
        self.narrow(gap, |progress| {
            let missed = requests.missed(progress, gap.to.offset);
            progress.next == gap.from && gap.records == missed.values().sum::<u64>() && gap.by_index == missed
        });
        tally.count_many(Event::GapGrown, u64::from(before.records < gap.records));
        if gap.closed_at.is_some() {
            match gap.cause {
                GapCause::BacklogFull => assert!(self.resuming, "{gap:?} is closed, nobody asked for it"),
                GapCause::Removed => assert!(self.limit.is_some(), "{gap:?} is closed, nobody is there"),
                GapCause::Reset => panic!("{gap:?}: nobody has moved its cursor"),
            }
            tally.count(Event::GapClosed);
            self.resuming = false;
            for progress in self.in_doubt.iter_mut().chain(&mut self.acknowledged) {
                *progress = after_gap(progress, gap.to.offset);
            }
        }
    }

    /// The cursor is one of those that go with the gap.
    fn narrow(&mut self, gap: &Gap, is_it: impl Fn(&Progress) -> bool) {
        let mut found: Vec<Progress> =
            self.candidates().filter(|progress| is_it(progress)).cloned().collect();
        assert!(!found.is_empty(), "no cursor goes with {gap:?}: {self:?}");
        if !self.is_served() {
            self.begun = found[0].next.offset;
        }
        self.acknowledged = Some(found.remove(0));
        self.in_doubt = found;
    }

    /// What the cursor may be, the newest first.
    fn candidates(&self) -> impl Iterator<Item = &Progress> {
        self.in_doubt.iter().rev().chain(&self.acknowledged)
    }
}

/// The cursor of a destination that starts there.
pub(super) fn at_first(offset: u64) -> Progress {
    Progress { next: position(offset), ..Progress::default() }
}

/// The cursor once a gap up to `to` is closed.
fn after_gap(progress: &Progress, to: u64) -> Progress {
    let (mut after, missed) = settle(progress, [(progress.next.offset, to)]);
    after.totals.gap += missed;
    after
}
