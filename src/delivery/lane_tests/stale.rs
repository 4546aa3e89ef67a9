//! Letters of objects of which something newer is delivered.

use std::time::{Duration, Instant};

use fakes::algolia::Poison;

use super::{
    bench::{Bench, DEADLINE, at},
    told::Told,
};

/// G4: a letter is stale once something newer of its object was delivered, and only then; the mark outlives a restart, in
/// which the filter in memory is made anew.
#[tokio::test]
async fn a_newer_delivery_makes_a_letter_stale() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.poison("1", Poison::Named);
    lane.save("products", [1, 2]).await;
    lane.until("both are settled", |now| now.delivered == at(2)).await;
    bench.fake.cure();
    lane.save("products", [2]).await;
    lane.save("others", [1]).await;
    lane.until("the others are delivered", |now| now.delivered == at(4)).await;
    bench.until_cursor(|cursor| cursor.next == at(4)).await;
    assert_eq!(bench.stale(), [false], "nothing newer of its object was delivered");
    lane.stop().await;

    let mut lane = bench.start().await;
    lane.save("products", [1]).await;
    lane.until("a newer one is delivered", |now| now.delivered == at(5)).await;
    bench.until_cursor(|cursor| cursor.next == at(5)).await;
    assert_eq!(bench.stale(), [true]);
}

/// G3, G4: no cursor passes a delivery that makes a letter stale before the letter tells on disk: while that cannot be
/// written, the cursor waits.
#[tokio::test]
async fn no_cursor_passes_before_the_letter_tells() {
    let told = Told::listen();
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.poison("1", Poison::Named);
    lane.save("products", [1]).await;
    lane.until("it is settled", |now| now.delivered == at(1)).await;
    bench.until_cursor(|cursor| cursor.next == at(1)).await;
    bench.fake.cure();
    bench.break_marks();
    lane.save("products", [1]).await;
    lane.until("a newer one is delivered", |now| now.delivered == at(2)).await;
    let start = Instant::now();
    while told.count("cursor cannot be persisted") < 2 {
        assert!(start.elapsed() < DEADLINE, "nobody tried to persist it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.until_cursor(|cursor| cursor.next == at(1)).await;
    bench.mend_letters();
    bench.until_cursor(|cursor| cursor.next == at(2)).await;
    assert_eq!(bench.stale(), [true]);
}
