//! The store on real files: what is there after a commit, a second filing, a crash; who may read it; what is refused.

mod bounds;
mod replay;
mod stale;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Key, Operation, Source},
    verdict::{Reason, ReasonCode},
};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    Bounds, Cause, Change, Filed, Filter, Letter, LetterId, Order, Range, Stage, Store, StoreError, View,
    record_range, store_path,
};

const LOG: LogId = LogId(Uuid::from_u128(7));

fn letter(offset: u64) -> Letter {
    Letter {
        source: Source {
            log_id: LOG,
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::from_u128(8)),
            accepted_at: Timestamp(1_795_446_000_000_000),
            caller: None,
        },
        version: Version(1_795_446_000_000_000 + offset),
        record: Change {
            action: Action::Save,
            key: Key { index: "products".into(), object_id: format!("object-{offset}").into() },
            body: Bytes::from(format!(r#"{{"n":{offset}}}"#)),
        },
        operation: None,
        module: None,
        stage: Stage::Delivery,
        reason: Reason::new(ReasonCode::Rejected, "record is too odd").with_status(400),
        attempts: 1,
        dead_lettered_at: Timestamp(1_795_446_001_000_000 + offset),
    }
}

fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = store_path(dir.path(), "search");
    (dir, path)
}

fn read(path: &std::path::Path, filter: Filter, order: Order) -> Vec<Filed> {
    View::open(path).unwrap().letters(filter, order).map(Result::unwrap).collect()
}

fn offsets(letters: &[Filed]) -> Vec<u64> {
    letters.iter().map(|filed| filed.letter.source.position.offset).collect()
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every field comes back, with and without an operation, with every word there is; ids count from 1.
#[tokio::test]
async fn keeps_everything() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let mut letters = Vec::new();
    for (number, code) in ReasonCode::ALL.into_iter().enumerate() {
        let mut letter = letter(number as u64);
        letter.reason =
            Reason { code, status: (number % 2 == 0).then_some(500), message: "ümläut \0".into() };
        letter.stage = Stage::ALL[number % 3];
        letter.record.action = Action::ALL[number % 4];
        letter.source.number = number as u32;
        letter.source.position.partition = 63;
        letter.operation = (number % 2 == 1).then(|| Change {
            action: Action::Delete,
            key: Key { index: "other".into(), object_id: "x".into() },
            body: Bytes::new(),
        });
        letter.module = (number % 3 == 0).then_some([number as u8; 32]);
        letter.source.caller = (number % 4 == 0).then(|| format!("spiffe://mesh/{number}").into());
        letters.push(letter);
    }
    store.file(letters.clone()).await.unwrap();
    store.close().await.unwrap();

    let found = read(&path, Filter::default(), Order::OldestFirst);
    let ids: Vec<u64> = found.iter().map(|filed| filed.id.0).collect();
    assert_eq!(ids, (1..=ReasonCode::ALL.len() as u64).collect::<Vec<_>>());
    assert!(found.iter().all(|filed| !filed.stale));
    let found: Vec<Letter> = found.into_iter().map(|filed| filed.letter).collect();
    assert_eq!(format!("{found:#?}"), format!("{letters:#?}"));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

/// After a crash the same letters are filed again, perhaps with another reason: no count changes, the id and the
/// stale mark stay (G3).
#[tokio::test]
async fn files_a_letter_once() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    store.file(vec![letter(1), letter(2)]).await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE letters SET stale = 1 WHERE id = 1", []).unwrap();
    let mut again = letter(1);
    again.reason = Reason::new(ReasonCode::TooLarge, "now too large");
    again.attempts = 5;
    let mut other_number = letter(1);
    other_number.source.number = 1;
    let mut other_log = letter(1);
    other_log.source.log_id = LogId(Uuid::from_u128(99));
    store.file(vec![again, other_number, other_log, letter(2)]).await.unwrap();

    assert_eq!(store.count().await.unwrap(), 4);
    let view = View::open(&path).unwrap();
    let first = view.get(LetterId(1)).unwrap().unwrap();
    assert!(first.stale);
    assert_eq!(first.letter.reason, Reason::new(ReasonCode::TooLarge, "now too large"));
    assert_eq!(first.letter.attempts, 5);
    assert_eq!(view.get(LetterId(2)).unwrap().unwrap().letter.source.position.offset, 2);
    assert!(view.get(LetterId(1000)).unwrap().is_none());
}

/// Once `file` has returned, the letters survive the agent: a copy of the files as they lie there, with the store
/// still open, holds them all (G3: the cursor may pass).
#[tokio::test]
async fn a_filed_letter_is_in_the_files() {
    let (dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    for offset in 0..20 {
        store.file(vec![letter(offset)]).await.unwrap();
    }
    let copy = store_path(dir.path(), "copy");
    for suffix in ["", "-wal"] {
        fs::copy(format!("{}{suffix}", path.display()), format!("{}{suffix}", copy.display())).unwrap();
    }
    assert_eq!(
        read(&copy, Filter::default(), Order::OldestFirst).len(),
        20,
        "a reader needs no agent for it"
    );
    let recovered = Store::open(&copy, Bounds::default()).unwrap();
    assert_eq!(recovered.count().await.unwrap(), 20);
    assert_eq!(recovered.newest_position(LOG).await.unwrap(), Some(Position { partition: 0, offset: 19 }));
    let synchronous = store
        .call(|connection| connection.pragma_query_value(None, "synchronous", |row| row.get::<_, u32>(0)));
    assert_eq!(synchronous.await.unwrap(), 2, "2 is FULL: the write-ahead log is synced at each commit");
}

/// One letter that cannot be filed leaves none of its call behind, and the store goes on.
#[tokio::test]
async fn files_all_or_none() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let mut impossible = letter(2);
    impossible.version = Version(u64::MAX);
    assert!(matches!(store.file(vec![letter(1), impossible]).await, Err(StoreError::Sqlite { .. })));
    assert_eq!(store.count().await.unwrap(), 0);
    store.file(vec![letter(1)]).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
}

/// A disk without space is told from other errors, costs nothing that was filed, and heals (SQLite's own limit on
/// pages stands in for the disk: the code path and the answer are the same).
#[tokio::test]
async fn a_full_disk_heals() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    store.file(vec![letter(0)]).await.unwrap();
    let pages =
        |max: u32| store.call(move |connection| connection.pragma_update(None, "max_page_count", max));
    pages(10).await.unwrap();
    let many: Vec<Letter> = (1..2000).map(letter).collect();
    assert!(matches!(store.file(many.clone()).await, Err(StoreError::NoSpace { .. })));
    assert_eq!(store.count().await.unwrap(), 1);
    pages(u32::MAX).await.unwrap();
    store.file(many).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 2000);
    assert!(store.bytes().await.unwrap() > 2000 * 100);
}

/// The newest position is of the log that is asked for.
#[tokio::test]
async fn knows_the_newest_position_of_each_log() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(store.newest_position(LOG).await.unwrap(), None);
    let mut foreign = letter(1_000_000);
    foreign.source.log_id = LogId(Uuid::from_u128(1));
    let mut partition = letter(3);
    partition.source.position.partition = 2;
    store.file(vec![letter(500), foreign, letter(4)]).await.unwrap();
    assert_eq!(store.newest_position(LOG).await.unwrap(), Some(Position { partition: 0, offset: 500 }));
    store.file(vec![partition]).await.unwrap();
    assert_eq!(store.newest_position(LOG).await.unwrap(), Some(Position { partition: 2, offset: 3 }));
}

/// Filters one by one and together, both orders, over more than one page, while the agent files on.
#[tokio::test]
async fn a_view_reads_beside_the_store() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let letters = (0..100).map(|offset| {
        let mut letter = letter(offset);
        if offset % 10 == 3 {
            letter.reason.code = ReasonCode::TooLarge;
        }
        if offset % 10 == 4 {
            letter.operation = Some(Change {
                key: Key { index: "mirror".into(), ..letter.record.key.clone() },
                ..letter.record.clone()
            });
        }
        letter
    });
    store.file(letters.collect()).await.unwrap();

    let all = Filter::default();
    assert_eq!(offsets(&read(&path, all.clone(), Order::OldestFirst)), (0..100).collect::<Vec<_>>());
    assert_eq!(offsets(&read(&path, all.clone(), Order::NewestFirst)), (0..100).rev().collect::<Vec<_>>());
    let limited = Filter { limit: Some(20), ..all.clone() };
    assert_eq!(offsets(&read(&path, limited, Order::NewestFirst)), (80..100).rev().collect::<Vec<_>>());
    let large = Filter { reason: Some(ReasonCode::TooLarge), limit: Some(2), ..all.clone() };
    assert_eq!(offsets(&read(&path, large, Order::NewestFirst)), [93, 83]);
    let mirror = Filter { index: Some("mirror".into()), ..all.clone() };
    assert_eq!(
        offsets(&read(&path, mirror, Order::OldestFirst)),
        (0..10).map(|n| n * 10 + 4).collect::<Vec<_>>()
    );
    let products = Filter { index: Some("products".into()), ..all.clone() };
    assert_eq!(read(&path, products, Order::OldestFirst).len(), 100);
    let since = Filter { since: Some(letter(97).dead_lettered_at), ..all.clone() };
    assert_eq!(offsets(&read(&path, since, Order::OldestFirst)), [97, 98, 99]);

    let view = View::open(&path).unwrap();
    let mut reading = view.letters(all, Order::OldestFirst);
    assert_eq!(reading.next().unwrap().unwrap().letter.source.position.offset, 0);
    store.file((100..130).map(letter).collect()).await.unwrap();
    assert_eq!(reading.count(), 129, "what is filed while reading is read, too");
}

/// A store of a newer agent, of another program, a damaged one and one that is no database: each is refused with its
/// path, none is changed.
#[tokio::test]
async fn refuses_what_it_does_not_understand() {
    let (_dir, path) = place();
    Store::open(&path, Bounds::default()).unwrap().close().await.unwrap();
    let refused = |expected: &str| {
        let before = fs::read(&path).unwrap();
        for error in [Store::open(&path, Bounds::default()).unwrap_err(), View::open(&path).unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains("search.sqlite"), "{text}");
        }
        assert!(fs::read(&path).unwrap() == before, "a refused file was changed");
    };
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 6).unwrap();
    refused("have format 6, this agent reads up to 5");
    Connection::open(&path).unwrap().pragma_update(None, "application_id", 1).unwrap();
    refused("not of dead letters");
    fs::write(&path, vec![b'x'; 8192]).unwrap();
    refused("damaged");
}

/// A page in the middle is overwritten: reading and filing report damage, nothing panics.
#[tokio::test]
async fn reports_damage() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    store.file((0..2000).map(letter).collect()).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The second page is the root of `letters`.
    bytes[4096..8192].fill(0xff);
    fs::write(&path, bytes).unwrap();

    let store = Store::open(&path, Bounds::default()).unwrap();
    assert!(matches!(store.file(vec![letter(5000)]).await, Err(StoreError::Corrupt { .. })));
    let view = View::open(&path).unwrap();
    let mut letters = view.letters(Filter::default(), Order::OldestFirst);
    assert!(matches!(letters.next(), Some(Err(StoreError::Corrupt { .. }))));
    assert!(letters.next().is_none());
}

/// A word of a newer agent is named, not guessed.
#[tokio::test]
async fn names_a_word_that_it_does_not_know() {
    let (_dir, path) = place();
    Store::open(&path, Bounds::default()).unwrap().file(vec![letter(1)]).await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE letters SET reason = 'moon_phase'", []).unwrap();
    let error = View::open(&path).unwrap().get(LetterId(1)).unwrap_err();
    assert!(error.to_string().contains(r#"reason "moon_phase" is not known"#), "{error}");
}

/// No store yet: the error says which file is missing, and no file appears.
#[test]
fn a_view_creates_nothing() {
    let (_dir, path) = place();
    assert!(matches!(View::open(&path), Err(StoreError::Open { .. })));
    assert!(!path.exists());
}

/// Fifty thousand letters, as a wrong mapping makes them at once.
#[tokio::test]
async fn files_many_letters() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let body = Bytes::from(format!(r#"{{"text":"{}"}}"#, "x".repeat(600)));
    let letters = (0..50_000).map(|offset| {
        let mut letter = letter(offset);
        letter.record.body = body.clone();
        letter
    });
    let letters: Vec<Letter> = letters.collect();
    store.file(letters).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 50_000);
}

fn range(first: u64, end: u64, index: Option<&str>) -> Range {
    Range {
        log_id: LOG,
        first: Position { partition: 0, offset: first },
        end: Position { partition: 0, offset: end },
        index: index.map(Into::into),
        records: end - first,
        cause: Cause::Rotten,
        message: "00000000000000000000.seg: rotten at byte 4096".into(),
        recorded_at: Timestamp(1_795_446_002_000_000 + first),
    }
}

/// What an operator passed over in a stopped agent's log is in the store, once however often it is recorded, and counts
/// for the newest position (G3).
#[tokio::test]
async fn records_a_range_once() {
    let (_dir, path) = place();
    let unknown = range(10, 20, None);
    record_range(&path, &range(10, 15, None)).unwrap();
    record_range(&path, &unknown).unwrap();
    record_range(&path, &unknown).unwrap();
    record_range(&path, &range(10, 12, Some("products"))).unwrap();
    record_range(&path, &Range { cause: Cause::DeadLettersFull, ..range(10, 12, Some("other")) }).unwrap();

    let store = Store::open(&path, Bounds::default()).unwrap();
    store.file(vec![letter(15)]).await.unwrap();
    assert_eq!(store.newest_position(LOG).await.unwrap(), Some(Position { partition: 0, offset: 19 }));
    store.file(vec![letter(25)]).await.unwrap();
    assert_eq!(store.newest_position(LOG).await.unwrap(), Some(Position { partition: 0, offset: 25 }));

    let view = View::open(&path).unwrap();
    let all = view.ranges(&Filter::default(), Order::OldestFirst).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], unknown);
    let of_products = Filter { index: Some("products".into()), ..Filter::default() };
    let found = view.ranges(&of_products, Order::NewestFirst).unwrap();
    assert_eq!(found, [range(10, 12, Some("products")), unknown]);
    let of_reason = Filter { reason: Some(ReasonCode::Rejected), ..Filter::default() };
    assert_eq!(view.ranges(&of_reason, Order::OldestFirst).unwrap(), []);
    let newest = Filter { limit: Some(1), ..Filter::default() };
    assert_eq!(view.ranges(&newest, Order::NewestFirst).unwrap()[0].index.as_deref(), Some("other"));
}

/// A file of format 1 is read as it is by a view, and brought up to date by a store: its letters are all there and are
/// counted.
#[tokio::test]
async fn brings_an_older_store_up_to_date() {
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("tests/format_1.sql")).unwrap();
    drop(old);

    let before = fs::read(&path).unwrap();
    assert_eq!(offsets(&read(&path, Filter::default(), Order::OldestFirst)), [1, 2]);
    let ranges = View::open(&path).unwrap().ranges(&Filter::default(), Order::OldestFirst);
    assert_eq!(ranges.unwrap(), []);
    assert!(fs::read(&path).unwrap() == before, "a reader changed the file");

    let store = Store::open(&path, Bounds::default()).unwrap();
    let letters = read(&path, Filter::default(), Order::OldestFirst);
    assert_eq!(offsets(&letters), [1, 2]);
    store.file(vec![letter(2), letter(3)]).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 3);
    let found = read(&path, Filter::default(), Order::OldestFirst);
    assert_eq!((offsets(&found), found[0].id, found[1].id), (vec![1, 2, 3], LetterId(1), LetterId(2)));
    let taken: u64 = found.iter().map(|filed| filed.letter.size()).sum();
    assert_eq!(store.usage().borrow().used, taken, "the older ones are counted");
    store.close().await.unwrap();
}

/// The same of a file of format 4, which knew no callers, and of one of format 2, which is the same but for modules: what
/// is filed from then on has its caller, which counts.
#[tokio::test]
async fn letters_without_callers_stay_so() {
    for format in [2, 4] {
        let (_dir, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let old = Connection::open(&path).unwrap();
        old.execute_batch(include_str!("tests/format_4.sql")).unwrap();
        if format == 2 {
            old.execute_batch("ALTER TABLE letters DROP COLUMN module; PRAGMA user_version = 2").unwrap();
        }
        drop(old);
        let callers = || {
            let letters = read(&path, Filter::default(), Order::OldestFirst);
            letters.into_iter().map(|filed| filed.letter.source.caller).collect::<Vec<_>>()
        };
        assert_eq!(callers(), [None, None], "a reader shows it as it is");
        let store = Store::open(&path, Bounds::default()).unwrap();
        let mut of_caller = letter(3);
        of_caller.source.caller = Some("shop".repeat(100).into());
        store.file(vec![letter(2), of_caller.clone()]).await.unwrap();
        assert_eq!(callers(), [None, None, of_caller.source.caller.clone()]);
        let letters = read(&path, Filter::default(), Order::OldestFirst);
        assert_eq!(letters[0].letter.module.is_some(), format == 4);
        let taken: u64 = letters.iter().map(|filed| filed.letter.size()).sum();
        assert_eq!(store.usage().borrow().used, taken);
        store.close().await.unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute("DELETE FROM letters WHERE caller IS NOT NULL", []).unwrap();
        let left =
            connection.query_row("SELECT sum(bytes) FROM usage", [], |row| row.get::<_, u64>(0)).unwrap();
        assert_eq!(left, taken - of_caller.size(), "it is counted whoever changes it");
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        assert_eq!(version, Ok(5));
    }
}
