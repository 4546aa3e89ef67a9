//! Whether a group fails for what it holds.
//!
//! A group that keeps failing with an unknown outcome may hold a poison record, or the destination may be down. Only
//! others' success tells: so such a group lets operations that are disjoint from it go first, and only failures with
//! successes of others in between count against it.

use std::sync::Arc;

use plugin_api::operation::Operation;
use tokio::time::Instant;

use super::{BatchBounds, Group, Queue};

/// What follows from a request whose outcome is unknown.
#[derive(Debug)]
pub(in crate::delivery) enum Suspicion {
    /// It will be sent again.
    Resend,
    /// It alone failed `attempts_max` times while others succeeded; with the group's attempts.
    Poison(Operation, u32),
}

/// A group that failed so often lets others go first.
pub(super) const FAILURES_BEFORE_OTHERS: u32 = 2;
/// With so many groups of several operations in doubt, others are tried one operation at a time: should the destination
/// be down after all, little is taken apart in vain.
const GROUPS_IN_DOUBT_MAX: usize = 3;
/// Successes of so many indexes are remembered; without them a suspect is judged later.
const INDEXES_MAX: usize = 10_000;

impl Queue {
    /// A request succeeded that carried these indexes.
    pub(in crate::delivery) fn succeeded<'a>(&mut self, indexes: impl Iterator<Item = &'a Arc<str>>) {
        self.successes_total += 1;
        if self.successes.len() >= INDEXES_MAX {
            self.successes.clear();
        }
        let mut seen: Option<&Arc<str>> = None;
        for index in indexes {
            if seen != Some(index) {
                seen = Some(index);
                self.successes.insert(index.clone(), self.successes_total);
            }
        }
    }

    /// The group was sent and its outcome is unknown (a time-out, a cut connection, a 500), or it was refused though
    /// others are not.
    pub(in crate::delivery) fn suspect(
        &mut self,
        mut group: Group,
        attempts_max: u32,
        now: Instant,
    ) -> Suspicion {
        let others = self.others_succeeded(&group);
        group.failures += 1;
        group.mark = self.successes_total;
        group.delay(self.backoff, now);
        if group.operations.len() == 1 {
            group.judged += u32::from(others);
            if group.judged >= attempts_max
                && let Some(operation) = group.operations.pop()
            {
                return Suspicion::Poison(operation, group.attempts);
            }
            self.groups.push_back(group);
        } else if others || (group.failures > FAILURES_BEFORE_OTHERS && !self.has_others()) {
            self.split(group, now);
        } else {
            self.groups.push_back(group);
        }
        Suspicion::Resend
    }

    /// Some operations of a request failed for unknown reasons; the others were answered, and succeeded if so told.
    pub(in crate::delivery) fn suspect_some(
        &mut self,
        some: Group,
        attempts_max: u32,
        others_succeeded: bool,
        now: Instant,
    ) -> Suspicion {
        // The success of the others was counted just now.
        let mark = self.successes_total - u64::from(others_succeeded);
        self.suspect(Group::new(some.operations, some.attempts, mark, now), attempts_max, now)
    }

    /// Whether others succeeded since the group was last tried: of its own index, where any wait.
    pub(in crate::delivery) fn others_succeeded(&self, group: &Group) -> bool {
        let Some(first) = group.operations.first() else { return false };
        if self.successes_total == group.mark {
            return false;
        }
        let index = &first.key.index;
        let same_index = self.successes.get(index).is_some_and(|success| *success > group.mark);
        same_index || !self.has_free(Some(index))
    }

    /// Whether only groups are left that wait for others' success, and what waits is of their keys: reading on may
    /// bring such others.
    pub(in crate::delivery) fn wants_others(&self) -> bool {
        !self.groups.is_empty()
            && self.groups.iter().all(|group| self.waits_for_others(group))
            && !self.has_free(None)
    }

    pub(super) fn waits_for_others(&self, group: &Group) -> bool {
        group.failures >= FAILURES_BEFORE_OTHERS && !self.others_succeeded(group)
    }

    /// Takes what is ready, those first that tell most about the groups in doubt.
    pub(super) fn take_others(&mut self, bounds: BatchBounds, now: Instant) -> Vec<Operation> {
        let in_doubt: Vec<&Group> =
            self.groups.iter().filter(|group| group.failures >= FAILURES_BEFORE_OTHERS).collect();
        let Some(first) = in_doubt.first().and_then(|group| group.operations.first()) else {
            return self.take_ready(bounds, None, now);
        };
        let several = in_doubt.iter().filter(|group| group.operations.len() > 1).count();
        let operations_max = if several < GROUPS_IN_DOUBT_MAX { bounds.operations_max } else { 1 };
        let index = first.key.index.clone();
        let only = self.has_free(Some(&index)).then_some(&*index);
        self.take_ready(BatchBounds { operations_max, ..bounds }, only, now)
    }

    /// Whether anything could succeed that would tell a group's failure from an outage.
    fn has_others(&self) -> bool {
        self.groups.iter().any(|group| !self.waits_for_others(group)) || self.has_free(None)
    }

    /// Whether anything is ready whose key is not busy; of this index, if one is named.
    fn has_free(&self, index: Option<&Arc<str>>) -> bool {
        let free = |operation: &Operation| !self.busy.contains_key(&operation.key);
        let wanted = |operation: &&Operation| index.is_none_or(|index| operation.key.index == *index);
        self.ready.iter().filter(wanted).any(free)
    }
}
