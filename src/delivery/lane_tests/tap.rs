//! Whoever looks sees what becomes of every operation, once.

use std::collections::BTreeMap;

use fakes::algolia::Poison;
use tokio::time::timeout;

use super::bench::{Bench, DEADLINE, at};
use crate::tap::{Filter, Kind};

/// Scenario: operations take the place of earlier ones of their key, one is refused, and what it took the place of is
/// sent after all.
///
/// Each comes to one end, and that one is told: as many as the totals count.
#[tokio::test]
async fn every_outcome_is_seen() {
    let bench = Bench::new().await;
    bench.fake.poison("7", Poison::Named);
    let mut looking = bench.tap.listen(Filter::default(), 1_000).unwrap();
    let mut lane = bench.start().await;
    lane.save("products", [5, 5, 5, 5, 6, 7, 7]).await;
    let all = lane.until("all is settled", |now| now.delivered == at(7)).await;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..7 {
        let event = timeout(DEADLINE, looking.next()).await.expect("there is one more");
        assert_eq!(event.destination.as_deref(), Some("search"));
        assert_eq!(event.reason.is_some(), event.kind == Kind::DeadLettered);
        let object = event.record.change.key.object_id;
        *seen.entry(format!("{object} {:?}", event.kind)).or_default() += 1;
    }
    let expected = [("5 Delivered", 1), ("5 Superseded", 3), ("6 Delivered", 1), ("7 DeadLettered", 2)];
    assert_eq!(seen, expected.map(|(what, count)| (what.to_owned(), count)).into());
    assert_eq!((all.totals.written, all.totals.superseded, all.totals.dead_lettered), (2, 3, 2));
    assert_eq!(looking.not_shown(), Default::default());
}
