//! A destination that rejects everything.

use fakes::elasticsearch::Poison;
use harness::{
    load::options::{Options, Until},
    ndjson::Journal,
};

use crate::support::{accepted, eventually, fake_elasticsearch, file, settled, setup};

const RECORDS: u64 = 20_000;

/// Scenario: Elasticsearch rejects every record by its mapping, as fast as records come.
///
/// Protects G3 and G5: each is in its dead letters, and neither producers nor the other destination wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_dead_lettered_beside_a_healthy_destination() {
    let fake = fake_elasticsearch().await;
    fake.poison_text("\"seq\":", Poison::unparsable());
    let agent = setup().file("archive").elasticsearch("mirror", &fake.url()).start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let load = Options { connections: 4, request_records: 100, recorded: true, ..Options::default() };
    let report = accepted(&agent, Options { until: Until::Records(RECORDS), ..load }).await;
    settled(&report.history, || file(&mut journal)).await;
    let letters = async || agent.dead_letters().len() as u64;
    eventually("every record is dead-lettered", async || letters().await == RECORDS).await;
    assert!(agent.dead_letters().iter().all(|letter| letter.reason == "rejected"));
    assert_eq!(fake.operation_count(), 0);
}
