//! The agent's process, with a stand-in that serves the same contract.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use harness::{
    load::{
        options::{Options, Until},
        run::run,
    },
    process::{Agent, ProcessError, Setup, ended_by, is_serving},
};
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_secs(10);

async fn started() -> Agent {
    Setup::new(env!("CARGO_BIN_EXE_stand-in")).file("archive").start().await.unwrap()
}

/// Scenario: start, load, kill, restart, load again. Protects every scenario that kills: the port stays, and load
/// knows of every request what became of it.
#[tokio::test]
async fn killed_and_restarted_on_the_same_port() {
    let mut agent = started().await;
    let address = agent.address();
    let report = run(address, Options::default()).await.unwrap();
    assert_eq!(report.records.acknowledged, 1000);
    agent.kill();
    assert!(!is_serving(address).await);
    assert!(run(address, Options::default()).await.is_err());
    agent.restart().await.unwrap();
    assert!(agent.served_after() > Duration::ZERO);
    let report = run(address, Options::default()).await.unwrap();
    assert_eq!(report.records.acknowledged, 1000);
    assert_eq!(agent.stderr().lines().count(), 2, "{}", agent.stderr());
    assert!(agent.usage().resident_bytes > 1 << 20);
}

/// Scenario: SIGKILL under load. Requests in flight are unknown, none is reported as acknowledged or refused.
#[tokio::test]
async fn a_kill_under_load_leaves_unknown_outcomes() {
    let mut agent = started().await;
    let options = Options {
        until: Until::Elapsed(DEADLINE),
        connections: 2,
        in_flight: 4,
        recorded: true,
        ..Options::default()
    };
    let control = options.control.clone();
    let load = tokio::spawn(run(agent.address(), options));
    while control.acknowledged() == 0 {
        assert!(!load.is_finished(), "no request was acknowledged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    agent.kill();
    let report = load.await.unwrap().unwrap();
    assert!(report.elapsed < DEADLINE);
    assert!(report.requests.acknowledged > 0);
    assert!((1..=8).contains(&report.requests.unknown), "{:?}", report.requests);
    assert_eq!(report.requests.refused, 0);
    assert_eq!(report.history.len() as u64, report.requests.acknowledged + report.requests.unknown);
}

/// Scenario: SIGTERM. The exit status is the process's own, and a process that is stopped misses the deadline.
#[tokio::test]
async fn terminated_and_stopped() {
    let mut agent = started().await;
    agent.stop();
    agent.request_shutdown();
    let late = agent.ended(Duration::from_millis(100)).await;
    assert!(matches!(late, Err(ProcessError::Late { .. })), "{late:?}");
    agent.resume();
    let status = agent.ended(DEADLINE).await.unwrap();
    assert!(status.success() && !ended_by(status, Signal::TERM), "{status}");

    agent.restart().await.unwrap();
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
}

/// Scenario: a config that the agent refuses. The error tells what it wrote.
#[tokio::test]
async fn an_agent_that_ends_says_why() {
    let error =
        Setup::new(env!("CARGO_BIN_EXE_stand-in")).config("# misconfigured").start().await.unwrap_err();
    assert!(matches!(error, ProcessError::Ended { .. }));
    assert!(error.to_string().contains("told to fail"), "{error}");
}
