//! The queue and the settling together, against a model of a destination that fails in every way at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::{
    Backoff,
    queue::{BatchBounds, Group, Queue, Wanted},
    settle::{Health, Moment, Settled, settle},
};

const ATTEMPTS_MAX: u32 = 3;
const BOUNDS: BatchBounds = BatchBounds { operations_max: 8, bytes_max: 1 << 20 };
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(1), max: Duration::from_secs(1) };
/// Longer than any delay.
const STEP: Duration = Duration::from_secs(10);

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
    /// 403 for the batch, as if everything were refused.
    Refused,
    /// 500 for this item alone.
    Item,
    /// 400 for this item alone.
    Rejected,
    /// Comes back as `Retry` the first two times.
    Retry,
    /// Too large together with any other.
    Large,
}

impl Fault {
    /// Whether it will never be applied.
    fn is_guilty(self) -> bool {
        match self {
            Self::Named | Self::Unnamed | Self::Unknown | Self::Refused | Self::Item | Self::Rejected => true,
            Self::None | Self::Retry | Self::Large => false,
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        25 => Just(Fault::None),
        1 => Just(Fault::Named),
        1 => Just(Fault::Unnamed),
        1 => Just(Fault::Unknown),
        1 => Just(Fault::Refused),
        1 => Just(Fault::Item),
        1 => Just(Fault::Rejected),
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
        record_index: index.into(),
        origin: None,
        source: Source {
            log_id: LogId(Uuid::nil()),
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::nil()),
            accepted_at: Timestamp(0),
            caller: None,
        },
    }
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "scripted")
}

/// An object: the save that made it, and the newest partial update of each of three attributes since.
type Object = (Option<u64>, [Option<u64>; 3]);

fn change(object: &mut Object, action: Action, offset: u64) {
    match action {
        Action::Save | Action::Delete => *object = (Some(offset), [None; 3]),
        Action::PartialUpdate | Action::PartialUpdateNoCreate => object.1[offset as usize % 3] = Some(offset),
    }
}

/// A destination that applies batches in order, and what it saw.
#[derive(Default)]
struct Model {
    faults: Vec<Fault>,
    retries: BTreeMap<u64, u32>,
    objects: HashMap<Key, Object>,
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
        if find(Fault::Refused).is_some() {
            let reason = reason(ReasonCode::Misconfigured);
            return Err(WriteError::Misconfigured { scope: Scope::Destination, reason });
        }
        if find(Fault::Unknown).is_some() {
            return Err(WriteError::Unknown { retry_after: None, reason: reason(ReasonCode::Unknown) });
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
        let faults: Vec<_> = operations.iter().map(fault_of).collect();
        Ok(operations.iter().zip(faults).map(|(operation, fault)| self.apply(operation, fault)).collect())
    }

    fn apply(&mut self, operation: &Operation, fault: Option<Fault>) -> Verdict {
        let offset = operation.source.position.offset;
        match fault {
            Some(Fault::Item) => return Verdict::Retry(reason(ReasonCode::Unknown)),
            Some(Fault::Rejected) => return Verdict::Reject(reason(ReasonCode::Rejected)),
            Some(Fault::Retry) => {
                let seen = self.retries.entry(offset).or_default();
                *seen += 1;
                if *seen <= 2 {
                    return Verdict::Retry(reason(ReasonCode::Throttled));
                }
            }
            _ => {}
        }
        self.applied.entry(operation.key.clone()).or_default().push(offset);
        change(self.objects.entry(operation.key.clone()).or_default(), operation.action, offset);
        Verdict::Written
    }
}

/// A request in flight, and what its answer will be.
struct Flight {
    group: Group,
    batch: Batch,
    answer: Result<Vec<Verdict>, WriteError>,
}

/// A lane without its clock: it sends as soon as it may, and answers come back in any order.
struct Lane {
    queue: Queue,
    model: Model,
    in_flight: Vec<Flight>,
    now: Instant,
    written: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

impl Lane {
    fn new(coalesces: bool, faults: Vec<Fault>) -> Self {
        Self {
            queue: Queue::new(coalesces, BACKOFF),
            model: Model { faults, ..Model::default() },
            in_flight: Vec::new(),
            now: Instant::now(),
            written: BTreeSet::new(),
            dead: BTreeSet::new(),
        }
    }

    /// Sends a request; false if there is none to send. It is applied at once, whenever its answer comes.
    fn send(&mut self, bounds: BatchBounds, outage: bool, lost: bool) -> bool {
        self.now += STEP;
        let wanted = if self.in_flight.is_empty() { Wanted::AnythingAtAll } else { Wanted::Anything };
        let Some(mut group) = self.queue.take(bounds, wanted, self.now) else { return false };
        let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
        for flight in &self.in_flight {
            let busy: BTreeSet<_> = flight.batch.operations().iter().map(|o| &o.key.object_id).collect();
            let shared = batch.operations().iter().find(|operation| busy.contains(&operation.key.object_id));
            assert!(shared.is_none(), "two requests in flight share a key: {shared:?}");
        }
        let mut answer = self.model.write(&batch, outage);
        if lost && batch.operations().len() > 1 && answer.is_ok() {
            answer = Err(WriteError::Unknown { retry_after: None, reason: reason(ReasonCode::Unknown) });
        }
        self.in_flight.push(Flight { group, batch, answer });
        true
    }

    fn answer(&mut self, which: usize) -> Health {
        self.now += STEP;
        let Flight { group, batch, answer } = self.in_flight.swap_remove(which % self.in_flight.len());
        let alone = self.in_flight.is_empty();
        let moment = Moment { now: self.now, attempts_max: ATTEMPTS_MAX, alone, is_watched: false };
        let Settled { outcomes, rejected, health, .. } =
            settle(&mut self.queue, group, batch, answer, moment);
        for (source, _) in outcomes {
            let position = source.position;
            assert!(self.written.insert(position.offset), "{position} was settled twice");
        }
        for rejected in rejected {
            let offset = rejected.operation.source.position.offset;
            assert!(
                self.dead.insert(offset) && !self.written.contains(&offset),
                "{offset} was settled twice"
            );
        }
        health
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/delivery.txt"))),
        ..ProptestConfig::with_cases(600)
    })]

    /// G3, G4 and G6: whatever is wrong with whichever records, with one or several requests in flight, every operation
    /// is settled once, only the guilty are dead-lettered, no two requests in flight share a key, and each object ends
    /// as all its good operations one after the other would have made it.
    #[test]
    fn only_the_guilty_are_dead_lettered(
        records in prop::collection::vec((0..12_u8, fault(), prop::bool::weighted(0.3)), 1..120),
        coalesces in any::<bool>(),
        in_flight_max in 1..6_usize,
        outages in prop::collection::vec(prop::bool::weighted(0.2), 0..60),
        lost in prop::collection::vec(0..40_usize, 0..3),
        order in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut lane = Lane::new(coalesces, records.iter().map(|(_, fault, _)| *fault).collect());
        let mut expected: HashMap<Key, Object> = HashMap::new();
        for (offset, (key, fault, partial)) in (0..).zip(&records) {
            let mut operation = operation(offset, *key);
            if *partial { operation.action = Action::PartialUpdate; }
            if !fault.is_guilty() {
                change(expected.entry(operation.key.clone()).or_default(), operation.action, offset);
            }
            lane.queue.push(operation, lane.now);
        }
        let total = records.len() as u64;
        let settled = |lane: &Lane| lane.written.iter().chain(&lane.dead).filter(|offset| **offset < total).count();
        let mut fresh = total;
        let (mut outages, mut order) = (outages.into_iter(), order.iter().cycle());
        while settled(&lane) < records.len() {
            prop_assert!(lane.model.requests < 3_000, "no progress: {}", lane.queue.describe());
            if lane.queue.wants_others() {
                // A suspect is only ever judged by others' success: new traffic brings them.
                lane.queue.push(operation(fresh, 100 + (fresh % 20) as u8), lane.now);
                lane.queue.push(operation(fresh + 1, 100 + (fresh % 20) as u8 + 1), lane.now);
                fresh += 2;
            }
            let which = usize::from(*order.next().unwrap());
            let is_lost = lost.contains(&lane.model.requests);
            let sent = lane.in_flight.len() < in_flight_max
                && (which % 3 > 0 || lane.in_flight.is_empty())
                && lane.send(BOUNDS, outages.next().unwrap_or(false), is_lost);
            if !sent {
                prop_assert!(!lane.in_flight.is_empty(), "nothing moves: {}", lane.queue.describe());
                lane.answer(which);
            }
        }
        while !lane.in_flight.is_empty() { lane.answer(0); }
        let guilty: BTreeSet<u64> =
            (0..).zip(&records).filter(|(_, (_, fault, _))| fault.is_guilty()).map(|(offset, _)| offset).collect();
        if coalesces {
            // One whose place was taken is never told apart.
            prop_assert!(lane.dead.is_subset(&guilty), "{:?} of {guilty:?}", lane.dead);
        } else {
            prop_assert_eq!(&lane.dead, &guilty);
        }
        let found: HashMap<_, _> =
            lane.model.objects.into_iter().filter(|(key, _)| key.object_id.len() < 3).collect();
        prop_assert_eq!(found, expected);
    }
}

/// Coalescing sends an object's newest state and counts what it replaced as superseded; if that is rejected the earlier
/// ones are sent after all, with what came after it.
#[test]
fn what_was_replaced_is_kept_until_the_verdict() {
    let faults = [Fault::None, Fault::None, Fault::Rejected, Fault::None];
    let mut lane = Lane::new(true, faults.to_vec());
    for (offset, action) in
        [(0, Action::Save), (1, Action::PartialUpdate), (2, Action::Save), (3, Action::PartialUpdate)]
    {
        lane.queue.push(Operation { action, ..operation(offset, 0) }, lane.now);
    }
    assert!(lane.send(BOUNDS, false, false));
    assert_eq!(lane.in_flight[0].batch.operations().len(), 2);
    lane.answer(0);
    assert_eq!((lane.written.len(), &lane.dead), (0, &BTreeSet::from([2])));
    assert!(lane.send(BOUNDS, false, false));
    lane.answer(0);
    assert_eq!(lane.written, BTreeSet::from([0, 1, 3]));
    assert_eq!(lane.model.objects[&operation(0, 0).key], (Some(0), [Some(3), Some(1), None]));
    assert!(lane.queue.is_empty());
}

/// A key storm: with coalescing far fewer operations are sent than came.
#[test]
fn a_hot_key_is_sent_once_a_request() {
    let mut lane = Lane::new(true, Vec::new());
    (0..1_000).for_each(|offset| lane.queue.push(operation(offset, (offset % 10) as u8), lane.now));
    let mut sent = 0;
    while lane.send(BatchBounds { operations_max: 100, ..BOUNDS }, false, false) {
        sent += lane.in_flight[0].batch.operations().len();
        lane.answer(0);
    }
    assert_eq!((sent, lane.written.len()), (10, 1_000));
}

/// A batch that is throttled while nothing else is in flight is halved the second time: some limits count bytes in
/// flight, and a larger batch would never pass.
#[test]
fn a_batch_that_is_throttled_alone_is_halved() {
    let mut lane = Lane::new(false, Vec::new());
    (0..8).for_each(|offset| lane.queue.push(operation(offset, offset as u8), lane.now));
    let throttled =
        || Err(WriteError::Throttled { retry_after: None, reason: reason(ReasonCode::Throttled) });
    let mut sizes = Vec::new();
    for _ in 0..4 {
        assert!(lane.send(BOUNDS, false, false));
        lane.in_flight[0].answer = throttled();
        sizes.push(lane.in_flight[0].batch.operations().len());
        assert!(matches!(lane.answer(0), Health::Throttles { .. }));
    }
    assert_eq!(sizes, [8, 8, 4, 4]);
    assert!(lane.dead.is_empty());
}

/// G3: an outage alone dead-letters nothing, however it shows, in hours of an injected clock.
#[test]
fn outage_dead_letters_nothing() {
    for outage in [
        WriteError::Unavailable { retry_after: None, reason: reason(ReasonCode::Unavailable) },
        WriteError::Unknown { retry_after: None, reason: reason(ReasonCode::Unknown) },
        WriteError::Throttled { retry_after: None, reason: reason(ReasonCode::Throttled) },
        WriteError::Misconfigured { scope: Scope::Destination, reason: reason(ReasonCode::Misconfigured) },
    ] {
        let mut lane = Lane::new(true, Vec::new());
        let start = lane.now;
        (0..50).for_each(|offset| lane.queue.push(operation(offset, offset as u8), lane.now));
        for round in 0..5_000 {
            while lane.in_flight.len() < 4 && lane.send(BOUNDS, true, false) {}
            let which = round % lane.in_flight.len();
            lane.in_flight[which].answer = Err(outage.clone());
            lane.answer(which);
            assert!(lane.written.is_empty() && lane.dead.is_empty(), "{outage}");
        }
        assert!(lane.now - start > Duration::from_secs(3_600));
        while !lane.in_flight.is_empty() {
            lane.answer(0);
        }
        while lane.send(BOUNDS, false, false) {
            lane.answer(0);
        }
        assert_eq!(lane.written.len(), 50, "{outage}");
    }
}

/// G5: an index that the destination refuses takes its own records into the dead letters and no others.
#[test]
fn refused_index_takes_only_its_own() {
    let mut lane = Lane::new(true, Vec::new());
    // What was replaced is of the same index.
    (0..16).for_each(|offset| lane.queue.push(operation(offset, (offset % 8) as u8), lane.now));
    assert!(lane.send(BOUNDS, true, false));
    let refusal = WriteError::Misconfigured {
        scope: Scope::Index("odd".into()),
        reason: reason(ReasonCode::Misconfigured),
    };
    lane.in_flight[0].answer = Err(refusal);
    lane.answer(0);
    assert_eq!(lane.dead, (1..16).step_by(2).collect());
    assert!(lane.send(BOUNDS, false, false));
    let again = lane.in_flight[0].batch.operations();
    assert_eq!(again.iter().map(|o| &*o.key.index).collect::<Vec<_>>(), ["even"; 4]);
}

/// G6: halving finds one bad record of a full batch in about log2(n) requests that fail.
#[test]
fn bisection_is_logarithmic() {
    let bounds = BatchBounds { operations_max: 1_000, bytes_max: 1 << 20 };
    let mut faults = vec![Fault::None; 1_000];
    faults[637] = Fault::Unnamed;
    let mut lane = Lane::new(true, faults);
    for offset in 0..1_000 {
        let mut operation = operation(offset, 0);
        operation.key.object_id = offset.to_string().into();
        lane.queue.push(operation, lane.now);
    }
    let mut attempts = 0;
    while lane.send(bounds, false, false) {
        if lane.dead.is_empty() {
            attempts = lane.in_flight[0].group.attempts + 1;
        }
        lane.answer(0);
    }
    assert_eq!(lane.dead, BTreeSet::from([637]));
    assert!(lane.model.requests <= 2 * 10 + 1, "{} requests", lane.model.requests);
    assert!((10..=11).contains(&attempts), "its letter tells of {attempts} attempts");
}

/// G9: while suspects wait for others' success, reading on is asked for only when nothing that waits could bring it.
#[test]
fn others_are_wanted_only_where_none_wait() {
    let bounds = BatchBounds { operations_max: 1, bytes_max: 1 << 20 };
    let mut lane = Lane::new(true, vec![Fault::Unknown]);
    lane.queue.push(operation(0, 0), lane.now);
    for _ in 0..2 {
        assert!(lane.send(bounds, false, false));
        lane.answer(0);
    }
    // What waits is of the suspect's own key.
    lane.queue.push(operation(1, 0), lane.now);
    assert!(lane.queue.wants_others());
    lane.queue.push(operation(2, 1), lane.now);
    assert!(!lane.queue.wants_others());
    assert!(lane.send(bounds, false, false));
    assert_eq!(lane.in_flight[0].batch.operations()[0].source.position.offset, 2);
}
