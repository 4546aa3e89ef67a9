//! The operations of a lane that are not settled and not in flight, and which of them the next request carries.
//!
//! What has not been sent waits in log order. What was sent and must be sent again forms *groups*. Invariants: no key
//! is in two groups, and an operation that waits while its key is in a group is not taken before that group is done.
//! Therefore groups may be sent in any order, and each key's operations still go out in log order.
//!
//! A group that keeps failing with an unknown outcome may hold a poison record, or the destination may be down. Only
//! others' success tells: so such a group lets operations that are disjoint from it go first, and only failures with
//! successes of others in between count against it.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use plugin_api::operation::{Key, Operation};
use rustc_hash::{FxBuildHasher, FxHashMap};

/// How much one request may carry; both bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchBounds {
    pub(super) operations_max: usize,
    pub(super) bytes_max: usize,
}

/// Operations that go out in one request, in this order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) operations: Vec<Operation>,
    /// Requests that carried these operations, with others or alone, and failed for what they held or for unknown
    /// reasons; an outage does not count.
    pub(super) attempts: u32,
    /// Requests of exactly this group whose outcome was unknown.
    failures: u32,
    /// Those of them, while it was a single operation, that had others' success since the one before.
    judged: u32,
    /// Others' successes when it was last tried.
    mark: u64,
}

/// What follows from a request whose outcome is unknown.
#[derive(Debug)]
pub(super) enum Suspicion {
    /// It will be sent again.
    Resend,
    /// It alone failed `attempts_max` times while others succeeded; with the group's attempts.
    Poison(Operation, u32),
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Operation>,
    waiting_bytes: usize,
    groups: VecDeque<Group>,
    /// Successful requests by index, counted while a group exists.
    successes: FxHashMap<Arc<str>, u64>,
    successes_total: u64,
}

impl Group {
    fn new(operations: Vec<Operation>, attempts: u32, mark: u64) -> Self {
        Self { operations, attempts, failures: 0, judged: 0, mark }
    }
}

/// A group that failed so often lets others go first.
const FAILURES_BEFORE_OTHERS: u32 = 2;
/// With so many groups of several operations in doubt, others are tried one operation at a time: should the destination
/// be down after all, little is taken apart in vain.
const GROUPS_IN_DOUBT_MAX: usize = 3;

impl Queue {
    /// Adds an operation that is newer than all before it.
    pub(super) fn push(&mut self, operation: Operation) {
        self.waiting_bytes += operation.size();
        self.waiting.push_back(operation);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.groups.is_empty()
    }

    /// Whether a full batch waits already, so that reading on can wait.
    pub(super) fn fills(&self, bounds: BatchBounds) -> bool {
        self.waiting.len() >= bounds.operations_max || self.waiting_bytes >= bounds.bytes_max
    }

    /// Whether only groups are left that wait for others' success, and what waits is of their keys: reading on may
    /// bring such others.
    pub(super) fn wants_others(&self) -> bool {
        if self.groups.is_empty() || !self.groups.iter().all(|group| self.waits_for_others(group)) {
            return false;
        }
        let blocked = self.blocked(None);
        self.waiting.iter().all(|operation| blocked.contains(&operation.key))
    }

    /// What the next request carries.
    pub(super) fn take(&mut self, bounds: BatchBounds) -> Option<Group> {
        let ready = self.groups.iter().position(|group| !self.waits_for_others(group));
        if let Some(ready) = ready {
            return self.groups.remove(ready);
        }
        let in_doubt = self.groups.iter().filter(|group| group.operations.len() > 1).count();
        let operations_max = if in_doubt < GROUPS_IN_DOUBT_MAX { bounds.operations_max } else { 1 };
        let operations = self.take_waiting(BatchBounds { operations_max, ..bounds });
        if !operations.is_empty() {
            return Some(Group::new(operations, 0, self.successes_total));
        }
        self.groups.pop_front()
    }

    /// Sends these operations again, before anything newer of their keys.
    pub(super) fn resend(&mut self, operations: Vec<Operation>, attempts: u32) {
        if !operations.is_empty() {
            self.groups.push_front(Group::new(operations, attempts, self.successes_total));
        }
    }

    /// Sends a group again, as it was, since its failure says nothing about what it holds.
    pub(super) fn put_back(&mut self, group: Group) {
        self.groups.push_front(group);
    }

    /// Sends a group again in two requests, so that what fails in it is found. The halves share no key; of a group
    /// with a single key the first operation goes alone and the others wait behind it.
    pub(super) fn split(&mut self, group: Group) {
        let mark = self.successes_total;
        // A half is under suspicion already: its next failure is judged by its sibling's success.
        let failures = FAILURES_BEFORE_OTHERS - 1;
        let half = |operations| Group { failures, ..Group::new(operations, group.attempts, mark) };
        let half_length = group.operations.len() / 2;
        let mut sides: FxHashMap<Key, bool> = FxHashMap::default();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for operation in group.operations {
            let in_first = *sides.entry(operation.key.clone()).or_insert(first.len() < half_length);
            if in_first { first.push(operation) } else { second.push(operation) }
        }
        if second.is_empty() {
            let behind = first.split_off(1);
            self.waiting_bytes += behind.iter().map(Operation::size).sum::<usize>();
            behind.into_iter().rev().for_each(|operation| self.waiting.push_front(operation));
        } else {
            self.groups.push_front(half(second));
        }
        self.groups.push_front(half(first));
    }

    /// A request succeeded that carried these indexes.
    pub(super) fn succeeded<'a>(&mut self, indexes: impl Iterator<Item = &'a Arc<str>>) {
        self.successes_total += 1;
        if self.groups.is_empty() {
            self.successes.clear();
            return;
        }
        let mut seen: Option<&Arc<str>> = None;
        for index in indexes {
            if !seen.is_some_and(|seen| Arc::ptr_eq(seen, index)) {
                seen = Some(index);
                self.successes.insert(index.clone(), self.successes_total);
            }
        }
    }

    /// The group was sent and its outcome is unknown (a time-out, a cut connection, a 500).
    pub(super) fn suspect(&mut self, mut group: Group, attempts_max: u32) -> Suspicion {
        let others = self.others_succeeded(&group);
        group.failures += 1;
        group.mark = self.successes_total;
        if group.operations.len() == 1 {
            group.judged += u32::from(others);
            if group.judged >= attempts_max
                && let Some(operation) = group.operations.pop()
            {
                return Suspicion::Poison(operation, group.attempts);
            }
            self.groups.push_back(group);
        } else if others || (group.failures > FAILURES_BEFORE_OTHERS && !self.has_others(&group)) {
            self.split(group);
        } else {
            self.groups.push_back(group);
        }
        Suspicion::Resend
    }

    fn waits_for_others(&self, group: &Group) -> bool {
        group.failures >= FAILURES_BEFORE_OTHERS && !self.others_succeeded(group)
    }

    /// Whether others succeeded since the group was last tried: of its own index, where any wait.
    fn others_succeeded(&self, group: &Group) -> bool {
        let Some(first) = group.operations.first() else { return false };
        let index = &first.key.index;
        if self.successes_total == group.mark {
            return false;
        }
        let same_index = self.successes.get(index).is_some_and(|success| *success > group.mark);
        let blocked = self.blocked(Some(group));
        let waits = |o: &Operation| o.key.index == *index && !blocked.contains(&o.key);
        same_index || !self.waiting.iter().any(waits)
    }

    /// Whether anything could succeed that would tell this group's failure from an outage.
    fn has_others(&self, group: &Group) -> bool {
        let blocked = self.blocked(Some(group));
        let ready = |group: &Group| !self.waits_for_others(group);
        self.groups.iter().any(ready)
            || self.waiting.iter().any(|operation| !blocked.contains(&operation.key))
    }

    fn blocked<'a>(&'a self, also: Option<&'a Group>) -> HashSet<&'a Key, FxBuildHasher> {
        self.groups.iter().chain(also).flat_map(|group| &group.operations).map(|o| &o.key).collect()
    }

    fn take_waiting(&mut self, bounds: BatchBounds) -> Vec<Operation> {
        if self.groups.is_empty() {
            return self.take_front(bounds);
        }
        let blocked: HashSet<Key, FxBuildHasher> = self.blocked(None).into_iter().cloned().collect();
        // Others of the suspects' own index tell most, so they go first, where any wait.
        let index =
            self.groups.front().and_then(|group| group.operations.first()).map(|o| o.key.index.clone());
        let free = |o: &Operation| !blocked.contains(&o.key);
        let same = self.waiting.iter().any(|o| free(o) && Some(&o.key.index) == index.as_ref());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        let mut full = false;
        for operation in self.waiting.drain(..) {
            let wanted = free(&operation) && (!same || Some(&operation.key.index) == index.as_ref());
            let size = operation.size();
            full = full || (wanted && !fits(bounds, taken.len(), bytes, size));
            if wanted && !full {
                bytes += size;
                taken.push(operation);
            } else {
                rest.push_back(operation);
            }
        }
        self.waiting = rest;
        self.waiting_bytes -= bytes;
        taken
    }

    fn take_front(&mut self, bounds: BatchBounds) -> Vec<Operation> {
        let (mut count, mut bytes) = (0, 0);
        for operation in &self.waiting {
            let size = operation.size();
            if !fits(bounds, count, bytes, size) {
                break;
            }
            count += 1;
            bytes += size;
        }
        self.waiting_bytes -= bytes;
        self.waiting.drain(..count).collect()
    }
}

/// Whether one more operation may join; the first always may.
fn fits(bounds: BatchBounds, count: usize, bytes: usize, size: usize) -> bool {
    count == 0 || (count < bounds.operations_max && bytes + size <= bounds.bytes_max)
}

#[cfg(test)]
impl Queue {
    /// The queue in a few words, for a test that fails.
    pub(super) fn describe(&self) -> String {
        let offsets = |o: &[Operation]| o.iter().map(|o| o.source.position.offset).collect::<Vec<_>>();
        let group = |g: &Group| {
            format!(
                "{:?} failures {} attempts {} mark {}",
                offsets(&g.operations),
                g.failures,
                g.attempts,
                g.mark
            )
        };
        let groups: Vec<_> = self.groups.iter().map(group).collect();
        format!("{} waiting, {} successes, groups {groups:#?}", self.waiting.len(), self.successes_total)
    }
}
