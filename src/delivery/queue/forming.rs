//! Forming a request from what is ready.

use std::collections::{VecDeque, hash_map::Entry};

use plugin_api::operation::{Action, Operation};
use tokio::time::Instant;

use super::{Busy, Queue, id};

/// How much one request may carry; both bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct BatchBounds {
    pub(in crate::delivery) operations_max: usize,
    pub(in crate::delivery) bytes_max: usize,
}

/// A request that is being formed.
struct Forming {
    bounds: BatchBounds,
    operations: Vec<Operation>,
    /// Places of operations that are left out at the end, as a later one took their place.
    holes: Vec<usize>,
    bytes: usize,
    /// Operations whose place another one took.
    replaced: usize,
}

/// Coalescing pays where at least one of so many operations is replaced.
const COALESCED_MIN: usize = 8;

impl Queue {
    /// Takes a full request of what is ready, or all of it; of this index only, if one is named.
    pub(super) fn take_ready(
        &mut self,
        bounds: BatchBounds,
        only: Option<&str>,
        now: Instant,
    ) -> Vec<Operation> {
        self.requests += 1;
        let operations = Vec::with_capacity(bounds.operations_max.min(self.ready.len()));
        let mut request = Forming { bounds, operations, holes: Vec::new(), bytes: 0, replaced: 0 };
        let mut passed_over = Vec::new();
        while let Some(operation) = self.ready.pop_front() {
            self.ready_bytes -= operation.size();
            if only.is_some_and(|index| *index != *operation.key.index) {
                passed_over.push(operation);
            } else if let Some(operation) = self.join(&mut request, operation) {
                self.make_first(operation);
                break;
            }
        }
        passed_over.into_iter().rev().for_each(|operation| self.make_first(operation));
        self.ready_since = (!self.ready.is_empty()).then_some(now);
        self.coalescing_pays = request.replaced * COALESCED_MIN >= request.operations.len().max(1);
        request.into_operations()
    }

    /// Adds an operation to the request, or puts it behind what makes its key busy; gives it back if the request is
    /// full.
    fn join(&mut self, request: &mut Forming, operation: Operation) -> Option<Operation> {
        let newest = request.operations.len();
        let mut busy = match self.busy.entry(operation.key.clone()) {
            Entry::Occupied(busy) => busy,
            Entry::Vacant(_) if !request.has_room(&operation) => return Some(operation),
            Entry::Vacant(free) => {
                free.insert(Busy { request: self.requests, taken: 1, newest, behind: VecDeque::new() });
                request.push(operation);
                return None;
            }
        };
        let busy = busy.get_mut();
        if busy.request != self.requests {
            busy.behind.push_back(operation);
        } else if self.coalesces && replaces(operation.action) {
            if !request.has_bytes(&operation) {
                return Some(operation);
            }
            let mut replaced = Vec::with_capacity(busy.taken);
            let id_of = id(&operation);
            for earlier in request.replace(operation, busy.newest, busy.taken) {
                // Only one that came earlier can have taken the place of others.
                replaced.append(&mut self.replaced.remove(&id(&earlier)).unwrap_or_default());
                replaced.push(earlier);
            }
            busy.taken = 1;
            self.replaced.insert(id_of, replaced);
        } else if request.has_room(&operation) {
            busy.taken += 1;
            busy.newest = newest;
            request.push(operation);
        } else {
            return Some(operation);
        }
        None
    }
}

/// Whether nothing of an object's earlier state is left after it.
fn replaces(action: Action) -> bool {
    match action {
        Action::Save | Action::Delete => true,
        Action::PartialUpdate | Action::PartialUpdateNoCreate => false,
    }
}

impl Forming {
    fn push(&mut self, operation: Operation) {
        self.bytes += operation.size();
        self.operations.push(operation);
    }

    /// Takes the place of so many operations of its key, the last of them at place `newest`; returns them in log order.
    fn replace(&mut self, operation: Operation, newest: usize, count: usize) -> Vec<Operation> {
        let key = operation.key.clone();
        self.bytes += operation.size();
        self.replaced += count;
        let mut replaced = Vec::with_capacity(count);
        if count > 1 {
            let is_hole = |place: &usize| self.holes.contains(place);
            let of_key = (0..newest).filter(|place| self.operations[*place].key == key && !is_hole(place));
            let places: Vec<usize> = of_key.collect();
            replaced.extend(places.iter().map(|place| self.operations[*place].clone()));
            self.holes.extend(places);
        }
        replaced.push(std::mem::replace(&mut self.operations[newest], operation));
        self.bytes -= replaced.iter().map(Operation::size).sum::<usize>();
        replaced
    }

    fn into_operations(mut self) -> Vec<Operation> {
        self.holes.sort_unstable();
        let mut place = 0..;
        self.operations.retain(|_| {
            self.holes.is_empty()
                || place.next().is_none_or(|place| self.holes.binary_search(&place).is_err())
        });
        self.operations
    }

    /// Whether one more may join; the first always may.
    fn has_room(&self, operation: &Operation) -> bool {
        let count = self.operations.len() - self.holes.len();
        count == 0 || (count < self.bounds.operations_max && self.has_bytes(operation))
    }

    fn has_bytes(&self, operation: &Operation) -> bool {
        self.bytes + operation.size() <= self.bounds.bytes_max
    }
}
