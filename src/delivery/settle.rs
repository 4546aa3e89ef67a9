//! Turns a destination's answer into what follows from it: outcomes, letters, resends, and the lane's health.
//!
//! Every operation of the request leaves here exactly once: settled, rejected, or back in the queue. Those that it took
//! the place of go with it, or are sent after all.

use std::{collections::HashSet, mem, time::Duration};

use plugin_api::{
    operation::{Batch, Key, Operation, Source},
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

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
    Serves {
        /// But it would rather have less.
        congested: bool,
    },
    /// It asks for less.
    Throttles { reason: Reason, retry_after: Option<Duration> },
    /// It did not answer, or not with what tells anything.
    Fails { reason: Reason, retry_after: Option<Duration> },
    /// It refuses everything until an operator acts.
    Refuses(Reason),
}

/// What follows from one request.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcomes: Vec<(Source, Outcome)>,
    /// The operations of these outcomes, if somebody looks.
    pub(super) watched: Vec<(Operation, Outcome)>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) health: Health,
}

/// What is known when an answer arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) attempts_max: u32,
    /// Nothing else is in flight.
    pub(super) alone: bool,
    /// Somebody looks at what becomes of operations.
    pub(super) is_watched: bool,
}

/// Takes a request apart. `group` is what was sent but for its operations, which come back in `batch`.
pub(super) fn settle(
    queue: &mut Queue,
    mut group: Group,
    batch: Batch,
    answer: Result<Vec<Verdict>, WriteError>,
    moment: Moment,
) -> Settled {
    group.operations = batch.into_operations();
    group.attempts += u32::from(is_attempt(&answer));
    let (outcomes, watched, rejected) = (Vec::new(), Vec::new(), Vec::new());
    let mut settling = Settling { queue, moment, outcomes, watched, rejected };
    let health = match answer {
        Ok(verdicts) => settling.each(group, verdicts),
        Err(WriteError::Throttled { retry_after, reason }) => settling.throttled(group, retry_after, reason),
        Err(WriteError::Unavailable { retry_after, reason }) => {
            settling.queue.put_back(group, moment.now);
            Health::Fails { reason, retry_after }
        }
        Err(WriteError::Unknown { retry_after, reason }) => settling.suspect(group, retry_after, reason),
        Err(WriteError::Misconfigured { scope: Scope::Destination, reason }) => {
            settling.refused(group, reason)
        }
        Err(WriteError::Misconfigured { scope: Scope::Index(index), reason }) => {
            settling.refused_index(group, &index, reason)
        }
        Err(WriteError::TooLarge { reason }) => {
            settling.guilty(group, None, Reason { code: ReasonCode::TooLarge, ..reason })
        }
        Err(WriteError::BatchRejected { culprit, reason }) => settling.guilty(group, culprit, reason),
    };
    let Settling { outcomes, watched, rejected, .. } = settling;
    Settled { outcomes, watched, rejected, health }
}

/// The verdicts of an answer, if there is one for each operation.
pub(super) fn verdicts_of(written: Written, operations: usize) -> Result<Vec<Verdict>, WriteError> {
    if written.verdicts.len() == operations {
        return Ok(written.verdicts);
    }
    let message = format!("answer has {} verdicts for {operations} operations", written.verdicts.len());
    Err(WriteError::Unknown { retry_after: None, reason: Reason::new(ReasonCode::Unknown, message) })
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

/// Whether an item's failure may be its own fault.
fn is_suspicious(reason: &Reason) -> bool {
    match reason.code {
        ReasonCode::Unknown => true,
        ReasonCode::TransformFailed
        | ReasonCode::TransformTrapped
        | ReasonCode::TransformTimedOut
        | ReasonCode::TransformInvalid
        | ReasonCode::TransformSuspended
        | ReasonCode::Rejected
        | ReasonCode::TooLarge
        | ReasonCode::NotAdmitted
        | ReasonCode::IndexRefused
        | ReasonCode::ForeignVersion
        | ReasonCode::PoisonSuspected
        | ReasonCode::Throttled
        | ReasonCode::Unavailable
        | ReasonCode::Misconfigured => false,
    }
}

/// One request on its way out.
struct Settling<'a> {
    queue: &'a mut Queue,
    moment: Moment,
    outcomes: Vec<(Source, Outcome)>,
    watched: Vec<(Operation, Outcome)>,
    rejected: Vec<Rejected>,
}

impl Settling<'_> {
    fn each(&mut self, mut group: Group, verdicts: Vec<Verdict>) -> Health {
        let (attempts, count) = (group.attempts, group.operations.len());
        let is_again = |verdict: &Verdict| matches!(verdict, Verdict::Retry(_));
        let any_succeeded = verdicts.iter().any(|verdict| !is_again(verdict));
        if any_succeeded {
            self.queue.succeeded(group.operations.iter().map(|operation| &operation.key.index));
        }
        let (mut later, mut suspects) = (Vec::new(), Vec::new());
        let mut keys_again: HashSet<Key, FxBuildHasher> = HashSet::default();
        let mut suspect_keys: HashSet<Key, FxBuildHasher> = HashSet::default();
        let (mut cause, mut suspicious) = (None, None);
        for (operation, verdict) in mem::take(&mut group.operations).into_iter().zip(verdicts) {
            // Whatever became of it, it may have been applied before an earlier operation of its key is.
            if !keys_again.is_empty() && keys_again.contains(&operation.key) {
                later.push(operation);
                continue;
            }
            if !suspect_keys.is_empty() && suspect_keys.contains(&operation.key) {
                suspects.push(operation);
                continue;
            }
            match verdict {
                Verdict::Written => self.settled(&operation, Outcome::Written),
                Verdict::Superseded => self.settled(&operation, Outcome::Superseded),
                Verdict::Reject(reason) => {
                    let key = operation.key.clone();
                    let replaced = self.reject(operation, reason, attempts);
                    if !replaced.is_empty() {
                        keys_again.insert(key);
                        later.extend(replaced);
                    }
                }
                Verdict::Retry(reason) if is_suspicious(&reason) => {
                    suspicious = Some(reason);
                    suspect_keys.insert(operation.key.clone());
                    suspects.push(operation);
                }
                Verdict::Retry(reason) => {
                    cause = Some(reason);
                    keys_again.insert(operation.key.clone());
                    later.push(operation);
                }
            }
        }
        match &cause {
            Some(_) => self.queue.resend_later(later, attempts, self.moment.now),
            None => self.queue.resend(later, attempts, self.moment.now),
        }
        if let Some(reason) = &suspicious {
            let whole = suspects.len() == count;
            group.operations = suspects;
            let Moment { now, attempts_max, .. } = self.moment;
            let suspicion = match whole {
                true => self.queue.suspect(group, attempts_max, now),
                false => self.queue.suspect_some(group, attempts_max, any_succeeded, now),
            };
            self.judge(suspicion, reason);
        }
        match cause.or(suspicious) {
            Some(reason) if !any_succeeded => Health::Fails { reason, retry_after: None },
            Some(_) => Health::Serves { congested: true },
            None => Health::Serves { congested: false },
        }
    }

    fn throttled(&mut self, group: Group, retry_after: Option<Duration>, reason: Reason) -> Health {
        // Some limits count the bytes of what is in flight: then a large request never passes, alone or not.
        if self.moment.alone && group.was_delayed() && group.operations.len() > 1 {
            self.queue.split(group, self.moment.now);
        } else {
            self.queue.put_back(group, self.moment.now);
        }
        Health::Throttles { reason, retry_after }
    }

    fn suspect(&mut self, group: Group, retry_after: Option<Duration>, reason: Reason) -> Health {
        let suspicion = self.queue.suspect(group, self.moment.attempts_max, self.moment.now);
        self.judge(suspicion, &reason);
        Health::Fails { reason, retry_after }
    }

    /// Keys and plans are the whole destination's; but what is refused so while others succeed is refused for what it
    /// holds, whatever the answer says.
    fn refused(&mut self, group: Group, reason: Reason) -> Health {
        let others = self.queue.others_succeeded(&group);
        let health = self.suspect(group, None, reason.clone());
        if others { health } else { Health::Refuses(reason) }
    }

    fn refused_index(&mut self, group: Group, index: &str, reason: Reason) -> Health {
        let attempts = group.attempts;
        let (refused, others): (Vec<_>, Vec<_>) =
            group.operations.into_iter().partition(|operation| &*operation.key.index == index);
        self.queue.resend(others, attempts, self.moment.now);
        // A refusal of an index that the request did not carry would otherwise be sent again at once, for ever.
        if refused.is_empty() {
            return Health::Fails { reason, retry_after: None };
        }
        let reason = Reason { code: ReasonCode::IndexRefused, ..reason };
        for operation in refused {
            let replaced = self.reject(operation, reason.clone(), attempts);
            // They are of the same index.
            for operation in replaced {
                self.reject(operation, reason.clone(), attempts);
            }
        }
        Health::Serves { congested: false }
    }

    /// Nothing was applied because of one operation: a known one, the only one, or one that halving finds.
    fn guilty(&mut self, mut group: Group, culprit: Option<usize>, reason: Reason) -> Health {
        let only = (group.operations.len() == 1).then_some(0);
        match culprit.filter(|culprit| *culprit < group.operations.len()).or(only) {
            Some(culprit) => {
                let operation = group.operations.remove(culprit);
                let replaced = self.reject(operation, reason, group.attempts);
                group.operations.splice(culprit..culprit, replaced);
                self.queue.resend(group.operations, group.attempts, self.moment.now);
            }
            None => self.queue.split(group, self.moment.now),
        }
        Health::Serves { congested: false }
    }

    fn settled(&mut self, operation: &Operation, outcome: Outcome) {
        self.outcomes.push((operation.source.clone(), outcome));
        let replaced = self.queue.settled(operation, self.moment.now);
        self.outcomes.extend(replaced.iter().map(|replaced| (replaced.source.clone(), Outcome::Superseded)));
        if self.moment.is_watched {
            self.watched.push((operation.clone(), outcome));
            self.watched.extend(replaced.into_iter().map(|replaced| (replaced, Outcome::Superseded)));
        }
    }

    /// Returns what must be sent after all, in the operation's place.
    fn reject(&mut self, operation: Operation, reason: Reason, attempts: u32) -> Vec<Operation> {
        let replaced = self.queue.rejected(&operation, self.moment.now);
        self.rejected.push(Rejected { operation, reason, attempts });
        replaced
    }

    fn judge(&mut self, suspicion: Suspicion, reason: &Reason) {
        match suspicion {
            Suspicion::Resend => {}
            Suspicion::Poison(operation, attempts) => {
                let reason = Reason { code: ReasonCode::PoisonSuspected, ..reason.clone() };
                let replaced = self.reject(operation, reason, attempts);
                self.queue.resend(replaced, attempts, self.moment.now);
            }
        }
    }
}
