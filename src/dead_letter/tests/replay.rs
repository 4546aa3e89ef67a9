//! What a replay takes from a store and tells it, what operators count and delete, and what a delete purges.

use super::*;
use crate::dead_letter::{Delivered, Group, OfRecord, Replayed, delete_letters};

fn open(path: &std::path::Path) -> Store {
    Store::open(path, Bounds::default()).unwrap()
}

fn positions(records: &[OfRecord]) -> Vec<u64> {
    records.iter().map(|record| record.letters[0].letter.source.position.offset).collect()
}

/// A letter with an operation of its own.
fn with_operation(offset: u64, index: &str, object_id: &str) -> Letter {
    let operation = Change {
        action: Action::Save,
        key: Key { index: index.into(), object_id: object_id.into() },
        body: Bytes::from_static(b"{\"made\":1}"),
    };
    Letter { operation: Some(operation), ..letter(offset) }
}

/// An operation on an object of `products` that was delivered.
fn delivered(object_id: &str, version: u64, deletes: bool) -> Delivered {
    let key = Key { index: "products".into(), object_id: object_id.into() };
    Delivered {
        key: key.clone(),
        namesake: key.clone(),
        record: key,
        version: Version(version),
        deletes,
        record_deletes: deletes,
    }
}

/// A replay sees each log's letters by position, the oldest log first, those of one record together, and nothing that was
/// filed after it began.
#[tokio::test]
async fn portions_are_in_log_order() {
    let (_dir, path) = place();
    let store = open(&path);
    let older = LogId(Uuid::from_u128(99));
    let of_older = |offset| {
        let mut letter = letter(offset);
        letter.source.log_id = older;
        letter.version = Version(offset);
        letter
    };
    let mut second = letter(3);
    second.source.number = 1;
    store.file(vec![letter(5), letter(3), of_older(7), letter(4), of_older(2), second]).await.unwrap();
    let chosen = store.choose(Filter::default()).await.unwrap();
    assert_eq!((chosen.letters, &chosen.logs[..]), (6, &[older, LOG][..]));
    store.file(vec![letter(1)]).await.unwrap();

    let read =
        async |log_id, after| store.portion(chosen.filter.clone(), log_id, after, Vec::new()).await.unwrap();
    assert_eq!(positions(&read(older, None).await), [2, 7]);
    let records = read(LOG, None).await;
    assert_eq!((positions(&records), records[0].letters.len()), (vec![3, 4, 5], 2));
    let after = Position { partition: 0, offset: 4 };
    assert_eq!(positions(&read(LOG, Some(after)).await), [5]);
    assert_eq!(positions(&read(LOG, Some(Position { offset: 5, ..after })).await), [0_u64; 0]);
}

/// A portion is bounded in letters and in bytes, and never parts the letters of a record.
#[tokio::test]
async fn portions_are_bounded() {
    let (_dir, path) = place();
    let store = open(&path);
    let numbered = |(offset, number)| {
        let mut letter = letter(offset);
        letter.source.number = number;
        letter
    };
    let letters = (0..700).flat_map(|offset| [(offset, 0), (offset, 1)]).map(numbered);
    store.file(letters.collect()).await.unwrap();
    let first = store.portion(Filter::default(), LOG, None, Vec::new()).await.unwrap();
    assert_eq!((first.len(), first.iter().all(|record| record.letters.len() == 2)), (500, true));
    let after = Some(Position { partition: 0, offset: 499 });
    assert_eq!(store.portion(Filter::default(), LOG, after, Vec::new()).await.unwrap().len(), 200);

    let large = (1_000..1_010).map(|offset| {
        let mut letter = letter(offset);
        letter.record.body = Bytes::from(vec![b'x'; 300 << 10]);
        letter
    });
    store.file(large.collect()).await.unwrap();
    let after = Some(Position { partition: 0, offset: 999 });
    assert_eq!(store.portion(Filter::default(), LOG, after, Vec::new()).await.unwrap().len(), 4);
}

/// A record is stale if any letter of it is, whichever were chosen; what was delivered is marked before anything is read.
#[tokio::test]
async fn a_portion_knows_what_is_stale() {
    let (_dir, path) = place();
    let store = open(&path);
    let mut other = with_operation(1, "mirror", "x");
    other.source.number = 1;
    store.file(vec![letter(1), other, letter(2), letter(3)]).await.unwrap();
    let mut newer = delivered("x", u64::MAX >> 1, false);
    newer.key.index = "mirror".into();
    let same_version = delivered("object-2", letter(2).version.0, false);
    let records = store.portion(
        Filter { last: Some(LetterId(1)), ..Filter::default() },
        LOG,
        None,
        vec![newer, same_version],
    );
    let records = records.await.unwrap();
    assert_eq!((records[0].stale, records[0].letters[0].stale), (true, false));
    let rest = store.portion(Filter::default(), LOG, None, Vec::new()).await.unwrap();
    assert_eq!(rest.iter().map(|record| record.stale).collect::<Vec<_>>(), [true, false, false]);
}

/// Of a record that was replayed only those letters are left that were rejected again, under their ids if they had some;
/// where these find no room, all are as they were.
#[tokio::test]
async fn what_became_of_a_record() {
    let (_dir, path) = place();
    let bounds = Bounds { bytes_max: 4 * letter(1).size(), ..Bounds::default() };
    let store = Store::open(&path, bounds).unwrap();
    let numbered = |number, message: &str| {
        let mut letter = letter(1);
        letter.source.number = number;
        letter.reason = Reason::new(ReasonCode::Rejected, message);
        letter
    };
    store.file(vec![numbered(0, ""), numbered(1, ""), letter(2)]).await.unwrap();
    let record = |offset, rejected| {
        let position = Position { partition: 0, offset };
        Replayed { log_id: LOG, position, rejected }
    };
    let too_much = numbered(3, &"x".repeat(2_000));
    let full = store.replayed(vec![record(1, vec![too_much]), record(2, vec![])]).await.unwrap();
    let left = read(&path, Filter::default(), Order::OldestFirst);
    assert_eq!((full, offsets(&left)), (1, vec![1, 1]), "what is done is gone all the same");

    let again = vec![numbered(1, "no"), numbered(2, "no")];
    assert_eq!(store.replayed(vec![record(1, again)]).await.unwrap(), 0);
    let left = read(&path, Filter::default(), Order::OldestFirst);
    let numbers: Vec<_> = left.iter().map(|filed| filed.letter.source.number).collect();
    assert_eq!((numbers, left[0].id), (vec![1, 2], LetterId(2)));
    assert!(left.iter().all(|filed| filed.letter.reason.message == "no"));
    let used: u64 = left.iter().map(|filed| filed.letter.size()).sum();
    assert_eq!(store.usage().borrow().used, used);
}

/// Letters of a deleted object that are older lose their data, those that are stale already, too; no byte of it is left in
/// the file. Letters of other objects and newer ones keep theirs.
#[tokio::test]
async fn a_delete_purges() {
    let (_dir, path) = place();
    let store = open(&path);
    let secret = |offset, object_id: &str| {
        let mut letter = letter(offset);
        letter.record.key.object_id = object_id.into();
        letter.record.body = Bytes::from(format!(r#"{{"text":"{}Ada Lovelace"}}"#, "x".repeat(20_000)));
        letter
    };
    let made = Letter { record: secret(3, "other").record, ..with_operation(3, "products", "ada") };
    let newer = secret(9, "ada");
    store.file(vec![secret(1, "ada"), secret(2, "ada"), made, newer.clone()]).await.unwrap();
    store.mark_stale(vec![delivered("ada", secret(2, "ada").version.0, false)]).await.unwrap();
    store.mark_stale(vec![delivered("ada", newer.version.0, true)]).await.unwrap();
    let found = read(&path, Filter::default(), Order::OldestFirst);
    let told: Vec<_> = found.iter().map(|filed| (filed.stale, filed.purged)).collect();
    assert_eq!(told, [(true, true), (true, true), (true, true), (false, false)]);
    assert!(found[2].letter.operation.as_ref().unwrap().body.is_empty());
    let used: u64 = found.iter().map(|filed| filed.letter.size()).sum();
    store.expire(Timestamp(0)).await.unwrap();
    store.file(Vec::new()).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(open(&path).usage().borrow().used, used, "and takes no room any more");
    let whole = fs::read(&path).unwrap();
    let left = whole.windows(12).filter(|bytes| bytes == b"Ada Lovelace").count();
    assert_eq!(left, 1, "of the newer one alone");
}

/// Every bound of a filter counts, alone and together, for whoever reads, counts or deletes.
#[tokio::test]
async fn filters_choose() {
    let (_dir, path) = place();
    let store = open(&path);
    let mut of_request = letter(2);
    of_request.source.request_id = RequestId(Uuid::from_u128(77));
    let failed = Letter { stage: Stage::Transform, ..letter(3) };
    store.file(vec![letter(1), of_request, failed, with_operation(4, "mirror", "x")]).await.unwrap();
    store.mark_stale(vec![delivered("object-1", u64::MAX >> 1, false)]).await.unwrap();
    let view = View::open(&path).unwrap();
    let chosen = |filter: Filter| {
        let found: Vec<Filed> =
            view.letters(filter.clone(), Order::OldestFirst).map(Result::unwrap).collect();
        assert_eq!(view.count(&filter).unwrap(), found.len() as u64);
        assert_eq!(view.stats(&filter).unwrap().iter().map(|g| g.letters).sum::<u64>(), found.len() as u64);
        offsets(&found)
    };
    let all = Filter::default;
    assert_eq!(chosen(Filter { object: Some("object-2".into()), ..all() }), [2]);
    assert_eq!(chosen(Filter { object: Some("x".into()), ..all() }), [4]);
    assert_eq!(chosen(Filter { request: Some(RequestId(Uuid::from_u128(77))), ..all() }), [2]);
    assert_eq!(chosen(Filter { stage: Some(Stage::Transform), ..all() }), [3]);
    assert_eq!(chosen(Filter { until: Some(letter(3).dead_lettered_at), ..all() }), [1, 2]);
    assert_eq!(chosen(Filter { first: Some(LetterId(2)), last: Some(LetterId(3)), ..all() }), [2, 3]);
    assert_eq!(chosen(Filter { stale: Some(true), ..all() }), [1]);
    assert_eq!(chosen(Filter { stale: Some(false), stage: Some(Stage::Delivery), ..all() }), [2, 4]);
}

/// Letters counted by index, stage and reason, with what they take and since when they are there.
#[tokio::test]
async fn counts_by_index_stage_and_reason() {
    let (_dir, path) = place();
    let store = open(&path);
    let mut large = letter(7);
    large.reason = Reason::new(ReasonCode::TooLarge, "too large");
    store.file(vec![letter(1), letter(5), large.clone()]).await.unwrap();
    store.mark_stale(vec![delivered("object-5", u64::MAX >> 1, false)]).await.unwrap();
    let groups = View::open(&path).unwrap().stats(&Filter::default()).unwrap();
    let expected = Group {
        index: "products".into(),
        stage: Stage::Delivery,
        reason: ReasonCode::Rejected,
        letters: 2,
        stale: 1,
        bytes: letter(1).size() + letter(5).size(),
        oldest: letter(1).dead_lettered_at,
        newest: letter(5).dead_lettered_at,
    };
    assert_eq!((groups.len(), &groups[0]), (2, &expected));
    assert_eq!((groups[1].reason, groups[1].bytes), (ReasonCode::TooLarge, large.size()));
}

/// Thousands are deleted beside a store that goes on filing: each is gone or there, what was filed meanwhile stays, and
/// the store takes note of the room.
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_deleted_beside_a_store() {
    let (_dir, path) = place();
    let store = open(&path);
    store.file((0..5_000).map(letter).collect()).await.unwrap();
    let (other, filter) = (path.clone(), Filter { index: Some("products".into()), ..Filter::default() });
    let deleting = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        let deleted = delete_letters(&other, &filter, &mut |letters| told.push(letters)).unwrap();
        (deleted, told)
    });
    let mut filed = 0;
    while !deleting.is_finished() {
        // This looks before it writes.
        let letter = letter(10_000 + filed);
        let position = letter.source.position;
        store.replayed(vec![Replayed { log_id: LOG, position, rejected: vec![letter] }]).await.unwrap();
        filed += 1;
    }
    let (deleted, told) = deleting.await.unwrap();
    assert!(deleted >= 5_000 && told.len() >= 10, "{deleted} in {} portions", told.len());
    assert_eq!(told.iter().sum::<u64>(), deleted);
    let left = read(&path, Filter::default(), Order::OldestFirst);
    assert_eq!(left.len() as u64, 5_000 + filed - deleted);
    store.expire(Timestamp(0)).await.unwrap();
    let used: u64 = left.iter().map(|filed| filed.letter.size()).sum();
    assert_eq!(store.usage().borrow().used, used);
    assert_eq!(store.delete(Filter::default()).await.unwrap(), left.len() as u64);
    assert_eq!((store.count().await.unwrap(), store.usage().borrow().used), (0, 0));
}
