//! The smallest engine that is right: it does what the contract of [`WriteError`] and [`Verdict`] asks and nothing
//! more, so that whatever goes wrong with it is the plugin's.
//!
//! Several disjoint batches are in flight at once. No key is in two of them, and an operation waits while one of its
//! key is in flight or is to be sent again: what was sent goes out again before anything newer of its keys.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use super::{
    driver::{Driver, Progress, Rejected, Tuning},
    history::Change,
};
use crate::{
    destination::Destination,
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Batch, Key, Operation, Source},
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};

/// Batches in flight.
const CONCURRENCY: usize = 4;

/// How long to wait after a failure that does not say so.
const PAUSE: Duration = Duration::from_millis(5);

/// A group that failed so often with an unknown outcome is taken apart, and lets others go first.
const FAILURES_IN_DOUBT: u32 = 2;

/// See the module's text.
pub struct Client {
    destination: Arc<dyn Destination>,
    tuning: Tuning,
    /// The clock when it started: versions lie near it, as the agent's do.
    started_at: u64,
    accepted: Vec<Operation>,
    waiting: VecDeque<Operation>,
    again: VecDeque<Group>,
    in_flight: JoinSet<(Group, Result<Written, WriteError>)>,
    keys_in_flight: Vec<Key>,
    settled: BTreeSet<u64>,
    rejected: BTreeMap<u64, Reason>,
    /// Everything before this number is settled and persisted.
    cursor: u64,
    /// Requests that applied something.
    successes: u64,
    pause_until: Option<Instant>,
    /// A probe must succeed before anything else is sent.
    wants_probe: bool,
    failing: bool,
    words: Vec<String>,
}

/// Operations that go out in one request.
struct Group {
    operations: Vec<Operation>,
    /// Requests of exactly these operations whose outcome was unknown.
    failures: u32,
    /// Those of them since whose predecessor others succeeded.
    judged: u32,
    /// The successes when it was formed or last failed.
    mark: u64,
}

#[async_trait]
impl Driver for Client {
    async fn start(destination: Arc<dyn Destination>, tuning: Tuning) -> Self {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            destination,
            tuning,
            started_at: clock.as_micros() as u64,
            accepted: Vec::new(),
            waiting: VecDeque::new(),
            again: VecDeque::new(),
            in_flight: JoinSet::new(),
            keys_in_flight: Vec::new(),
            settled: BTreeSet::new(),
            rejected: BTreeMap::new(),
            cursor: 0,
            successes: 0,
            pause_until: None,
            wants_probe: false,
            failing: false,
            words: Vec::new(),
        }
    }

    async fn accept(&mut self, changes: &[Change]) {
        self.cursor = (0..).find(|number| !self.settled.contains(number)).unwrap_or_default();
        for change in changes {
            let operation = operation(change, self.started_at);
            self.accepted.push(operation.clone());
            match self.destination.admit(&operation) {
                Ok(()) => self.waiting.push_back(operation),
                Err(reason) => self.reject(operation, reason),
            }
        }
    }

    async fn work(&mut self) {
        if let Some(until) = self.pause_until.take() {
            tokio::time::sleep_until(until).await;
        }
        if self.wants_probe {
            match self.destination.probe().await {
                Ok(()) => self.wants_probe = false,
                Err(error) => {
                    self.words.push(format!("{error} {error:?}"));
                    sleep(PAUSE).await;
                    return;
                }
            }
        }
        while self.in_flight.len() < CONCURRENCY
            && let Some(group) = self.take()
        {
            self.send(group);
        }
        let answered = timeout(PAUSE, self.in_flight.join_next()).await;
        if let Ok(Some(answered)) = answered {
            let (group, answer) = answered.expect("a plugin does not panic");
            self.keys_in_flight.retain(|key| group.operations.iter().all(|operation| operation.key != *key));
            self.answered(group, answer);
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            settled: self.settled.len() == self.accepted.len(),
            failing: self.failing,
            in_flight: self.keys_in_flight.len(),
        }
    }

    fn rejected(&self) -> Vec<Rejected> {
        let rejected =
            |(number, reason): (&u64, &Reason)| Rejected { number: *number, reason: reason.clone() };
        self.rejected.iter().map(rejected).collect()
    }

    fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    async fn crash(self, destination: Arc<dyn Destination>) -> Self {
        let Self { tuning, started_at, accepted, rejected, cursor, words, mut in_flight, .. } = self;
        // Nothing of it runs any more, and the old destination goes with it.
        in_flight.shutdown().await;
        drop(self.destination);
        let waiting = accepted.iter().skip(cursor as usize).cloned().collect();
        let fresh = Self::start(destination, tuning).await;
        Self {
            started_at,
            accepted,
            waiting,
            rejected,
            cursor,
            settled: (0..cursor).collect(),
            words,
            ..fresh
        }
    }
}

impl Client {
    /// What goes out next: what was sent before, then what waits and is free.
    fn take(&mut self) -> Option<Group> {
        let in_doubt = |group: &Group| group.failures >= FAILURES_IN_DOUBT && group.mark == self.successes;
        if let Some(ready) = self.again.iter().position(|group| !in_doubt(group)) {
            return self.again.remove(ready);
        }
        let operations = self.take_waiting();
        if !operations.is_empty() {
            return Some(self.group(operations, 0));
        }
        // Nobody else can tell an outage from poison.
        if self.in_flight.is_empty() { self.again.pop_front() } else { None }
    }

    fn take_waiting(&mut self) -> Vec<Operation> {
        let again = self.again.iter().flat_map(|group| &group.operations).map(|operation| &operation.key);
        let mut blocked: HashSet<Key> = self.keys_in_flight.iter().chain(again).cloned().collect();
        let mut taken = Vec::new();
        for operation in std::mem::take(&mut self.waiting) {
            if taken.len() < self.tuning.operations_max && !blocked.contains(&operation.key) {
                taken.push(operation);
            } else {
                blocked.insert(operation.key.clone());
                self.waiting.push_back(operation);
            }
        }
        taken
    }

    fn group(&self, operations: Vec<Operation>, failures: u32) -> Group {
        Group { operations, failures, judged: 0, mark: self.successes }
    }

    fn send(&mut self, mut group: Group) {
        self.keys_in_flight.extend(group.operations.iter().map(|operation| operation.key.clone()));
        let destination = Arc::clone(&self.destination);
        self.in_flight.spawn(async move {
            let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
            let answer = destination.write(&batch).await;
            group.operations = batch.into_operations();
            (group, answer)
        });
    }

    fn answered(&mut self, group: Group, answer: Result<Written, WriteError>) {
        self.failing = answer.is_err();
        if let Err(error) = &answer {
            self.words.push(format!("{error} {error:?}"));
        }
        match answer {
            Ok(Written { verdicts, .. }) => self.judge(group, verdicts),
            Err(WriteError::Throttled { retry_after, .. }) => {
                self.again.push_front(group);
                self.pause(retry_after);
            }
            Err(WriteError::Unavailable { retry_after, .. }) => {
                self.again.push_front(group);
                self.wants_probe = true;
                self.pause(retry_after);
            }
            Err(WriteError::Misconfigured { scope: Scope::Destination, .. }) => {
                self.again.push_front(group);
                self.wants_probe = true;
                self.pause(None);
            }
            Err(WriteError::Misconfigured { scope: Scope::Index(index), reason }) => {
                let of_index = |operation: &Operation| operation.key.index == index;
                let (refused, others): (Vec<_>, _) = group.operations.into_iter().partition(of_index);
                assert!(!refused.is_empty(), "{index} is refused, which the batch did not carry: {reason}");
                let reason = Reason { code: ReasonCode::IndexRefused, ..reason };
                refused.into_iter().for_each(|operation| self.reject(operation, reason.clone()));
                self.resend(others);
            }
            Err(WriteError::Unknown { reason, .. }) => self.suspect(group, reason),
            Err(WriteError::TooLarge { reason }) => {
                self.find(group, None, Reason { code: ReasonCode::TooLarge, ..reason });
            }
            Err(WriteError::BatchRejected { culprit, reason }) => self.find(group, culprit, reason),
        }
    }

    /// An answer for each operation: what comes again takes the later ones of its key with it, since they may have
    /// been applied before it is.
    fn judge(&mut self, group: Group, verdicts: Vec<Verdict>) {
        assert_eq!(verdicts.len(), group.operations.len(), "one verdict for each operation");
        self.successes += u64::from(verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Retry(_))));
        if let ([_], [Verdict::Retry(reason)]) = (&group.operations[..], &verdicts[..])
            && reason.code == ReasonCode::Unknown
        {
            let reason = reason.clone();
            return self.suspect(group, reason);
        }
        let mut again: Vec<Operation> = Vec::new();
        let (mut suspects, mut behind) = (Vec::new(), Vec::new());
        for (operation, verdict) in group.operations.into_iter().zip(verdicts) {
            if again.iter().any(|earlier| earlier.key == operation.key) {
                again.push(operation);
                continue;
            }
            if suspects.iter().any(|suspect: &Operation| suspect.key == operation.key) {
                behind.push(operation);
                continue;
            }
            match verdict {
                Verdict::Written => _ = self.settled.insert(operation.source.position.offset),
                Verdict::Superseded => {
                    assert!(self.destination.capabilities().versioned, "superseded without versions");
                    self.settled.insert(operation.source.position.offset);
                }
                Verdict::Reject(reason) => self.reject(operation, reason),
                Verdict::Retry(reason) => {
                    self.words.push(format!("{reason} {reason:?}"));
                    // It may be the operation's own fault: from now on it goes alone.
                    if reason.code == ReasonCode::Unknown { &mut suspects } else { &mut again }
                        .push(operation);
                }
            }
        }
        if !again.is_empty() || !suspects.is_empty() {
            self.failing = true;
            self.pause(None);
        }
        behind.into_iter().rev().for_each(|operation| self.waiting.push_front(operation));
        suspects.into_iter().for_each(|operation| self.resend(vec![operation]));
        self.resend(again);
    }

    /// The outcome is unknown. A single operation that fails again and again is poison if others succeed meanwhile.
    fn suspect(&mut self, mut group: Group, reason: Reason) {
        let others_succeeded = self.successes > group.mark;
        group.mark = self.successes;
        group.failures += 1;
        group.judged += u32::from(others_succeeded);
        let is_single = group.operations.len() == 1;
        if is_single && group.judged >= self.tuning.attempts_max {
            let reason = Reason { code: ReasonCode::PoisonSuspected, ..reason };
            return group.operations.into_iter().for_each(|operation| self.reject(operation, reason.clone()));
        }
        if !is_single && group.failures >= FAILURES_IN_DOUBT {
            return self.split(group.operations, FAILURES_IN_DOUBT - 1);
        }
        self.again.push_front(group);
        self.pause(None);
    }

    /// Nothing was applied because of one operation: a known one, the only one, or one that halving finds.
    fn find(&mut self, mut group: Group, culprit: Option<usize>, reason: Reason) {
        let only = (group.operations.len() == 1).then_some(0);
        match culprit.or(only) {
            Some(culprit) => {
                assert!(culprit < group.operations.len(), "no operation has the number {culprit}");
                let operation = group.operations.remove(culprit);
                self.reject(operation, reason);
                self.resend(group.operations);
            }
            None => self.split(group.operations, 0),
        }
    }

    /// Sends them in two requests that share no key; of a single key the first goes alone, before the others.
    fn split(&mut self, operations: Vec<Operation>, failures: u32) {
        let half = operations.len() / 2;
        let first_half: HashSet<Key> =
            operations[..half].iter().map(|operation| operation.key.clone()).collect();
        let (mut first, second): (Vec<_>, Vec<_>) =
            operations.into_iter().partition(|operation| first_half.contains(&operation.key));
        if second.is_empty() {
            first.split_off(1).into_iter().rev().for_each(|operation| self.waiting.push_front(operation));
        } else {
            self.again.push_front(self.group(second, failures));
        }
        self.again.push_front(self.group(first, failures));
    }

    fn resend(&mut self, operations: Vec<Operation>) {
        if !operations.is_empty() {
            self.again.push_front(self.group(operations, 0));
        }
    }

    fn reject(&mut self, operation: Operation, reason: Reason) {
        self.words.push(format!("{reason} {reason:?}"));
        self.settled.insert(operation.source.position.offset);
        self.rejected.insert(operation.source.position.offset, reason);
    }

    fn pause(&mut self, asked: Option<Duration>) {
        let until = Instant::now() + asked.unwrap_or(PAUSE);
        self.pause_until = Some(self.pause_until.map_or(until, |earlier| earlier.max(until)));
    }
}

/// The operation that a change becomes.
pub(super) fn operation(change: &Change, started_at: u64) -> Operation {
    Operation {
        action: change.action,
        key: change.key.clone(),
        body: change.body.clone(),
        version: Version(started_at + change.number),
        record_index: change.key.index.clone(),
        origin: None,
        source: Source {
            log_id: LogId(Uuid::from_u128(1)),
            position: Position { partition: 0, offset: change.number },
            number: 0,
            request_id: RequestId(Uuid::from_u128(2)),
            accepted_at: Timestamp(started_at),
            caller: None,
        },
    }
}
