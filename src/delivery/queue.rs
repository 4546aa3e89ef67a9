//! The operations of a lane that are not settled, and which of them the next request carries.
//!
//! What has not been sent is *ready*, in log order. What is in flight, or was sent and must be sent again as a *group*,
//! makes its keys *busy*: whatever else comes for a busy key waits behind it, in log order. Invariants: a key is in one
//! request or group at most, and what waits behind it is ready only once that is done. Therefore requests and groups may
//! go and end in any order, and each key's operations still go out one after the other.
//!
//! Where the destination coalesces, a save or delete takes the place of its key's operations before it in the same
//! request; these are kept until the verdict, and sent after all if it is rejected.

mod forming;
mod group;
mod suspicion;

use std::{collections::VecDeque, sync::Arc};

use plugin_api::{
    identity::Version,
    operation::{Key, Operation},
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::backoff::Backoff;

pub(super) use forming::BatchBounds;
pub(super) use group::Group;
pub(super) use suspicion::Suspicion;

/// What may go into the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What was sent before and is due.
    Groups,
    /// The same, else what is ready.
    Anything,
    /// The same, else whatever is due: nothing is in flight that could tell whether it should go.
    AnythingAtAll,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Queue {
    coalesces: bool,
    /// Whether the last request replaced enough to read further ahead for it.
    coalescing_pays: bool,
    backoff: Backoff,
    ready: VecDeque<Operation>,
    ready_bytes: usize,
    /// Since when something has been ready that no request took.
    ready_since: Option<Instant>,
    busy: FxHashMap<Key, Busy>,
    groups: VecDeque<Group>,
    /// What an operation took the place of, in log order.
    replaced: FxHashMap<Id, Vec<Operation>>,
    /// Counts the requests that were formed.
    requests: u64,
    /// The last successful request of each index.
    successes: FxHashMap<Arc<str>, u64>,
    /// Counts the requests that succeeded.
    successes_total: u64,
}

/// What makes a key busy.
#[derive(Debug)]
struct Busy {
    /// The request that took it first.
    request: u64,
    /// Its operations that were taken and are not settled.
    taken: usize,
    /// Where the newest of them lies in its request, as long as that is formed.
    newest: usize,
    /// What came later, in log order.
    behind: VecDeque<Operation>,
}

/// Names an operation, whichever log it is from: its record's version and its number there.
type Id = (Version, u32);

fn id(operation: &Operation) -> Id {
    (operation.version, operation.source.number)
}

impl Queue {
    pub(super) fn new(coalesces: bool, backoff: Backoff) -> Self {
        Self {
            coalesces,
            coalescing_pays: false,
            backoff,
            ready: VecDeque::new(),
            ready_bytes: 0,
            ready_since: None,
            busy: FxHashMap::default(),
            groups: VecDeque::new(),
            replaced: FxHashMap::default(),
            requests: 0,
            successes: FxHashMap::default(),
            successes_total: 0,
        }
    }

    /// Adds an operation that is newer than all of its key before it.
    pub(super) fn push(&mut self, operation: Operation, now: Instant) {
        self.ready_since.get_or_insert(now);
        self.ready_bytes += operation.size();
        self.ready.push_back(operation);
    }

    /// Whether nothing is ready and nothing is to be sent again.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.groups.is_empty()
    }

    /// The keys of what is ready.
    pub(super) fn ready_keys(&self) -> impl Iterator<Item = &Key> {
        self.ready.iter().map(|operation| &operation.key)
    }

    /// Whether operations of a key are in flight or are to be sent again, and those that are ready wait for them.
    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.busy.contains_key(key)
    }

    /// Whether so many full batches are ready.
    pub(super) fn fills(&self, bounds: BatchBounds, batches: usize) -> bool {
        self.ready.len() >= bounds.operations_max.saturating_mul(batches)
            || self.ready_bytes >= bounds.bytes_max.saturating_mul(batches)
    }

    /// Whether later operations take the place of many earlier ones: the more are ready, the more do.
    pub(super) fn coalescing_pays(&self) -> bool {
        self.coalescing_pays
    }

    /// Since when something has been ready that no request took.
    pub(super) fn ready_since(&self) -> Option<Instant> {
        self.ready_since
    }

    /// When the next group may be sent again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.groups.iter().map(|group| group.due).min()
    }

    /// The index of the oldest operation that must be sent again.
    pub(super) fn stuck_index(&self) -> Option<&Arc<str>> {
        let operations = self.groups.iter().filter_map(|group| group.operations.first());
        operations.min_by_key(|operation| id(operation)).map(|operation| &operation.key.index)
    }

    /// What the next request carries.
    pub(super) fn take(&mut self, bounds: BatchBounds, wanted: Wanted, now: Instant) -> Option<Group> {
        let sendable = |group: &Group| group.due <= now && !self.waits_for_others(group);
        if let Some(sendable) = self.groups.iter().position(sendable) {
            return self.groups.remove(sendable);
        }
        if wanted == Wanted::Groups {
            return None;
        }
        let operations = self.take_others(bounds, now);
        if !operations.is_empty() {
            return Some(Group::new(operations, 0, self.successes_total, now));
        }
        let due = self.groups.iter().position(|group| group.due <= now);
        due.filter(|_| wanted == Wanted::AnythingAtAll).and_then(|due| self.groups.remove(due))
    }

    /// An operation that was taken was applied, or something newer was; returns those that it took the place of.
    pub(super) fn settled(&mut self, operation: &Operation, now: Instant) -> Vec<Operation> {
        let replaced = self.take_replaced(operation);
        self.release(&operation.key, now);
        replaced
    }

    /// An operation that was taken will never be applied; returns those that it took the place of. They count as taken
    /// now, and must be sent again, with whatever came after them in the request.
    pub(super) fn rejected(&mut self, operation: &Operation, now: Instant) -> Vec<Operation> {
        let replaced = self.take_replaced(operation);
        if let Some(busy) = self.busy.get_mut(&operation.key) {
            busy.taken += replaced.len();
        }
        self.release(&operation.key, now);
        replaced
    }

    /// Sends these operations again, before anything newer of their keys.
    pub(super) fn resend(&mut self, operations: Vec<Operation>, attempts: u32, due: Instant) {
        if !operations.is_empty() {
            self.groups.push_front(Group::new(operations, attempts, self.successes_total, due));
        }
    }

    /// The same after a delay.
    pub(super) fn resend_later(&mut self, operations: Vec<Operation>, attempts: u32, now: Instant) {
        if !operations.is_empty() {
            self.put_back(Group::new(operations, attempts, self.successes_total, now), now);
        }
    }

    /// Sends a group again after a delay, as it was, since its failure says nothing about what it holds.
    pub(super) fn put_back(&mut self, mut group: Group, now: Instant) {
        group.delay(self.backoff, now);
        self.groups.push_front(group);
    }

    /// Sends a group again in two requests, so that what fails in it is found. The halves share no key; of a group with
    /// a single key the first operation goes alone and the others wait behind it.
    pub(super) fn split(&mut self, group: Group, now: Instant) {
        let (mut first, second) = group.halves(self.successes_total, now);
        if second.operations.is_empty() {
            let later = first.operations.split_off(1);
            if let Some(busy) = first.operations.first().and_then(|first| self.busy.get_mut(&first.key)) {
                busy.taken -= later.len();
                later.into_iter().rev().for_each(|operation| busy.behind.push_front(operation));
            }
        } else {
            self.groups.push_front(second);
        }
        self.groups.push_front(first);
    }

    fn take_replaced(&mut self, operation: &Operation) -> Vec<Operation> {
        if self.replaced.is_empty() {
            return Vec::new();
        }
        self.replaced.remove(&id(operation)).unwrap_or_default()
    }

    /// One operation of a key has come to its end. With the last one, what waits behind them is ready.
    fn release(&mut self, key: &Key, now: Instant) {
        // Nearly always it is the only one.
        let Some(mut busy) = self.busy.remove(key) else {
            debug_assert!(false, "what was taken is busy until it is settled");
            return;
        };
        busy.taken -= 1;
        if busy.taken > 0 {
            self.busy.insert(key.clone(), busy);
            return;
        }
        if !busy.behind.is_empty() {
            self.ready_since.get_or_insert(now);
        }
        // They are older than most of what is ready.
        busy.behind.into_iter().rev().for_each(|operation| self.make_first(operation));
    }

    fn make_first(&mut self, operation: Operation) {
        self.ready_bytes += operation.size();
        self.ready.push_front(operation);
    }
}

#[cfg(test)]
impl Queue {
    /// The queue in a few words, for a test that fails.
    pub(super) fn describe(&self) -> String {
        let groups: Vec<_> = self.groups.iter().map(Group::describe).collect();
        let (ready, busy) = (self.ready.len(), self.busy.len());
        format!("{ready} ready, {busy} busy keys, {} successes, groups {groups:#?}", self.successes_total)
    }
}
