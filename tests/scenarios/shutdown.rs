//! The agent is asked to end.

use std::time::Duration;

use fakes::algolia::Fault;
use harness::{
    algolia::{self, Marks},
    history::check,
    load::{
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::is_serving,
};

use crate::support::{DEADLINE, IMPATIENT, accepted, eventually, fake, file, lively, settled, setup};

/// How long an agent may take to end that was told twice: far below any grace period.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Scenario: SIGTERM while producers send as fast as they can; then a new start.
///
/// Protects G1 and G3: the agent exits with 0, what it acknowledged is delivered by then or after the restart, and since
/// its cursors are persisted, nothing is delivered twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_nothing() {
    let mut agent = setup().file("archive").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let load = tokio::spawn(run(agent.address(), Options { until: Until::Elapsed(DEADLINE), ..lively() }));
    eventually("records are delivered", || std::future::ready(journal.read().unwrap() > 1000)).await;
    let status = agent.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "{status}\n{}", agent.stderr());
    let report = load.await.unwrap().unwrap();
    assert!(report.requests.acknowledged > 0);

    journal.restarted().unwrap();
    agent.restart().await.unwrap();
    let findings = settled(&report.history, || file(&mut journal)).await;
    assert_eq!((findings.duplicated, findings.rewound), (0, 0), "{findings}");
}

/// Scenario: SIGTERM while a destination does not answer, so that the shutdown waits; then a second SIGTERM.
///
/// Protects G1 and G3: the second signal ends the agent at once, and still both destinations get everything after a
/// restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let fake = fake().await;
    fake.fail_all(Fault::Hang);
    let setup = setup().file("archive").algolia("search", &fake.url());
    // A time-out longer than the test keeps the batch in flight.
    let mut agent = setup.config("timeout = \"5m\"").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let report = accepted(&agent, Options { until: Until::Records(2100), ..lively() }).await;
    fake.wait_for_requests(1).await;

    agent.request_shutdown();
    let address = agent.address();
    eventually("the agent drains", || async move { !is_serving(address).await }).await;
    agent.request_shutdown();
    agent.ended(AT_ONCE).await.unwrap();

    journal.restarted().unwrap();
    let marks = Marks { restarts: vec![fake.journal().len()], ..Marks::default() };
    fake.recover();
    agent.restart().await.unwrap();
    settled(&report.history, || file(&mut journal)).await;
    settled(&report.history, || algolia::destination(&fake.journal(), &marks)).await;
    assert_eq!(agent.dead_letters(), []);
    assert_eq!(fake.violations(), Vec::<String>::new());
    check(&report.history, &file(&mut journal)).assert_hold();
}

/// Scenario: SIGTERM while a destination is down for good, and nothing else to wait for.
///
/// Protects operators: an outage does not keep the agent from ending with 0 within its grace period, and what waited is
/// delivered after the restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_during_an_outage_keeps_the_backlog() {
    let fake = fake().await;
    fake.set_hosts(fakes::algolia::HostState::Refusing).await.unwrap();
    let setup = setup().algolia("search", &fake.url()).config(IMPATIENT);
    let mut agent = setup.start().await.unwrap();
    let report = accepted(&agent, Options { until: Until::Records(2100), ..lively() }).await;
    let status = agent.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "{status}\n{}", agent.stderr());
    assert_eq!(fake.operation_count(), 0);

    let marks = Marks { restarts: vec![0], ..Marks::default() };
    fake.set_hosts(fakes::algolia::HostState::Serving).await.unwrap();
    agent.restart().await.unwrap();
    settled(&report.history, || algolia::destination(&fake.journal(), &marks)).await;
    assert_eq!(agent.dead_letters(), []);
}
