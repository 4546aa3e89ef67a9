//! Replays: dead letters that are sent again beside what comes from the log.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fakes::{
    algolia::{Fault, Poison},
    elasticsearch::{FakeElasticsearch, IndexState, Options},
};
use plugin_api::verdict::ReasonCode;
use tokio::{sync::watch, time::timeout};

use super::{
    bench::{Bench, DEADLINE, Lane, at},
    transforms::transforms,
};
use crate::{
    dead_letter::{Filter, Stage},
    delivery::replay::{Progress, Refused, Request, State, Why},
    log::interface::{self, Log as _, Totals},
    transform::Limits,
};

/// The objects of the large tests.
const LETTERS: u64 = 10_000;

impl Bench {
    /// Has the destination refuse the index `products`, or take it again.
    fn refuse_products(&self, refused: bool) {
        match &self.cluster {
            None if refused => self.fake.restrict_key(Some(&["others", "sync-agent"])),
            None => self.fake.restrict_key(None),
            Some(cluster) if refused => cluster.set_index("products", IndexState::Closed),
            Some(cluster) => cluster.open_indexes(),
        }
    }

    /// Saves objects of `products` that the destination refuses; the cursor on disk is behind them then.
    async fn dead_letter(&self, lane: &mut Lane, keys: impl IntoIterator<Item = u64>) {
        self.refuse_products(true);
        let keys: Vec<u64> = keys.into_iter().collect();
        for keys in keys.chunks(100) {
            lane.save("products", keys.iter().copied()).await;
        }
        let end = lane.log.status().end;
        lane.until("all are dead-lettered", |now| now.delivered == end).await;
        self.refuse_products(false);
        self.until_cursor(|cursor| cursor.next == end).await;
    }

    /// What the destination applied to each object of `products`, in its order: the offsets of the records.
    fn history(&self) -> HashMap<u64, Vec<u64>> {
        let applied: Vec<(String, Option<u64>)> = match &self.cluster {
            None => self.fake.journal().into_iter().map(|a| (a.object_id, a.body.as_u64())).collect(),
            Some(cluster) => {
                let sequence = |body: &serde_json::Value| body.get("sequence")?.as_u64();
                cluster.journal().into_iter().map(|a| (a.object_id, sequence(&a.body))).collect()
            }
        };
        let mut history: HashMap<u64, Vec<u64>> = HashMap::new();
        for (object_id, sequence) in applied {
            if let (Ok(key), Some(sequence)) = (object_id.parse(), sequence) {
                history.entry(key).or_default().push(sequence);
            }
        }
        history
    }
}

impl Lane {
    fn replay(&self, request: Request) -> watch::Receiver<Progress> {
        self.replays.start(request).unwrap()
    }

    /// Replays to the end, every letter or those that are asked for.
    async fn replay_all(&self, request: Request) -> Progress {
        ended(&mut self.replay(request)).await
    }
}

async fn until(
    progress: &mut watch::Receiver<Progress>,
    condition: impl FnMut(&Progress) -> bool,
) -> Progress {
    let seen = timeout(DEADLINE * 3, progress.wait_for(condition)).await;
    seen.expect("it takes too long").expect("it goes on").clone()
}

async fn ended(progress: &mut watch::Receiver<Progress>) -> Progress {
    until(progress, |now| !now.state.goes_on()).await
}

fn everything() -> Request {
    Request::default()
}

fn forced() -> Request {
    Request { force: true, ..Request::default() }
}

/// Letters are replayed while newer versions of their objects are delivered: some have been before, others come right
/// before or after their letter's turn.
async fn overwrites_nothing_newer(bench: Bench) {
    const EARLY: u64 = LETTERS / 10;
    let mut lane = bench.start_with(|settings| settings.operations_max = 100).await;
    bench.dead_letter(&mut lane, 0..LETTERS).await;
    for first in (0..EARLY).step_by(100) {
        lane.save("products", first..first + 100).await;
    }
    let end = lane.log.status().end;
    lane.until("the early ones are delivered", |now| now.delivered == end).await;

    let mut newest: HashMap<u64, u64> = (0..EARLY).map(|key| (key, LETTERS + key)).collect();
    let mut progress = lane.replay(everything());
    let mut next = EARLY;
    while next < LETTERS - 200 {
        let front = until(&mut progress, |now| now.done() >= next || !now.state.goes_on()).await.done();
        let keys: Vec<u64> = (front - 50..(front + 250).min(LETTERS)).step_by(3).collect();
        newest.extend(keys.iter().copied().zip(lane.log.status().end.offset..));
        lane.save("products", keys).await;
        next = front + 150;
    }
    let done = ended(&mut progress).await;
    let end = lane.log.status().end;
    let settled = lane.until("all is delivered", |now| now.delivered == end).await;

    assert_eq!((&done.state, done.total, done.done(), done.failed), (&State::Done, LETTERS, LETTERS, 0));
    let history = bench.history();
    let (mut overtaken, mut left_alone) = (0, 0);
    for key in 0..LETTERS {
        let applied = history.get(&key).unwrap_or_else(|| panic!("{key} was never delivered"));
        assert!(applied.is_sorted_by(|before, after| before < after), "{key}: {applied:?}");
        assert_eq!(applied.last(), Some(newest.get(&key).unwrap_or(&key)), "{key}: {applied:?}");
        if key >= EARLY && newest.contains_key(&key) {
            *(if applied[0] == key { &mut overtaken } else { &mut left_alone }) += 1;
        }
    }
    println!("{overtaken} were replayed before what is newer came, {left_alone} were not");
    assert!(overtaken > 0 && left_alone > 0, "they did not meet: the test tells nothing");
    let Totals { written, superseded, dead_lettered, skipped, gap } = settled.totals;
    assert_eq!((written + superseded, dead_lettered, skipped, gap), (end.offset - LETTERS, LETTERS, 0, 0));
    lane.stop().await;
    let left = bench.filed();
    assert_eq!(left.len() as u64, done.stale);
    assert!(left.iter().all(|filed| filed.stale));
}

/// G4: replayed letters overwrite nothing newer, not even where the destination knows no versions.
#[tokio::test]
async fn replay_overwrites_nothing_newer_without_versions() {
    overwrites_nothing_newer(Bench::new().await).await;
}

/// G4: the same where it does.
#[tokio::test]
async fn replay_overwrites_nothing_newer_with_versions() {
    let mut bench = Bench::new().await;
    let cluster = FakeElasticsearch::start(Options::default()).await.unwrap();
    bench.cluster = Some(Arc::new(cluster));
    overwrites_nothing_newer(bench).await;
}

/// G4: a letter waits for what is in flight of its object, and is stale then; it is listed, and stays.
#[tokio::test]
async fn a_letter_waits_for_what_is_in_flight() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.dead_letter(&mut lane, [1, 2]).await;
    bench.fake.fail_next(1, Fault::Delay(Duration::from_millis(300)));
    lane.save("products", [1]).await;
    lane.until("the newer one is in flight", |now| now.in_flight == 1).await;
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.stale, done.replayed), (1, 1), "{done:?}");
    let [left] = &done.left[..] else { panic!("{done:?}") };
    assert_eq!((&*left.object.index, &*left.object.object_id, &left.why), ("products", "1", &Why::Stale));
    assert_eq!((bench.applied("products", 1), bench.applied("products", 2)), (vec![2], vec![1]));
    lane.stop().await;
    let [filed] = &bench.filed()[..] else { panic!("one letter is left") };
    assert_eq!((filed.id, filed.stale), (left.id, true));
}

/// G4: a letter waits for what waits itself of its object, since the destination asked for a pause.
#[tokio::test]
async fn a_letter_waits_for_what_waits() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.dead_letter(&mut lane, [1]).await;
    bench.fake.fail_next(1, Fault::Throttled { retry_after: Some("1".to_owned()) });
    lane.save("products", [1]).await;
    lane.until("it is to wait", |now| now.last_error.is_some()).await;
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.stale, bench.applied("products", 1)), (1, vec![1]), "{done:?}");
}

/// G4: several letters of one object go in log order, whichever was filed first.
#[tokio::test]
async fn letters_of_one_object_keep_their_order() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 3).await;
    bench.refuse_products(true);
    for _ in 0..8 {
        lane.update("products", [7, 8]).await;
    }
    lane.until("all are dead-lettered", |now| now.totals.dead_lettered == 16).await;
    bench.refuse_products(false);
    bench.reverse_letters();
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.replayed, done.done()), (16, 16), "{done:?}");
    for key in [7, 8] {
        let applied = bench.applied("products", key);
        assert_eq!(applied, (0..8).map(|number| 2 * number + key - 7).collect::<Vec<_>>());
    }
}

/// G4: as long as the cursor on disk does not lie beyond a letter's record, something older may still be sent, after a
/// crash for one: the letter waits for it.
#[tokio::test]
async fn a_letter_waits_for_what_is_older() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    // The cursor stays before this one, so that the log keeps all of them.
    bench.fake.poison("bad", Poison::ServerError);
    lane.append("others", &[("bad", "{}")]).await;
    // More than is read at once.
    let filling = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000));
    let ids: Vec<String> = (0..1_350).map(|id| id.to_string()).collect();
    for ids in ids.chunks(9) {
        let records: Vec<_> = ids.iter().map(|id| (id.as_str(), filling.as_str())).collect();
        lane.append("others", &records).await;
    }
    let older = lane.log.status().end.offset;
    bench.fake.poison_text(&format!(r#""sequence":{}"#, older + 1), Poison::Named);
    lane.update("products", [1, 1]).await;
    let seen = lane.until("all others are settled", |now| now.totals.settled() == older + 1).await;
    assert_eq!((seen.delivered, seen.totals.dead_lettered), (at(0), 1));
    lane.stop().await;
    bench.fake.cure();
    // The agent was killed when of all these only the letter's record had an outcome.
    let before = bench.fake.journal().len();
    let totals = Totals { dead_lettered: 1, ..Totals::default() };
    let completed = vec![(older + 1, older + 2)];
    let cursor = interface::Progress { next: at(0), completed, totals, ..Default::default() };
    bench.fake.fail_next(1, Fault::Throttled { retry_after: Some("1".to_owned()) });
    let mut lane = bench.start_from(cursor, |settings| settings.operations_max = 100).await;
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.replayed, done.done()), (1, 1), "{done:?}");
    let all = lane.until("all is delivered", |now| now.delivered == at(older + 2)).await;
    assert_eq!(all.totals, Totals { written: older + 1, dead_lettered: 1, ..Totals::default() });
    let since = bench.fake.journal().into_iter().skip(before).filter(|applied| applied.index == "products");
    let since: Vec<_> = since.map(|applied| applied.body.as_u64()).collect();
    assert_eq!(since, [Some(older), Some(older + 1)]);
}

/// G3: a replay moves neither the totals nor the cursor, and what it wrote is gone from the letters.
#[tokio::test]
async fn totals_and_cursor_stay() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    lane.save("others", [1, 2]).await;
    lane.until("they are delivered", |now| now.delivered == at(2)).await;
    bench.dead_letter(&mut lane, 0..50).await;
    let before = lane.until("it is up", |_| true).await;
    let preview = lane.replay_all(Request { dry_run: true, ..everything() }).await;
    assert_eq!((preview.total, preview.replayed, bench.letters().len()), (50, 50, 50));
    assert_eq!(bench.fake.operation_count(), 2, "nothing is sent in a dry run");
    let some = Filter { object: Some("7".into()), ..Filter::default() };
    let one = lane.replay_all(Request { filter: some, ..everything() }).await;
    assert_eq!((one.total, one.replayed, bench.letters().len()), (1, 1, 49));
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.total, done.replayed, bench.letters().len()), (49, 49, 0));
    let after = lane.until("all is visible", |now| now.visible == at(52)).await;
    assert_eq!((after.totals, after.delivered), (before.totals, at(52)));
    assert_eq!((after.totals.written, after.totals.dead_lettered), (2, 50));
    lane.stop().await;
    bench.until_cursor(|cursor| cursor.next == at(52) && cursor.totals == before.totals).await;
}

/// Letters that are rejected again stay under their ids, with the new reason and all attempts; the others are gone.
#[tokio::test]
async fn what_is_rejected_again_stays() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.dead_letter(&mut lane, 0..5).await;
    let before = bench.filed();
    bench.fake.poison("3", Poison::Named);
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.replayed, done.failed, done.done()), (4, 1, 5), "{done:?}");
    let [filed] = &bench.filed()[..] else { panic!("one letter is left") };
    assert_eq!((filed.id, filed.stale), (before[3].id, false));
    assert_eq!(filed.letter.reason.code, ReasonCode::TooLarge);
    assert!(filed.letter.attempts > before[3].letter.attempts, "{filed:?}");
    assert!(matches!(&done.left[..], [left] if matches!(&left.why, Why::Failed(_)) && left.id == filed.id));
    let all = lane.until("it is up", |_| true).await;
    assert_eq!(all.totals.dead_lettered, 5);
}

/// G5: however many letters are replayed, what comes from the log waits for a few batches of them at most.
#[tokio::test]
async fn live_records_hardly_wait() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 20).await;
    bench.dead_letter(&mut lane, 0..1_000).await;
    bench.fake.fail_all(Fault::Delay(Duration::from_millis(20)));
    let mut progress = lane.replay(everything());
    until(&mut progress, |now| now.replayed > 0).await;
    let before = bench.fake.journal().len();
    lane.save("others", [1]).await;
    lane.until("it is delivered", |now| now.totals.written == 1).await;
    assert_eq!(progress.borrow().state, State::Running);
    let place = bench.fake.journal().iter().position(|applied| applied.index == "others").unwrap();
    assert!(place < before + 300, "{} letters were sent before it", place - before);
}

/// A replay that nobody watches any more ends, and what it sent is seen through; the next one does the rest.
#[tokio::test]
async fn interrupted_and_repeated() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 20).await;
    bench.dead_letter(&mut lane, 0..2_000).await;
    let mut first = lane.replay(everything());
    until(&mut first, |now| now.replayed > 0).await;
    drop(first);
    let mut second = lane.replay(everything());
    assert_eq!(lane.replays.start(everything()).err(), Some(Refused::Busy));
    let begun = until(&mut second, |now| now.total > 0).await;
    assert!(begun.total < 2_000, "the first one did nothing: {begun:?}");
    let done = ended(&mut second).await;
    assert_eq!((done.state, done.replayed), (State::Done, begun.total));
    assert_eq!(bench.letters().len(), 0);
    let history = bench.history();
    for key in 0..2_000 {
        assert_eq!(history[&key], [key], "{key}");
    }
    let nothing = lane.replay_all(everything()).await;
    assert_eq!((nothing.state, nothing.total), (State::Done, 0));
}

/// An agent that is killed between a letter's sending and its deletion sends it again when it is asked to, unless
/// something newer was delivered meanwhile; no letter is lost (G3, G4).
#[tokio::test]
async fn a_crash_in_the_middle() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 100).await;
    bench.dead_letter(&mut lane, 0..1_000).await;
    bench.fake.fail_next(3, Fault::Delay(Duration::from_millis(1)));
    bench.fake.fail_all(Fault::CutAfterApplying);
    let before = bench.fake.write_count();
    let mut progress = lane.replay(everything());
    until(&mut progress, |now| now.replayed >= 300).await;
    lane.until_true("more is sent in vain", || bench.fake.write_count() >= before + 5).await;
    let crashed = bench.crash();
    drop(lane);
    crashed.fake.recover();
    let left = crashed.filed();
    assert_eq!(left.len(), 700, "those of three requests are gone");
    let repeated: Vec<u64> =
        left.iter().map(|filed| filed.letter.record.key.object_id.parse().unwrap()).collect();

    let mut lane = crashed.start().await;
    let applied = crashed.history();
    let sent_before = repeated.iter().find(|key| applied.contains_key(key));
    let newer = *sent_before.expect("one was sent and is still a letter");
    lane.save("products", [newer]).await;
    lane.until("something newer is delivered", |now| now.delivered == at(1_001)).await;
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.stale, done.replayed), (1, repeated.len() as u64 - 1), "{done:?}");
    let history = crashed.history();
    for key in (0..1_000).filter(|key| *key != newer) {
        let applied = &history[&key];
        assert!(applied.iter().all(|sequence| *sequence == key), "{key}: {applied:?}");
    }
    assert_eq!(history[&newer].last(), Some(&1_000));
    assert!(
        repeated.iter().any(|key| history[key].len() > 1),
        "nothing was sent twice: the test tells nothing"
    );
}

/// G3: an agent that stops in the middle of a replay ends at once, and tells whoever watches.
#[tokio::test]
async fn a_stop_in_the_middle() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 20).await;
    bench.dead_letter(&mut lane, 0..2_000).await;
    let mut progress = lane.replay(everything());
    until(&mut progress, |now| now.replayed > 0).await;
    let mut waiting = lane.replay(everything());
    lane.stop().await;
    let end = ended(&mut progress).await;
    assert_eq!((end.state, ended(&mut waiting).await.state), (State::Interrupted, State::Interrupted));
    let left = bench.letters().len() as u64;
    assert_eq!((end.replayed, bench.history().len() as u64), (2_000 - left, 2_000 - left));
}

/// A replay passes the transform of today, whatever made the letter; what that makes of a record is new, and what it
/// cannot process stays a letter (G8: it fails closed).
#[tokio::test]
async fn todays_transform_makes_the_operations() {
    let mut bench = Bench::new().await;
    bench.transforms = Some(transforms(r#"{"behave":"fail"}"#, Limits::default()));
    let mut lane = bench.start().await;
    lane.save("products", [7, 8]).await;
    lane.until("both are dead-lettered", |now| now.totals.dead_lettered == 2).await;
    let again = lane.replay_all(everything()).await;
    assert_eq!((again.failed, bench.letters().len(), bench.fake.operation_count()), (2, 2, 0), "{again:?}");
    assert!(bench.letters().iter().all(|letter| letter.stage == Stage::Transform));
    lane.stop().await;

    bench.transforms = Some(transforms(r#"{"behave":"emit"}"#, Limits::default()));
    bench.fake.poison("7-a", Poison::Named);
    let mut lane = bench.start().await;
    let done = lane.replay_all(everything()).await;
    assert_eq!((done.replayed, done.failed), (1, 1), "{done:?}");
    let mut applied: Vec<_> = bench
        .fake
        .journal()
        .into_iter()
        .map(|applied| applied.object_id)
        .filter(|id| id != "third")
        .collect();
    applied.sort();
    assert_eq!(applied, ["7", "7-b", "8", "8-a", "8-b"]);
    let letters = bench.letters();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    let operation = letter.operation.as_ref().unwrap();
    assert_eq!((letter.stage, &*operation.key.object_id), (Stage::Delivery, "7-a"));
    assert_eq!(&letter.record.body[..], br#"{"sequence":0}"#);

    // G4: an operation of a newer record was delivered, though under other ids than the record's.
    bench.fake.cure();
    lane.save("products", [7]).await;
    lane.until("it is delivered", |now| now.delivered == at(3)).await;
    let stale = lane.replay_all(everything()).await;
    assert_eq!((stale.stale, stale.done()), (1, 1), "{stale:?}");
}

/// G4: a record whose transform failed has a letter without operations; a newer record that was delivered makes it stale,
/// even if all of its operations have other ids than the record.
#[tokio::test]
async fn a_newer_record_makes_a_letter_stale_whatever_it_became() {
    let mut bench = Bench::new().await;
    bench.transforms = Some(transforms(r#"{"behave":"fail"}"#, Limits::default()));
    let mut lane = bench.start().await;
    lane.save("products", [7]).await;
    lane.until("it is dead-lettered", |now| now.totals.dead_lettered == 1).await;
    lane.stop().await;
    // Of the four operations, the one with the record's own id is refused.
    bench.transforms = Some(transforms(r#"{"behave":"emit"}"#, Limits::default()));
    bench.fake.poison("7", Poison::Named);
    let mut lane = bench.start().await;
    lane.save("products", [7]).await;
    lane.until("its other operations are delivered", |now| now.totals.dead_lettered == 2).await;
    bench.fake.cure();
    let oldest = Filter { stage: Some(Stage::Transform), ..Filter::default() };
    let done = lane.replay_all(Request { filter: oldest, ..everything() }).await;
    assert_eq!((done.stale, done.done()), (1, 1), "{done:?}");
}

/// A delivered delete takes the data of its object's letters with it, in the file, too; nothing is left to replay.
#[tokio::test]
async fn a_delivered_delete_purges() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.refuse_products(true);
    let secret = format!(r#"{{"sequence":0,"text":"{}","name":"Ada Lovelace"}}"#, "x".repeat(9_000));
    lane.append("products", &[("1", secret.as_str()), ("2", r#"{"sequence":1}"#)]).await;
    lane.until("both are dead-lettered", |now| now.totals.dead_lettered == 2).await;
    bench.refuse_products(false);
    assert_eq!(&bench.letters()[0].record.body[..], secret.as_bytes());
    lane.delete("products", [1]).await;
    lane.until("the delete is delivered", |now| now.delivered == at(3)).await;
    let done = lane.replay_all(forced()).await;
    assert_eq!((done.purged, done.replayed), (1, 1), "{done:?}");
    assert_eq!(bench.fake.objects("products").len(), 1, "the object is not back");
    lane.stop().await;
    let [filed] = &bench.filed()[..] else { panic!("the letter itself stays") };
    assert_eq!((filed.purged, filed.stale, filed.letter.record.body.len()), (true, true, 0));
    let is_secret = |bytes: &[u8]| bytes == b"Ada Lovelace";
    assert!(!bench.letters_file().windows(12).any(is_secret), "it is still in the file");
}

/// Only who insists overwrites what is newer.
#[tokio::test]
async fn a_forced_replay_overwrites() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.dead_letter(&mut lane, [1]).await;
    lane.save("products", [1]).await;
    lane.until("something newer is delivered", |now| now.delivered == at(2)).await;
    let kept = lane.replay_all(everything()).await;
    assert_eq!((kept.stale, bench.applied("products", 1)), (1, vec![1]), "{kept:?}");
    let done = lane.replay_all(forced()).await;
    assert_eq!((done.replayed, bench.applied("products", 1)), (1, vec![1, 0]), "{done:?}");
}
