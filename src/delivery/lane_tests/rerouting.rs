//! The rules change while records are on their way.

use super::{
    bench::{Bench, at},
    transforms::transforms,
};
use crate::{delivery::Snapshot, feed::Routing, transform::Limits};

/// G7, G4: what was routed through a transform goes first, however long that runs, though what comes after it passes none
/// any more; and the other way round.
#[tokio::test]
async fn what_was_routed_before_goes_first() {
    let mut bench = Bench::new().await;
    bench.transforms = Some(transforms(r#"{"behave":"slow","only":"0"}"#, Limits::default()));
    let mut lane = bench.start().await;
    let through = lane.routes.current();
    let mut sent = 0;
    for round in 0..6 {
        lane.until("all before is delivered", |now| now.delivered == at(sent)).await;
        lane.update("products", [0, 0, 0, 0, 0, 0, 0, 0, 5]).await;
        sent += 9;
        let read = |now: &Snapshot| now.oldest_pending.is_some() || now.delivered == at(sent);
        lane.until("the lane has read it", read).await;
        let plain = round % 2 == 0;
        let transforms = if plain { None } else { through.transforms.clone() };
        let router = if plain { bench.plain_router() } else { bench.router() };
        lane.routes.replace(Routing { router, transforms });
        lane.update("products", [5, 5]).await;
        sent += 2;
    }
    lane.until("all is delivered", |now| now.delivered == at(sent)).await;
    let applied = bench.applied("products", 5);
    assert!(applied.is_sorted(), "{applied:?}");
    assert_eq!(applied.len(), 18);
}
