//! Turns a destination's answer into what follows from it: outcomes, letters, resends, and the lane's health.
//!
//! Every operation of the request leaves here exactly once: settled, rejected, or back in the queue.

use std::{collections::HashSet, time::Duration};

use plugin_api::{
    identity::Position,
    operation::{Batch, Key, Operation},
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};
use rustc_hash::FxBuildHasher;

use super::{
    queue::{Group, Queue, Suspicion},
    tracker::Outcome,
};

/// An operation that will never be written as it stands.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) operation: Operation,
    pub(super) reason: Reason,
    /// Requests that carried it, with others or alone; an outage does not count.
    pub(super) attempts: u32,
}

/// What the answer says about the destination.
#[derive(Debug)]
pub(super) enum Health {
    /// It answered; the next request may follow at once.
    Serves,
    /// It did not; wait before the next request.
    Fails { reason: Reason, retry_after: Option<Duration> },
    /// It refuses everything until an operator acts.
    Refuses(Reason),
}

/// What follows from one request.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcomes: Vec<(Position, Outcome)>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) health: Health,
}

/// Takes a request apart. `group` is what was sent but for its operations, which come back in `batch`.
pub(super) fn settle(
    queue: &mut Queue,
    mut group: Group,
    batch: Batch,
    answer: Result<Vec<Verdict>, WriteError>,
    attempts_max: u32,
) -> Settled {
    group.operations = batch.into_operations();
    group.attempts += u32::from(is_attempt(&answer));
    match answer {
        Ok(verdicts) => settle_each(queue, group, verdicts),
        Err(
            WriteError::Throttled { retry_after, reason } | WriteError::Unavailable { retry_after, reason },
        ) => {
            queue.put_back(group);
            Settled::failure(Health::Fails { reason, retry_after })
        }
        Err(WriteError::Unknown { reason }) => settle_unknown(queue, group, reason, attempts_max),
        Err(WriteError::Misconfigured { scope: Scope::Destination, reason }) => {
            queue.put_back(group);
            Settled::failure(Health::Refuses(reason))
        }
        Err(WriteError::Misconfigured { scope: Scope::Index(index), reason }) => {
            settle_refused_index(queue, group, &index, reason)
        }
        Err(WriteError::TooLarge { reason }) => {
            settle_guilty(queue, group, None, Reason { code: ReasonCode::TooLarge, ..reason })
        }
        Err(WriteError::BatchRejected { culprit, reason }) => settle_guilty(queue, group, culprit, reason),
    }
}

/// The verdicts of an answer, if there is one for each operation.
pub(super) fn verdicts_of(written: Written, operations: usize) -> Result<Vec<Verdict>, WriteError> {
    if written.verdicts.len() == operations {
        return Ok(written.verdicts);
    }
    let message = format!("answer has {} verdicts for {operations} operations", written.verdicts.len());
    Err(WriteError::Unknown { reason: Reason::new(ReasonCode::Unknown, message) })
}

/// Whether the destination looked at what it was sent, as far as one can know: an outage is no attempt.
fn is_attempt(answer: &Result<Vec<Verdict>, WriteError>) -> bool {
    match answer {
        Ok(_)
        | Err(
            WriteError::Unknown { .. }
            | WriteError::Misconfigured { scope: Scope::Index(_), .. }
            | WriteError::TooLarge { .. }
            | WriteError::BatchRejected { .. },
        ) => true,
        Err(
            WriteError::Throttled { .. }
            | WriteError::Unavailable { .. }
            | WriteError::Misconfigured { scope: Scope::Destination, .. },
        ) => false,
    }
}

fn settle_each(queue: &mut Queue, group: Group, verdicts: Vec<Verdict>) -> Settled {
    let mut settled = Settled::failure(Health::Serves);
    let mut again = Vec::new();
    let mut keys_again: HashSet<Key, FxBuildHasher> = HashSet::default();
    let mut cause = None;
    if verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Retry(_))) {
        queue.succeeded(group.operations.iter().map(|operation| &operation.key.index));
    }
    for (operation, verdict) in group.operations.into_iter().zip(verdicts) {
        // Whatever became of it, it may have been applied before an earlier operation of its key is.
        if !keys_again.is_empty() && keys_again.contains(&operation.key) {
            again.push(operation);
            continue;
        }
        let position = operation.source.position;
        match verdict {
            Verdict::Written => settled.outcomes.push((position, Outcome::Written)),
            Verdict::Superseded => settled.outcomes.push((position, Outcome::Superseded)),
            Verdict::Reject(reason) => {
                settled.rejected.push(Rejected { operation, reason, attempts: group.attempts });
            }
            Verdict::Retry(reason) => {
                cause = Some(reason);
                keys_again.insert(operation.key.clone());
                again.push(operation);
            }
        }
    }
    queue.resend(again, group.attempts);
    if let Some(reason) = cause {
        settled.health = Health::Fails { reason, retry_after: None };
    }
    settled
}

fn settle_unknown(queue: &mut Queue, group: Group, reason: Reason, attempts_max: u32) -> Settled {
    let mut settled = Settled::failure(Health::Fails { reason: reason.clone(), retry_after: None });
    match queue.suspect(group, attempts_max) {
        Suspicion::Resend => {}
        Suspicion::Poison(operation, attempts) => {
            let reason = Reason { code: ReasonCode::PoisonSuspected, ..reason };
            settled.rejected.push(Rejected { operation, reason, attempts });
        }
    }
    settled
}

fn settle_refused_index(queue: &mut Queue, group: Group, index: &str, reason: Reason) -> Settled {
    let attempts = group.attempts;
    let (refused, others): (Vec<_>, Vec<_>) =
        group.operations.into_iter().partition(|operation| &*operation.key.index == index);
    // A refusal of an index that the request did not carry would otherwise be sent again at once, for ever.
    let health = match refused.is_empty() {
        true => Health::Fails { reason: reason.clone(), retry_after: None },
        false => Health::Serves,
    };
    queue.resend(others, attempts);
    let reason = Reason { code: ReasonCode::IndexRefused, ..reason };
    let rejected = refused
        .into_iter()
        .map(|operation| Rejected { operation, reason: reason.clone(), attempts })
        .collect();
    Settled { outcomes: Vec::new(), rejected, health }
}

/// Nothing was applied because of one operation: a known one, the only one, or one that halving finds.
fn settle_guilty(queue: &mut Queue, mut group: Group, culprit: Option<usize>, reason: Reason) -> Settled {
    let mut settled = Settled::failure(Health::Serves);
    let only = (group.operations.len() == 1).then_some(0);
    match culprit.filter(|culprit| *culprit < group.operations.len()).or(only) {
        Some(culprit) => {
            let operation = group.operations.remove(culprit);
            settled.rejected.push(Rejected { operation, reason, attempts: group.attempts });
            queue.resend(group.operations, group.attempts);
        }
        None => queue.split(group),
    }
    settled
}

impl Settled {
    fn failure(health: Health) -> Self {
        Self { outcomes: Vec::new(), rejected: Vec::new(), health }
    }
}
