//! Forming a request from what is ready.

use std::collections::VecDeque;

use plugin_api::operation::{Action, Key, Operation};
use tokio::time::Instant;

use super::{Busy, Queue, id};

/// How much one request may carry; both bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct BatchBounds {
    pub(in crate::delivery) operations_max: usize,
    pub(in crate::delivery) bytes_max: usize,
}

/// A request that is being formed, with a hole for each operation whose place another one took.
struct Forming {
    bounds: BatchBounds,
    operations: Vec<Option<Operation>>,
    holes: usize,
    bytes: usize,
}

impl Queue {
    /// Takes a full request of what is ready, or all of it; of this index only, if one is named.
    pub(super) fn take_ready(
        &mut self,
        bounds: BatchBounds,
        only: Option<&str>,
        now: Instant,
    ) -> Vec<Operation> {
        self.requests += 1;
        let mut request = Forming { bounds, operations: Vec::new(), holes: 0, bytes: 0 };
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
        request.operations.into_iter().flatten().collect()
    }

    /// Adds an operation to the request, or puts it behind what makes its key busy; gives it back if the request is
    /// full.
    fn join(&mut self, request: &mut Forming, operation: Operation) -> Option<Operation> {
        let newest = request.operations.len();
        match self.busy.get_mut(&operation.key) {
            Some(busy) if busy.request != self.requests => busy.behind.push_back(operation),
            Some(busy) if self.coalesces && replaces(operation.action) => {
                if !request.has_bytes(&operation) {
                    return Some(operation);
                }
                let mut replaced = Vec::with_capacity(busy.taken);
                for earlier in request.remove(&operation.key, busy.newest, busy.taken) {
                    // Only one that came earlier can have taken the place of others.
                    replaced.append(&mut self.replaced.remove(&id(&earlier)).unwrap_or_default());
                    replaced.push(earlier);
                }
                (busy.taken, busy.newest) = (1, newest);
                self.replaced.insert(id(&operation), replaced);
                request.push(operation);
            }
            _ if !request.has_room(&operation) => return Some(operation),
            Some(busy) => {
                busy.taken += 1;
                busy.newest = newest;
                request.push(operation);
            }
            None => {
                let busy = Busy { request: self.requests, taken: 1, newest, behind: VecDeque::new() };
                self.busy.insert(operation.key.clone(), busy);
                request.push(operation);
            }
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
        self.operations.push(Some(operation));
    }

    /// Takes so many operations of a key out, the last of them from place `newest`; returns them in log order.
    fn remove(&mut self, key: &Key, newest: usize, count: usize) -> Vec<Operation> {
        let places = self.operations[..=newest].iter_mut().rev();
        let of_key = places.filter(|place| place.as_ref().is_some_and(|operation| operation.key == *key));
        let mut removed: Vec<Operation> = of_key.take(count).filter_map(Option::take).collect();
        self.holes += removed.len();
        self.bytes -= removed.iter().map(Operation::size).sum::<usize>();
        removed.reverse();
        removed
    }

    /// Whether one more may join; the first always may.
    fn has_room(&self, operation: &Operation) -> bool {
        let count = self.operations.len() - self.holes;
        count == 0 || (count < self.bounds.operations_max && self.has_bytes(operation))
    }

    fn has_bytes(&self, operation: &Operation) -> bool {
        self.bytes + operation.size() <= self.bounds.bytes_max
    }
}
