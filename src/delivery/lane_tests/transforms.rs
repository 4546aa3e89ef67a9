//! Lanes behind transforms: real modules on real threads. Index `products` passes the one that a test chooses, all
//! others pass none.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use fakes::algolia::Poison;
use harness::guests::guest;
use plugin_api::{operation::Action, verdict::ReasonCode};
use tokio::time::timeout;

use super::bench::{Bench, DEADLINE, at};
use crate::{
    dead_letter::Stage,
    tap::{Filter, Kind},
    transform::{Engine, Limits, Module, Settings, Slot, Transforms},
};

fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::compile(&Engine::new().unwrap(), &guest("misbehaves")).unwrap())
}

/// What `products` passes: the guest that does what this config says.
pub(super) fn transforms(config: &str, limits: Limits) -> Arc<Transforms> {
    let slot = Slot::new("bend", config, limits);
    slot.swap(module().clone());
    let settings = Settings { transforms_bytes_max: 256 << 20, workers: 2, record_bytes_max: 1 << 20 };
    Transforms::start(vec![slot], &settings).unwrap()
}

async fn bench(config: &str) -> Bench {
    let mut bench = Bench::new().await;
    bench.transforms = Some(transforms(config, Limits::default()));
    bench
}

/// G8, G6, G3: a record on which its transform never ends goes to the dead letters alone, as it came; those beside it
/// pass, and an index without a transform does not wait for it.
#[tokio::test]
async fn an_endless_record_costs_itself_alone() {
    let bench = bench(r#"{"behave":"loop","only":"3"}"#).await;
    let mut lane = bench.start().await;
    lane.save("products", 0..6).await;
    lane.save("others", 0..6).await;
    let early = lane.until("the other index is delivered", |now| now.totals.written >= 6).await;
    assert_eq!((early.delivered, early.totals.dead_lettered), (at(0), 0), "nobody waited for the transform");
    let all = lane.until("all is settled", |now| now.delivered == at(12)).await;
    assert_eq!((all.totals.written, all.totals.dead_lettered, all.totals.skipped), (11, 1, 0));
    let letters = bench.letters();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.stage, letter.reason.code), (Stage::Transform, ReasonCode::TransformTimedOut));
    assert_eq!((&*letter.record.key.index, &*letter.record.key.object_id), ("products", "3"));
    assert_eq!((&letter.record.body[..], &letter.operation), (&br#"{"sequence":3}"#[..], &None));
    assert_eq!(letter.module, Some(module().digest().0));
    assert_eq!((bench.applied("products", 3), bench.applied("products", 4)), (vec![], vec![4]));
}

/// G3: what a transform skips counts as skipped, and moves the cursor.
#[tokio::test]
async fn skipped_records_are_settled() {
    let bench = bench(r#"{"behave":"skip","only":"1"}"#).await;
    let mut looking = bench.tap.listen(Filter::default(), 50).unwrap();
    let mut lane = bench.start().await;
    lane.save("products", 0..3).await;
    let all = lane.until("all is settled", |now| now.delivered == at(3)).await;
    assert_eq!((all.totals.written, all.totals.skipped), (2, 1));
    assert_eq!(bench.applied("products", 1), Vec::<u64>::new());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = timeout(DEADLINE, looking.next()).await.expect("there is one more");
        seen.push((event.kind, event.record.change.key.object_id.to_string(), event.operation.is_some()));
    }
    seen.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    let expected = [(Kind::Delivered, "0"), (Kind::Skipped, "1"), (Kind::Delivered, "2")];
    assert_eq!(seen, expected.map(|(kind, id)| (kind, id.to_owned(), false)), "whoever looks sees all three");
}

/// A record that becomes several operations is settled when all of them are; where one of them is refused, its letter
/// holds both the operation and the record.
#[tokio::test]
async fn several_operations_of_one_record() {
    let bench = bench(r#"{"behave":"emit"}"#).await;
    bench.fake.poison("7-a", Poison::Named);
    let mut lane = bench.start().await;
    lane.save("products", [7, 8]).await;
    let all = lane.until("all is settled", |now| now.delivered == at(2)).await;
    assert_eq!((all.totals.written, all.totals.dead_lettered), (1, 1));
    let letters = bench.letters();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.stage, letter.source.number), (Stage::Delivery, 0));
    assert_eq!((&*letter.record.key.object_id, &letter.record.body[..]), ("7", &br#"{"sequence":0}"#[..]));
    let operation = letter.operation.as_ref().unwrap();
    assert_eq!((operation.action, &*operation.key.object_id), (Action::Save, "7-a"));
    assert_eq!(letter.module, Some(module().digest().0));
    let applied: Vec<_> = bench
        .fake
        .journal()
        .into_iter()
        .map(|applied| applied.object_id)
        .filter(|id| id.starts_with('8'))
        .collect();
    assert_eq!(applied, ["8-a", "8", "8-b"], "in the order in which they were emitted");
}

/// G4: records of one index leave the transform in log order, whatever their requests took.
#[tokio::test]
async fn order_holds_behind_a_transform() {
    let bench = bench(r#"{"behave":"slow","only":"0"}"#).await;
    let mut lane = bench.start().await;
    for number in 0..40 {
        // Partial updates: nothing takes the place of these.
        lane.update("products", [number % 2, 5]).await;
    }
    lane.until("all is delivered", |now| now.delivered == at(80)).await;
    let applied = bench.applied("products", 5);
    assert_eq!(applied, (0..40).map(|number| 2 * number + 1).collect::<Vec<_>>());
}

/// G1, G3: an agent that is killed while transforms run loses nothing: what had no outcome is read again.
#[tokio::test]
async fn a_crash_while_transforms_run() {
    let endless = r#"{"behave":"loop","only":"3"}"#;
    let mut bench = bench(endless).await;
    // It runs until long after the crash.
    bench.transforms =
        Some(transforms(endless, Limits { cpu_max: Duration::from_secs(8), ..Limits::default() }));
    let mut lane = bench.start().await;
    lane.save("products", 0..6).await;
    lane.save("others", 0..6).await;
    lane.until("the other index is delivered", |now| now.totals.written >= 6).await;
    bench.until_cursor(|cursor| cursor.completed == [(6, 12)]).await;
    let mut crashed = bench.crash();
    drop(lane);
    crashed.transforms = Some(transforms(endless, Limits::default()));
    let mut lane = crashed.start().await;
    let all = lane.until("all is settled", |now| now.delivered == at(12)).await;
    assert_eq!((all.totals.written, all.totals.dead_lettered), (11, 1));
    for key in [0, 1, 2, 4, 5] {
        assert_eq!(bench.applied("others", key), [6 + key], "it was delivered before the crash");
        assert!(bench.applied("products", key).ends_with(&[key]));
    }
}
