//! The queue and the settling together, against a model of a destination that fails in every way at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError},
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    queue::{BatchBounds, Queue},
    settle::settle,
};

const ATTEMPTS_MAX: u32 = 3;
const BOUNDS: BatchBounds = BatchBounds { operations_max: 8, bytes_max: 1 << 20 };

/// What is wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// 400 for the batch, naming the culprit.
    Named,
    /// 400 for the batch, naming nobody.
    Unnamed,
    /// 500 or a time-out for the batch.
    Unknown,
    /// Comes back as `Retry` the first two times.
    Retry,
    /// Too large together with any other.
    Large,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        20 => Just(Fault::None),
        1 => Just(Fault::Named),
        1 => Just(Fault::Unnamed),
        1 => Just(Fault::Unknown),
        1 => Just(Fault::Retry),
        1 => Just(Fault::Large),
    ]
}

fn operation(offset: u64, key: u8) -> Operation {
    let index = if key.is_multiple_of(2) { "even" } else { "odd" };
    Operation {
        action: Action::Save,
        key: Key { index: index.into(), object_id: key.to_string().into() },
        body: Bytes::from_static(b"{}"),
        version: Version(offset),
        source: Source {
            log_id: LogId(Uuid::nil()),
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::nil()),
            accepted_at: Timestamp(0),
        },
    }
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "scripted")
}

/// A destination that applies batches in order, and what it saw.
#[derive(Default)]
struct Model {
    faults: Vec<Fault>,
    retries: BTreeMap<u64, u32>,
    applied: HashMap<Key, Vec<u64>>,
    requests: usize,
}

impl Model {
    fn write(&mut self, batch: &Batch, outage: bool) -> Result<Vec<Verdict>, WriteError> {
        self.requests += 1;
        let operations = batch.operations();
        let fault_of = |o: &Operation| self.faults.get(o.source.position.offset as usize).copied();
        let find = |fault| operations.iter().position(|o| fault_of(o) == Some(fault));
        if outage {
            return Err(WriteError::Unavailable {
                retry_after: None,
                reason: reason(ReasonCode::Unavailable),
            });
        }
        if find(Fault::Unknown).is_some() {
            return Err(WriteError::Unknown { reason: reason(ReasonCode::Unknown) });
        }
        if operations.len() > 1 && find(Fault::Large).is_some() {
            return Err(WriteError::TooLarge { reason: reason(ReasonCode::TooLarge) });
        }
        if let Some(culprit) = find(Fault::Named) {
            return Err(WriteError::BatchRejected {
                culprit: Some(culprit),
                reason: reason(ReasonCode::Rejected),
            });
        }
        if find(Fault::Unnamed).is_some() {
            return Err(WriteError::BatchRejected { culprit: None, reason: reason(ReasonCode::Rejected) });
        }
        let retrying: Vec<bool> = operations.iter().map(|o| fault_of(o) == Some(Fault::Retry)).collect();
        Ok(operations
            .iter()
            .zip(retrying)
            .map(|(operation, retries)| self.apply(operation, retries))
            .collect())
    }

    fn apply(&mut self, operation: &Operation, retries: bool) -> Verdict {
        let offset = operation.source.position.offset;
        if retries {
            let seen = self.retries.entry(offset).or_default();
            *seen += 1;
            if *seen <= 2 {
                return Verdict::Retry(reason(ReasonCode::Throttled));
            }
        }
        self.applied.entry(operation.key.clone()).or_default().push(offset);
        Verdict::Written
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// G3, G4 and G6: whatever is wrong with whichever records, every operation is settled once, only the guilty are
    /// dead-lettered, and each key ends at its newest good operation with nothing older applied after it for good.
    #[test]
    fn only_the_guilty_are_dead_lettered(
        records in prop::collection::vec((0..12_u8, fault()), 1..120),
        outages in prop::collection::vec(prop::bool::weighted(0.2), 0..60),
    ) {
        let mut model = Model { faults: records.iter().map(|(_, fault)| *fault).collect(), ..Model::default() };
        let mut queue = Queue::default();
        for (offset, (key, _)) in (0..).zip(&records) {
            queue.push(operation(offset, *key));
        }
        let mut written = BTreeSet::new();
        let mut dead = BTreeSet::new();
        let mut fresh = records.len() as u64;
        let mut outages = outages.into_iter();
        while written.len() + dead.len() < records.len() {
            prop_assert!(model.requests < 1_500, "no progress: {}", queue.describe());
            if queue.wants_others() {
                // A suspect is only ever judged by others' success: new traffic brings them.
                queue.push(operation(fresh, 100 + (fresh % 20) as u8));
                queue.push(operation(fresh + 1, 100 + (fresh % 20) as u8 + 1));
                fresh += 2;
            }
            let Some(mut group) = queue.take(BOUNDS) else { break };
            let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
            let answer = model.write(&batch, outages.next().unwrap_or(false));
            let settled = settle(&mut queue, group, batch, answer, ATTEMPTS_MAX);
            for (position, _) in settled.outcomes {
                let is_new = position.offset >= records.len() as u64 || written.insert(position.offset);
                prop_assert!(is_new, "{position} was settled twice");
            }
            for rejected in settled.rejected {
                prop_assert!(dead.insert(rejected.operation.source.position.offset));
            }
        }
        let guilty = |fault: &Fault| matches!(fault, Fault::Named | Fault::Unnamed | Fault::Unknown);
        let expected: BTreeSet<u64> =
            (0..).zip(&records).filter(|(_, (_, fault))| guilty(fault)).map(|(offset, _)| offset).collect();
        prop_assert_eq!(&dead, &expected);
        for (key, applied) in &model.applied {
            // An operation that came back `Retry` let later ones of its batch pass; they are sent again after it.
            let of_key = |(key_of, fault): &(u8, Fault)| *fault == Fault::Retry && key_of.to_string() == *key.object_id;
            let retried = records.iter().any(of_key);
            prop_assert!(retried || applied.is_sorted(), "{key:?} saw {applied:?}");
            prop_assert_eq!(applied.last(), applied.iter().max(), "{:?} ends stale: {:?}", key, applied);
        }
    }
}

/// G3: an outage alone dead-letters nothing, however long it lasts and however it shows.
#[test]
fn outage_dead_letters_nothing() {
    for outage in [
        WriteError::Unavailable { retry_after: None, reason: reason(ReasonCode::Unavailable) },
        WriteError::Unknown { reason: reason(ReasonCode::Unknown) },
        WriteError::Throttled { retry_after: None, reason: reason(ReasonCode::Throttled) },
        WriteError::Misconfigured { scope: Scope::Destination, reason: reason(ReasonCode::Misconfigured) },
    ] {
        let mut queue = Queue::default();
        (0..50).for_each(|offset| queue.push(operation(offset, offset as u8)));
        for _ in 0..5_000 {
            let mut group = queue.take(BOUNDS).unwrap();
            let batch = std::mem::take(&mut group.operations).into_iter().collect();
            let settled = settle(&mut queue, group, batch, Err(outage.clone()), ATTEMPTS_MAX);
            assert!(settled.outcomes.is_empty() && settled.rejected.is_empty(), "{outage}: {settled:?}");
        }
        let mut left = BTreeSet::new();
        while let Some(group) = queue.take(BOUNDS) {
            left.extend(group.operations.iter().map(|operation| operation.source.position.offset));
        }
        assert_eq!(left.len(), 50, "{outage}");
    }
}

/// G5: an index that the destination refuses takes its own records into the dead letters and no others.
#[test]
fn refused_index_takes_only_its_own() {
    let mut queue = Queue::default();
    (0..8).for_each(|offset| queue.push(operation(offset, offset as u8)));
    let mut group = queue.take(BOUNDS).unwrap();
    let batch = std::mem::take(&mut group.operations).into_iter().collect();
    let refusal = WriteError::Misconfigured {
        scope: Scope::Index("odd".into()),
        reason: reason(ReasonCode::Misconfigured),
    };
    let settled = settle(&mut queue, group, batch, Err(refusal), ATTEMPTS_MAX);
    let dead: Vec<_> = settled.rejected.iter().map(|r| (&*r.operation.key.index, r.reason.code)).collect();
    assert_eq!(dead, [("odd", ReasonCode::IndexRefused); 4]);
    let again = queue.take(BOUNDS).unwrap();
    assert_eq!(again.operations.iter().map(|o| &*o.key.index).collect::<Vec<_>>(), ["even"; 4]);
}

/// G6: halving finds one bad record of a full batch in about log2(n) requests that fail.
#[test]
fn bisection_is_logarithmic() {
    let bounds = BatchBounds { operations_max: 1_000, bytes_max: 1 << 20 };
    let mut model = Model { faults: vec![Fault::None; 1_000], ..Model::default() };
    model.faults[637] = Fault::Unnamed;
    let mut queue = Queue::default();
    for offset in 0..1_000 {
        let mut operation = operation(offset, 0);
        operation.key.object_id = offset.to_string().into();
        queue.push(operation);
    }
    let mut dead = Vec::new();
    while let Some(mut group) = queue.take(bounds) {
        let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
        let answer = model.write(&batch, false);
        dead.extend(settle(&mut queue, group, batch, answer, ATTEMPTS_MAX).rejected);
    }
    assert_eq!(dead.iter().map(|r| r.operation.source.position.offset).collect::<Vec<_>>(), [637]);
    assert!(model.requests <= 2 * 10 + 1, "{} requests", model.requests);
    assert!((10..=11).contains(&dead[0].attempts), "its letter tells of {} attempts", dead[0].attempts);
}

/// G9: while suspects wait for others' success, reading on is asked for only when nothing that waits could bring it.
#[test]
fn others_are_wanted_only_where_none_wait() {
    let bounds = BatchBounds { operations_max: 1, bytes_max: 1 << 20 };
    let mut queue = Queue::default();
    queue.push(operation(0, 0));
    for _ in 0..2 {
        let mut group = queue.take(bounds).unwrap();
        let batch = std::mem::take(&mut group.operations).into_iter().collect();
        let unknown = WriteError::Unknown { reason: reason(ReasonCode::Unknown) };
        settle(&mut queue, group, batch, Err(unknown), ATTEMPTS_MAX);
    }
    // What waits is of the suspect's own key.
    queue.push(operation(1, 0));
    assert!(queue.wants_others());
    queue.push(operation(2, 1));
    assert!(!queue.wants_others());
    assert_eq!(queue.take(bounds).unwrap().operations[0].source.position.offset, 2);
}
