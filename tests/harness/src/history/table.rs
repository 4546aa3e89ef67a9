//! Brings together, key by key, what was sent and what was applied, and tells which delete an applied delete is.
//!
//! A delete carries no sequence number. Where the destination keeps the request id, that decides; else the neighbours
//! do: the newest delete that is older than what was applied next. This needs at most one delete between two other
//! operations of a key, which the load generator sees to.

use std::{collections::BTreeMap, sync::Arc};

use rustc_hash::FxHashMap;

use crate::{
    contract::Action,
    history::model::{Applied, Destination, Event, Outcome, Request},
};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) index: Arc<str>,
    pub(crate) object_id: String,
}

/// Everything about one key.
#[derive(Debug, Default)]
pub(crate) struct KeyHistory<'a> {
    /// What producers sent, by sequence number.
    pub(crate) sent: BTreeMap<u64, Operation>,
    /// What the destination applied, in order.
    pub(crate) applied: Vec<Occurrence<'a>>,
    /// What was dead-lettered.
    pub(crate) dead_letters: Vec<Occurrence<'a>>,
}

/// A sent operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    /// The number of its request.
    pub(crate) request: usize,
    pub(crate) action: Action,
}

/// One application of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence<'a> {
    pub(crate) applied: &'a Applied,
    /// `None` if nobody sent such an operation.
    pub(crate) sequence: Option<u64>,
    pub(crate) batch: Batch,
}

/// The request to the destination that applied an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) number: usize,
    /// How often the agent had been restarted.
    pub(crate) run: usize,
    pub(crate) answered: bool,
}

impl Batch {
    /// Whether what this batch applied may be applied again by that one.
    pub(crate) fn may_repeat_in(self, other: Self) -> bool {
        self.run != other.run || (!self.answered && self.number != other.number)
    }
}

/// The table for one destination; its order is that of the keys, so that findings are reproducible.
pub(crate) fn build<'a>(requests: &[Request], destination: &'a Destination) -> BTreeMap<Key, KeyHistory<'a>> {
    let mut keys: FxHashMap<Key, KeyHistory<'a>> = FxHashMap::default();
    let mut ids: FxHashMap<&str, usize> = FxHashMap::default();
    for (number, request) in requests.iter().enumerate() {
        if let Outcome::Acknowledged { request_id } = &request.outcome {
            ids.insert(request_id, number);
        }
        for sent in &request.operations {
            let key = Key { index: Arc::clone(&request.index), object_id: sent.object_id.clone() };
            let operation = Operation { request: number, action: request.action };
            keys.entry(key).or_default().sent.insert(sent.sequence, operation);
        }
    }
    let mut batch = Batch { number: 0, run: 0, answered: true };
    for event in &destination.events {
        match event {
            Event::Restart => batch.run += 1,
            Event::Batch { operations, answered } => {
                batch = Batch { number: batch.number + 1, answered: *answered, ..batch };
                for applied in operations {
                    let occurrence = Occurrence { applied, sequence: applied.sequence, batch };
                    keys.entry(key_of(applied)).or_default().applied.push(occurrence);
                }
            }
        }
    }
    for applied in &destination.dead_letters {
        let occurrence = Occurrence { applied, sequence: applied.sequence, batch };
        keys.entry(key_of(applied)).or_default().dead_letters.push(occurrence);
    }
    for history in keys.values_mut() {
        history.resolve(requests, &ids);
    }
    keys.into_iter().collect()
}

fn key_of(applied: &Applied) -> Key {
    Key { index: Arc::clone(&applied.index), object_id: applied.object_id.clone() }
}

impl KeyHistory<'_> {
    /// Gives every applied operation its sequence number, and takes it from those that nobody sent.
    fn resolve(&mut self, requests: &[Request], ids: &FxHashMap<&str, usize>) {
        for at in 0..self.applied.len() {
            let Occurrence { applied, batch, .. } = self.applied[at];
            self.applied[at].sequence = match applied.sequence {
                Some(sequence) => self.sent.contains_key(&sequence).then_some(sequence),
                None => {
                    let next =
                        self.applied[at + 1..].iter().find_map(|occurrence| occurrence.applied.sequence);
                    let least = self.least(at, batch);
                    self.delete_between(least, next, &self.candidates(applied, requests, ids))
                }
            };
        }
        for at in 0..self.dead_letters.len() {
            let applied = self.dead_letters[at].applied;
            self.dead_letters[at].sequence = match applied.sequence {
                Some(sequence) => self.sent.contains_key(&sequence).then_some(sequence),
                None => self.candidates(applied, requests, ids).last().copied(),
            };
        }
    }

    /// What the operation at this place cannot be older than: the one before it, or the first of the key that a request
    /// without an answer carried, since that may come again; after a restart anything may.
    fn least(&self, at: usize, batch: Batch) -> Option<u64> {
        let before = &self.applied[..at];
        let previous = before.last().filter(|previous| previous.batch.run == batch.run)?;
        if !previous.batch.may_repeat_in(batch) {
            return previous.sequence;
        }
        let carried = before.iter().rev().take_while(|one| one.batch.number == previous.batch.number);
        carried.last().and_then(|first| first.sequence)
    }

    /// Deletes that this one may be, ascending.
    fn candidates(&self, applied: &Applied, requests: &[Request], ids: &FxHashMap<&str, usize>) -> Vec<u64> {
        let deletes = self.sent.iter().filter(|(_, operation)| operation.action == Action::Delete);
        let request = applied.request_id.as_deref().map(|id| ids.get(id).copied());
        let possible = deletes.filter(|(_, operation)| match request {
            None => true,
            Some(Some(request)) => operation.request == request,
            // An id that no producer was told belongs to a request with an unknown outcome.
            Some(None) => matches!(requests[operation.request].outcome, Outcome::Unknown { .. }),
        });
        possible.map(|(sequence, _)| *sequence).collect()
    }

    fn delete_between(&self, least: Option<u64>, next: Option<u64>, candidates: &[u64]) -> Option<u64> {
        let newest_below = |bound: u64| candidates.iter().rfind(|candidate| **candidate < bound);
        let found = match (least, next) {
            (_, None) => candidates.last(),
            // What comes next goes back, so it tells nothing about this one.
            (Some(least), Some(next)) if next <= least => {
                candidates.iter().find(|candidate| **candidate >= least)
            }
            (_, Some(next)) => newest_below(next),
        };
        // None fits: any, and the checker will see that it is out of order.
        found.or(candidates.last()).copied()
    }
}
