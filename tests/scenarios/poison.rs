//! A record that its destination will never take.

use fakes::algolia::Poison;
use harness::{
    algolia::{self, Marks},
    history::check,
    load::options::{Options, Until},
    ndjson::Journal,
};

use crate::support::{IMPATIENT, accepted, fake, file, lively, settled, setup};

const RECORDS: u64 = 3500;
/// The sequence number of the record that is poisonous, in the middle of a request and of a batch.
const POISON: u64 = 172;

/// Scenario: 400 that names the record by position and id, as too large for the plan.
///
/// Protects G6, as every test here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named() {
    alone_is_dead_lettered(Poison::Named, "too_large").await;
}

/// Scenario: 400 that names nothing, so that only bisection finds the record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous() {
    alone_is_dead_lettered(Poison::Anonymous, "rejected").await;
}

/// Scenario: 400 with the column at which the record ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_column() {
    alone_is_dead_lettered(Poison::Column, "rejected").await;
}

/// Scenario: 500 whenever the record is there, as if the service were down, while other batches pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_server_error() {
    alone_is_dead_lettered(Poison::ServerError, "poison_suspected").await;
}

/// The poisonous record alone is dead-lettered, every other one is applied, the other destination gets all of them, and
/// accepted = written + superseded + dead-lettered.
async fn alone_is_dead_lettered(poison: Poison, reason: &str) {
    let fake = fake().await;
    // One operation of all: sequence numbers of one slot are unique, and so are those of one connection in flight.
    fake.poison_text(&format!("\"seq\":{POISON},"), poison);
    let setup = setup().file("archive").algolia("search", &fake.url()).config(IMPATIENT);
    let agent = setup.config("attempts_max = 3").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    // Saves of many keys: a poisonous operation that a later one replaced would be superseded, rightly.
    let (connections, in_flight, keys, mix) = (1, 1, 1_000_000, Default::default());
    let options = Options { until: Until::Records(RECORDS), connections, in_flight, keys, mix, ..lively() };
    let report = accepted(&agent, options).await;

    let findings = settled(&report.history, || {
        let mut destination = algolia::destination(&fake.journal(), &Marks::default());
        let letters = agent.dead_letters();
        destination.dead_letters = letters.into_iter().map(|letter| letter.operation).collect();
        destination
    })
    .await;
    let letters = agent.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0].destination.as_str(), letters[0].reason.as_str()), ("search", reason));
    assert_eq!(letters[0].operation.sequence, Some(POISON));
    assert_eq!(findings.dead_lettered, 1);
    let written = findings.applied - findings.duplicated;
    assert_eq!(report.records.acknowledged, written + findings.superseded + findings.dead_lettered);

    settled(&report.history, || file(&mut journal)).await;
    check(&report.history, &file(&mut journal)).assert_hold();
    assert_eq!(fake.violations(), Vec::<String>::new());
}
