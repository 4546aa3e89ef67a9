//! What letters may take: the budget, one index that takes half of it, and age.

use std::time::Duration;

use super::*;
use crate::dead_letter::{Fate, IndexFull, Usage};

/// A letter that counts for exactly ten thousand bytes.
fn large(index: &str, offset: u64) -> Letter {
    let mut letter = letter(offset);
    letter.record.key = Key { index: index.into(), object_id: format!("{offset:04}").into() };
    letter.record.body = Bytes::new();
    let rest = 10_000 - letter.size() as usize;
    letter.record.body = Bytes::from("x".repeat(rest));
    letter
}

fn many(index: &str, offsets: std::ops::Range<u64>) -> Vec<Letter> {
    offsets.map(|offset| large(index, offset)).collect()
}

/// A budget of a hundred large letters.
fn bounds(index_full: IndexFull) -> Bounds {
    Bounds { bytes_max: 1_000_000, age_max: None, index_full }
}

fn used(store: &Store) -> u64 {
    store.usage().borrow().used
}

fn full_indexes(store: &Store) -> Vec<String> {
    store.usage().borrow().full_indexes.iter().map(|(index, _)| index.to_string()).collect()
}

/// As an operator deletes letters with a shell of SQLite's own while the agent runs.
fn delete(path: &std::path::Path, condition: &str) {
    execute(path, &format!("DELETE FROM letters WHERE {condition}"));
}

fn execute(path: &std::path::Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// What a letter counts for is the same sum in Rust and in SQL, whatever is in it, stays true through a second filing, a
/// deletion and a restart, and is near what the file takes.
#[tokio::test]
async fn letters_are_counted_as_they_are() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let mut odd = letter(1);
    odd.record.key = Key { index: "prödukte".into(), object_id: "名".into() };
    odd.reason.message = "ümläut".into();
    odd.operation = Some(Change {
        action: Action::Save,
        key: Key { index: "mirror \0".into(), object_id: "😀".into() },
        body: Bytes::from_static(b"{\"a\":1}"),
    });
    store.file(vec![odd.clone(), letter(2)]).await.unwrap();
    assert_eq!(used(&store), odd.size() + letter(2).size());
    odd.reason.message = "a longer message than before".into();
    store.file(vec![odd.clone(), odd.clone()]).await.unwrap();
    assert_eq!(used(&store), odd.size() + letter(2).size());
    execute(&path, "DELETE FROM letters WHERE offset = 2");
    execute(&path, "UPDATE letters SET record_index = 'products', message = ''");
    (odd.record.key.index, odd.reason.message) = ("products".into(), String::new());
    store.expire(Timestamp(0)).await.unwrap();
    assert_eq!(used(&store), odd.size());

    let bodies = (10..3_000).map(|offset| Letter {
        record: Change { body: Bytes::from(vec![b'x'; 600]), ..letter(offset).record },
        ..letter(offset)
    });
    store.file(bodies.collect()).await.unwrap();
    let (counted, on_disk) = (used(&store), store.bytes().await.unwrap());
    assert!(
        counted > on_disk * 8 / 10 && counted < on_disk * 12 / 10,
        "{counted} counted, {on_disk} on disk"
    );
    store.close().await.unwrap();
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(used(&store), counted);
}

/// Letters beyond the budget are refused whole, with what is used and what to do; what is there may be filed again, and
/// once an operator has deleted some there is room, without a restart.
#[tokio::test]
async fn the_budget_refuses_and_frees() {
    let (_dir, path) = place();
    let store = Store::open(&path, bounds(IndexFull::Refuse)).unwrap();
    store.file(many("a", 0..40)).await.unwrap();
    store.file(many("b", 40..80)).await.unwrap();
    let error = store.file(many("c", 80..101)).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { used: 800_000, budget: 1_000_000, .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("destination search use 800000 bytes of their budget of 1000000"), "{told}");
    assert!(told.contains("destinations.search.dead_letters.bytes_max"), "{told}");
    assert_eq!((store.count().await.unwrap(), used(&store)), (80, 800_000));

    store.file(many("c", 80..100)).await.unwrap();
    assert!(matches!(store.file(vec![letter(100)]).await, Err(StoreError::Full { .. })));
    store.file(many("a", 0..40)).await.unwrap();
    delete(&path, "record_index = 'b'");
    store.file(vec![letter(100)]).await.unwrap();
    assert_eq!((store.count().await.unwrap(), used(&store)), (61, 600_000 + letter(100).size()));
}

/// A record that is larger than the whole budget does not hold its destination for ever.
#[tokio::test]
async fn an_empty_store_takes_one_letter_of_any_size() {
    let (_dir, path) = place();
    let tiny = Bounds { bytes_max: 1_000, ..bounds(IndexFull::Refuse) };
    let store = Store::open(&path, tiny).unwrap();
    store.file(vec![large("a", 1)]).await.unwrap();
    assert!(matches!(store.file(vec![large("a", 2)]).await, Err(StoreError::Full { .. })));
    delete(&path, "true");
    store.file(vec![large("a", 2)]).await.unwrap();
}

/// Where ingest refuses an index that fills half of the budget, its letters are kept all the same, and it is known by its
/// name until it is well below.
#[tokio::test]
async fn an_index_that_fills_half_is_named() {
    let (_dir, path) = place();
    let store = Store::open(&path, bounds(IndexFull::Refuse)).unwrap();
    store.file(many("a", 0..49)).await.unwrap();
    assert_eq!(full_indexes(&store), [""; 0]);
    let fates = store.file([many("b", 49..50), many("a", 50..52)].concat()).await.unwrap();
    assert_eq!((fates, full_indexes(&store)), (vec![Fate::Kept; 3], vec!["a".to_owned()]));
    let expected = Usage { used: 520_000, budget: 1_000_000, full_indexes: vec![("a".into(), 510_000)] };
    assert_eq!(*store.usage().borrow(), expected);
    store.close().await.unwrap();

    let store = Store::open(&path, bounds(IndexFull::Refuse)).unwrap();
    assert_eq!(full_indexes(&store), ["a"], "a restart does not forget it");
    delete(&path, "offset < 5");
    store.expire(Timestamp(0)).await.unwrap();
    assert_eq!(full_indexes(&store), ["a"], "46 % is not yet well below half");
    delete(&path, "offset < 8");
    store.expire(Timestamp(0)).await.unwrap();
    assert_eq!(full_indexes(&store), [""; 0]);
}

/// Where such an index is left behind instead, each further record of it is counted in a range, once, and nothing of the
/// others' is (G3).
#[tokio::test]
async fn an_index_that_fills_half_becomes_a_gap() {
    let (_dir, path) = place();
    let store = Store::open(&path, bounds(IndexFull::Gap)).unwrap();
    store.file(many("a", 0..48)).await.unwrap();
    let fates = store.file(many("a", 48..54)).await.unwrap();
    let (kept, gap) = (vec![Fate::Kept; 2], vec![Fate::Gap; 4]);
    assert_eq!(fates, [kept.clone(), gap.clone()].concat(), "the one that reaches half is the last");
    // Another index, a letter that is there, a record that lies in the range, and a new one.
    let again = [many("b", 60..61), many("a", 47..48), many("a", 53..55)].concat();
    assert_eq!(store.file(again).await.unwrap(), [kept, gap[..2].to_vec()].concat());
    assert_eq!(store.file(many("a", 70..71)).await.unwrap(), gap[..1]);
    assert_eq!((store.count().await.unwrap(), used(&store)), (51, 510_000));

    let ranges = View::open(&path).unwrap().ranges(&Filter::default(), Order::OldestFirst).unwrap();
    let told: Vec<_> = ranges.iter().map(|r| (r.first.offset, r.end.offset, r.records)).collect();
    assert_eq!(told, [(50, 55, 5), (70, 71, 1)]);
    let first = &ranges[0];
    assert_eq!((first.index.as_deref(), first.cause, first.log_id), (Some("a"), Cause::DeadLettersFull, LOG));
    assert_eq!(first.message, "rejected (400): record is too odd");

    delete(&path, "offset < 10");
    assert_eq!(store.file(many("a", 80..81)).await.unwrap(), [Fate::Kept], "it goes on once there is room");
}

/// Of interleaved indexes each record would be a range of its own: those that no record can join any more become one for
/// each index and hour, and none is counted twice or lost.
#[tokio::test]
async fn ranges_below_the_cursor_are_merged() {
    let (_dir, path) = place();
    let store = Store::open(&path, Bounds { bytes_max: 1_000, ..bounds(IndexFull::Gap) }).unwrap();
    store.file(vec![large("a", 0), large("b", 1)]).await.unwrap_err();
    store.file(vec![large("a", 0)]).await.unwrap();
    let hour = 3_600_000_000;
    let gap = |index: &str, offset: u64, hours: u64| {
        let mut letter = large(index, offset);
        letter.dead_lettered_at = Timestamp(hour * (500_000 + hours));
        letter
    };
    let later = (100..104).step_by(2).map(|offset| gap("a", offset, 1));
    let letters = (10..50).step_by(2).map(|offset| gap("a", offset, 0)).chain(later);
    store.file(letters.collect()).await.unwrap();
    record_range(&path, &range(10, 20, None)).unwrap();
    let ranges = || {
        let ranges = View::open(&path).unwrap().ranges(&Filter::default(), Order::OldestFirst).unwrap();
        let told = |r: Range| (r.index.is_some(), r.first.offset, r.end.offset, r.records);
        ranges.into_iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(ranges().len(), 20 + 2 + 1);
    let below = |offset| Position { partition: 0, offset };
    store.merge_ranges(LogId(Uuid::from_u128(1)), below(1_000)).await.unwrap();
    assert_eq!(ranges().len(), 20 + 2 + 1, "another log's are not touched");
    store.merge_ranges(LOG, below(45)).await.unwrap();
    let expected = [
        (true, 10, 45, 18),
        (true, 46, 47, 1),
        (true, 48, 49, 1),
        (true, 100, 101, 1),
        (true, 102, 103, 1),
        (false, 10, 20, 10),
    ];
    assert_eq!(ranges(), expected);
    store.merge_ranges(LOG, below(1_000)).await.unwrap();
    assert_eq!(ranges(), [(true, 10, 49, 20), (true, 100, 103, 2), (false, 10, 20, 10)]);
}

/// Letters that are too old go, the oldest first, a bounded number at a time, and are told by index; the others and
/// their ids stay.
#[tokio::test]
async fn old_letters_expire() {
    let (_dir, path) = place();
    let day = 86_400_000_000;
    let bounds = Bounds { age_max: Some(Duration::from_secs(86_400)), ..Bounds::default() };
    let store = Store::open(&path, bounds).unwrap();
    // Filed newest first, so that neither ids nor positions tell the age; `letter` is an offset in microseconds old.
    let letters = (0..1_200).rev().map(|offset| {
        let mut letter = letter(offset);
        letter.record.key.index = if offset % 3 == 0 { "a" } else { "b" }.into();
        letter
    });
    store.file(letters.collect()).await.unwrap();
    let newest_that_goes = letter(800).dead_lettered_at;
    let now = Timestamp(newest_that_goes.0 + day + 1);
    let mut expired = std::collections::BTreeMap::new();
    let mut batches = Vec::new();
    loop {
        let batch = store.expire(now).await.unwrap();
        if batch.is_empty() {
            break;
        }
        batches.push(batch.iter().map(|(_, count)| count).sum::<u64>());
        if batches.len() == 1 {
            let mut left = offsets(&read(&path, Filter::default(), Order::OldestFirst));
            left.sort_unstable();
            assert_eq!(left, (500..1_200).collect::<Vec<_>>(), "the oldest first");
        }
        for (index, count) in batch {
            *expired.entry(index.to_string()).or_insert(0) += count;
        }
    }
    assert_eq!(batches, [500, 301]);
    assert_eq!(expired, [("a".to_owned(), 267), ("b".to_owned(), 534)].into());
    let left = read(&path, Filter::default(), Order::OldestFirst);
    assert_eq!(offsets(&left), (801..1_200).rev().collect::<Vec<_>>());
    assert_eq!(used(&store), left.iter().map(|filed| filed.letter.size()).sum::<u64>());
    store.close().await.unwrap();

    let store = Store::open(&path, Bounds { age_max: None, ..bounds }).unwrap();
    assert_eq!(store.expire(Timestamp(u64::MAX >> 1)).await.unwrap(), [], "without an age none goes");
    assert_eq!(store.count().await.unwrap(), 399);
}
