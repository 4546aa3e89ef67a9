//! From a fake's journal to a history: requests become batches, restarts fall between them.

use crate::history::{Applied, Event};

/// What happened beside the journal; each is a length that the journal had then, ascending.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// The agent did not run.
    pub restarts: Vec<usize>,
    /// Every connection was cut: the agent may not have the answers to the requests that were applied last.
    pub cuts: Vec<usize>,
}

/// So many requests of a lane may be in flight.
const REQUESTS_MAX: usize = 10;

/// One operation of a journal.
pub(crate) struct Journaled {
    pub(crate) applied: Applied,
    /// The request that brought it.
    pub(crate) request: u64,
    /// Whether that request was to be answered.
    pub(crate) answered: bool,
}

/// The events of a journal, in its order.
pub(crate) fn events(journal: impl Iterator<Item = Journaled>, marks: &Marks) -> Vec<Event> {
    let mut events = Vec::new();
    let mut restarts = marks.restarts.iter().peekable();
    let mut before = None;
    for (number, Journaled { applied, request, answered }) in journal.enumerate() {
        while restarts.next_if(|at| **at <= number).is_some() {
            events.push(Event::Restart);
        }
        match events.last_mut() {
            Some(Event::Batch { operations, .. }) if before == Some(request) => operations.push(applied),
            _ => events.push(Event::Batch { operations: vec![applied], answered }),
        }
        before = Some(request);
        if marks.cuts.binary_search(&(number + 1)).is_ok() {
            // What an earlier life sent is told by its restart.
            let batches = events.iter_mut().rev().map_while(|event| match event {
                Event::Batch { answered, .. } => Some(answered),
                Event::Restart => None,
            });
            batches.take(REQUESTS_MAX).for_each(|answered| *answered = false);
        }
    }
    events
}
