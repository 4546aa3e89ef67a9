//! A destination is down for longer than the disk can wait.

use fakes::algolia::Fault;
use harness::{
    algolia::{self, Marks},
    history::check,
    load::{
        options::{Options, Until},
        report::Report,
        run::run,
    },
    ndjson::Journal,
};
use serde_json::Value;

use crate::support::{DEADLINE, IMPATIENT, accepted, eventually, fake, file, lively, settled, setup};

/// A small log that keeps nothing for retention.
const SMALL: &str = "disk_bytes_max = \"2MiB\"\nsegment_bytes = \"128KiB\"\nretention = { age = \"0s\" }";

/// Scenario: one of two destinations hangs and may be left behind; records come in that exceed the disk
/// budget. An operator finds it red, lets it go on with the command, and starts the agent again.
///
/// Protects G2, G3 and G5: every request is accepted and the other destination has all of them; the one that was left
/// behind gets everything but a gap, whose records and the applied ones add up to what was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_left_behind() {
    let fake = fake().await;
    fake.fail_all(Fault::Hang);
    let detach = format!("{IMPATIENT}on_backlog_full = \"detach\"\nbacklog_bytes_max = \"512KiB\"\n");
    let setup = setup().data(SMALL).file("archive").algolia("search", &fake.url()).config(&detach);
    let mut agent = setup.start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let saves = Options { keys: 1_000_000, mix: Default::default(), ..lively() };
    let mut report = accepted(&agent, Options { until: Until::Records(21_000), ..saves.clone() }).await;
    let mut requests = std::mem::take(&mut report.history);
    settled(&requests, || file(&mut journal)).await;
    assert!(agent.stderr().contains("destination is too far behind and is detached"));
    assert!(agent.terminate(DEADLINE).await.unwrap().success());

    let resumed = agent.execute(&["destination", "resume", "search", "--json"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let gap: Value = serde_json::from_slice(&resumed.stdout).unwrap();
    let missed = gap["missed"]["records"].as_u64().unwrap();
    let by_index = gap["missed"]["by_index"].as_object().unwrap();
    assert_eq!(by_index.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), missed);
    assert!(missed > 10_000 && by_index.len() == 3, "{gap}");
    let again = agent.execute(&["destination", "resume", "search"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not detached"), "{again:?}");

    fake.recover();
    journal.restarted().unwrap();
    agent.restart().await.unwrap();
    let more = Options { until: Until::Records(700), first_sequence: report.next_sequence, ..saves };
    let more = accepted(&agent, more).await;
    let accepted = report.records.acknowledged + more.records.acknowledged;
    let received = || std::future::ready(fake.operation_count() as u64 + missed >= accepted);
    eventually("all but the gap is applied", received).await;
    requests.extend(more.history);
    settled(&requests, || file(&mut journal)).await;
    check(&requests, &file(&mut journal)).assert_hold();
    assert_eq!(fake.operation_count() as u64 + missed, accepted, "nothing is applied that counts as missed");
    assert_eq!(agent.dead_letters(), []);
}

/// Scenario: the only destination hangs and must not be left behind.
///
/// Protects G1 and G2: at its `backlog_bytes_max` ingest refuses with a time to come back, by the destination's name;
/// after the outage it accepts again, and everything that was accepted arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_waits_for_a_destination() {
    let fake = fake().await;
    fake.fail_all(Fault::Hang);
    let refuse = format!("{IMPATIENT}backlog_bytes_max = \"512KiB\"\n");
    let setup = setup().data(SMALL).algolia("search", &fake.url()).config(&refuse);
    let agent = setup.start().await.unwrap();
    let saves = Options { keys: 1_000_000, mix: Default::default(), ..lively() };
    let Report { history, next_sequence, problems, .. } =
        run(agent.address(), Options { until: Until::Records(20_000), ..saves.clone() }).await.unwrap();
    let refused = problems.iter().any(|problem| format!("{problem:?}").contains("backlog_bytes_max"));
    assert!(refused, "{problems:?}");
    let warned = || std::future::ready(agent.stderr().contains("destination falls behind"));
    eventually("the operator is told", warned).await;
    let mut requests = history;
    fake.recover();
    settled(&requests, || algolia::destination(&fake.journal(), &Marks::default())).await;
    let again = Options { until: Until::Records(700), first_sequence: next_sequence, ..saves };
    // The cursor on disk, which decides, follows within a second.
    let start = std::time::Instant::now();
    let mut first_sequence = again.first_sequence;
    loop {
        let report = run(agent.address(), Options { first_sequence, ..again.clone() }).await.unwrap();
        requests.extend(report.history);
        first_sequence = report.next_sequence;
        if report.problems.is_empty() {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{:?}", report.problems);
    }
    settled(&requests, || algolia::destination(&fake.journal(), &Marks::default())).await;
    assert_eq!(agent.dead_letters(), []);
}
