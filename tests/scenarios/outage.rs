//! A destination is down.

use std::time::{Duration, Instant};

use fakes::algolia::{Fault, HostState};
use harness::{
    algolia::{self, Marks},
    history::check,
    load::{
        options::{Options, Until},
        report::Report,
    },
    ndjson::Journal,
    process::Agent,
};

use crate::support::{IMPATIENT, accepted, eventually, fake, file, lively, settled, setup};

/// In each phase.
const RECORDS: u64 = 7000;
/// How much longer the healthy destination may take for a phase in which its neighbour is down, beside twice the time:
/// the machine is busy.
const SLACK: Duration = Duration::from_secs(2);

/// Scenario: Algolia refuses connections, answers 503 and then hangs, for one phase each, while records come in.
///
/// Protects G5: the file destination has each phase's records as fast as before, nothing is dead-lettered, and after
/// the outage Algolia gets all of it in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_stays_with_its_destination() {
    let fake = fake().await;
    let setup = setup().file("archive").algolia("search", &fake.url()).config(IMPATIENT);
    let agent = setup.start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));

    let (mut report, healthy) = phase(&agent, &mut journal, 0, 1).await;
    settled(&report.history, || algolia::destination(&fake.journal(), &Marks::default())).await;
    let mut requests = std::mem::take(&mut report.history);
    let delivered = fake.operation_count();

    for outage in ["refusing", "failing", "hanging"] {
        match outage {
            "refusing" => fake.set_hosts(HostState::Refusing).await.unwrap(),
            "failing" => fake.set_hosts(HostState::Failing(503)).await.unwrap(),
            _ => {
                fake.fail_all(Fault::Hang);
                fake.set_hosts(HostState::Serving).await.unwrap();
            }
        }
        let (next, duration) = phase(&agent, &mut journal, requests.len(), report.next_sequence).await;
        assert!(duration < healthy * 2 + SLACK, "{outage}: {duration:?}, {healthy:?} when all is well");
        assert_eq!(fake.operation_count(), delivered, "{outage}: the fake was not down");
        report = next;
        requests.append(&mut report.history);
    }
    fake.recover();
    // A request that hangs is never applied: what was applied twice is what a busy machine was too late to answer.
    let findings = settled(&requests, || algolia::destination(&fake.journal(), &Marks::default())).await;
    assert!(findings.duplicated < RECORDS / 10, "{findings}");
    check(&requests, &file(&mut journal)).assert_hold();
    assert_eq!(agent.dead_letters(), []);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// Sends a phase's records and waits until the file has them; returns how long both took.
async fn phase(
    agent: &Agent,
    journal: &mut Journal,
    requests_before: usize,
    first_sequence: u64,
) -> (Report, Duration) {
    let start = Instant::now();
    let lines = (requests_before * lively().request_records) as u64 + RECORDS;
    let report =
        accepted(agent, Options { until: Until::Records(RECORDS), first_sequence, ..lively() }).await;
    eventually("the file has the phase's records", || std::future::ready(journal.read().unwrap() >= lines))
        .await;
    (report, start.elapsed())
}
