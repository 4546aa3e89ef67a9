//! The search for an object, on a real log and real stores.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use plugin_api::{
    identity::{Position, Timestamp, Version},
    operation::{Action, Key, Source},
    verdict::{Reason, ReasonCode},
};
use tempfile::TempDir;

use crate::{
    admin::{Arrival, Find, FoundChange, FoundReport, Searched, find},
    dead_letter::{Bounds, Change, IndexFull, Letter, Stage, Store, store_path},
    log::{
        EmbeddedLog, Retention, Settings,
        interface::{Append, Appended, Attributes, BacklogLimit, From, Log, WhenFull},
    },
    record::PayloadWriter,
    runtime::SystemClock,
};

struct Bench {
    root: TempDir,
    log: EmbeddedLog,
}

impl Bench {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let limit = BacklogLimit { bytes_max: 64 << 10, when_full: WhenFull::Detach };
        let settings = Settings {
            dir: root.path().join("logs/default"),
            disk_bytes_max: 64 << 20,
            segment_bytes: 64 << 10,
            retention: Retention { age: Duration::from_secs(3_600), bytes_max: 64 << 20 },
            destinations: [("search".to_owned(), BacklogLimit::UNLIMITED), ("mirror".to_owned(), limit)]
                .into(),
        };
        let (log, _) = EmbeddedLog::open(settings, Arc::new(SystemClock)).unwrap();
        Self { root, log }
    }

    async fn append(&self, action: Action, index: &str, objects: &[&str], body: &[u8]) -> Appended {
        let mut payload = PayloadWriter::new(action, index, 1_024);
        for object in objects {
            let write = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(body);
                Ok::<(), ()>(())
            };
            payload.record(object, write).unwrap();
        }
        let (records, attributes) = (payload.records(), Attributes::default());
        self.log.append(Append { records, payload: payload.into_bytes(), attributes }).await.unwrap()
    }

    fn searched(&self, destination: &str, since: u64, delivered: u64) -> Searched {
        Searched {
            destination: destination.to_owned(),
            since: at(since),
            delivered: at(delivered),
            store: store_path(self.root.path(), destination),
        }
    }

    async fn find(&self, object: &str, searched: Vec<Searched>) -> FoundReport {
        let asked = Find { index: "products".to_owned(), object_id: object.to_owned() };
        find(&self.log, searched, &asked).await.unwrap()
    }
}

fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

async fn file(dir: &Path, log: &EmbeddedLog, appended: Appended, number: u64, operation: Option<&str>) {
    let bounds = Bounds { bytes_max: 1 << 20, age_max: None, index_full: IndexFull::Refuse };
    let store = Store::open(&store_path(dir, "search"), bounds).unwrap();
    let change = |object: &str| Change {
        action: Action::Save,
        key: Key { index: "products".into(), object_id: object.into() },
        body: Bytes::from_static(b"{}"),
    };
    let letter = Letter {
        source: Source {
            log_id: log.id(),
            position: appended.position.plus(number),
            number: 0,
            request_id: appended.request_id,
            accepted_at: Timestamp(0),
            caller: None,
        },
        version: Version(appended.version.0 + number),
        record: change("b"),
        operation: operation.map(change),
        module: None,
        stage: Stage::Delivery,
        reason: Reason::new(ReasonCode::Rejected, "too odd"),
        attempts: 1,
        dead_lettered_at: Timestamp(1_000_000),
    };
    store.file(vec![letter]).await.unwrap();
    store.close().await.unwrap();
}

/// What became of each change, by its offset.
fn arrivals(report: &FoundReport) -> Vec<(u64, Vec<(&str, Arrival)>)> {
    report.changes.iter().map(|found| (found.position.offset, at_each(found))).collect()
}

fn at_each(found: &FoundChange) -> Vec<(&str, Arrival)> {
    found.destinations.iter().map(|(destination, arrival)| (destination.as_str(), *arrival)).collect()
}

/// Scenario: an operator asks where an object is. Every change of it is told with its place, request and version, and for
/// each destination whether it has it; neither another object of a like name nor the same id in another index is.
#[tokio::test]
async fn every_change_is_found() {
    let bench = Bench::new();
    let first = bench.append(Action::Save, "products", &["a", "b", "bb"], b"{\"is\":\"b\"}").await;
    bench.append(Action::Save, "other", &["b"], b"{}").await;
    let last = bench.append(Action::Delete, "products", &["c", "b"], b"").await;
    file(bench.root.path(), &bench.log, first, 1, None).await;

    let searched =
        vec![bench.searched("search", 0, 6), bench.searched("late", 5, 5), bench.searched("behind", 0, 1)];
    let report = bench.find("b", searched).await;
    let expected = [
        (1, vec![("behind", Arrival::Pending), ("search", Arrival::DeadLettered)]),
        (5, vec![("behind", Arrival::Pending), ("late", Arrival::Pending), ("search", Arrival::Delivered)]),
    ];
    assert_eq!(arrivals(&report), expected);
    assert_eq!((report.oldest, report.end, report.changes_total), (at(0), at(6), 2));
    let change = &report.changes[1];
    assert_eq!((change.action.as_str(), change.request_id.clone()), ("delete", last.request_id.to_string()));
    assert_eq!(change.version, last.version.0 + 1);
    let letter = &report.letters[0];
    assert_eq!((report.letters.len(), letter.id, letter.position), (1, 1, at(1)));
    assert_eq!(letter.reason, "rejected: too odd");
    assert_eq!(report.unread, [""; 0]);

    let report = bench.find("nobody", vec![bench.searched("search", 0, 6)]).await;
    assert_eq!((report.changes_total, report.changes.len(), report.letters.len()), (0, 0, 0));
    bench.log.close().await;
}

/// An object that only a transform names so is found by its letters.
#[tokio::test]
async fn what_a_transform_named_is_found_in_the_letters() {
    let bench = Bench::new();
    let appended = bench.append(Action::Save, "products", &["a", "b"], b"{}").await;
    file(bench.root.path(), &bench.log, appended, 1, Some("b-en")).await;
    let report = bench.find("b-en", vec![bench.searched("search", 0, 2)]).await;
    assert_eq!((report.changes_total, report.letters.len()), (0, 1));
    bench.log.close().await;
}

/// Of an object that changes all the time only the newest changes are told, with the count of all.
#[tokio::test]
async fn the_answer_is_bounded() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.append(Action::Save, "products", &["b"; 50], b"{}").await;
    }
    let report = bench.find("b", vec![bench.searched("search", 0, 150)]).await;
    assert_eq!((report.changes_total, report.changes.len()), (150, 100));
    assert_eq!((report.changes[0].position, report.changes[99].position), (at(50), at(149)));
    bench.log.close().await;
}

/// Scenario: a destination was detached and went on at the log's end. What it missed in between is told as missed, though
/// its cursor has passed it.
#[tokio::test]
async fn what_lies_in_a_gap_is_missed() {
    let bench = Bench::new();
    let mut subscription = bench.log.subscribe("mirror", From::Oldest).await.unwrap();
    while !*subscription.detached.borrow_and_update() {
        bench.append(Action::Save, "products", &["b"], &[b' '; 8 << 10]).await;
    }
    let gap = bench.log.resume("mirror", From::Now).await.unwrap();
    bench.append(Action::Save, "products", &["b"], b"{}").await;
    let end = bench.log.status().end.offset;
    let report = bench.find("b", vec![bench.searched("mirror", 0, end)]).await;
    let found = arrivals(&report);
    assert!(gap.records > 0 && gap.to == at(end - 1), "{gap:?}");
    for (offset, arrivals) in &found[..found.len() - 1] {
        assert_eq!(*arrivals, [("mirror", Arrival::Missed)], "{offset}");
    }
    assert_eq!(found.last().unwrap().1, [("mirror", Arrival::Delivered)]);
    bench.log.close().await;
}
