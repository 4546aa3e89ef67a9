//! The agent is killed.
//!
//! What a process has written survives its SIGKILL, synced or not, and between an answer and its write there is next to
//! no time to be hit: that an answer waits for both is for the log's own tests to show.

use std::{fs, time::Duration};

use fakes::algolia::Fault;
use harness::{
    algolia,
    history::{Request, check},
    load::{
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::{Agent, Setup},
};

use crate::support::{DEADLINE, IMPATIENT, fake, file, lively, settled, setup};

/// Rounds over both agents.
const ROUNDS: usize = 100;
/// Small, so that the log rolls several times a round.
const SEGMENT_BYTES: usize = 64 << 10;

/// Scenario: SIGKILL at a random moment, 100 times, on two agents that deliver to a file. One has small segments, and so
/// is killed while it rolls; the other gets large requests, and so is killed in the middle of large writes.
///
/// Protects G1, G3 and G4: afterwards the file has every acknowledged request, in order within each run, and of the
/// unknown ones each whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_a_hundred_times() {
    let small = "[limits]\nrequest_bytes_max = \"16KiB\"\nrecord_bytes_max = \"16KiB\"";
    let rolling = setup().data(&format!("segment_bytes = {SEGMENT_BYTES}")).config(small);
    let rolling = tokio::spawn(killed_again_and_again(rolling, lively(), 1));
    let large = Options { request_records: 200, keys: 20_000, ..lively() };
    let large = tokio::spawn(killed_again_and_again(setup(), large, 2));
    assert!(rolled(&rolling.await.unwrap()), "the log never rolled");
    large.await.unwrap();
}

async fn killed_again_and_again(setup: Setup, options: Options, seed: u64) -> Agent {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut agent = setup.file("archive").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let mut requests = Vec::new();
    let mut options = options;
    for round in 0..ROUNDS / 2 {
        let moment = Duration::from_millis(random.u64(1..250));
        options.first_sequence = killed(&mut agent, options.clone(), moment, &mut requests).await;
        journal.restarted().unwrap();
        agent.restart().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let findings = settled(&requests, || file(&mut journal)).await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
    check(&requests, &file(&mut journal)).assert_hold();
    assert!(findings.applied > 1000, "too little load to tell: {findings}");
    agent
}

/// Scenario: SIGKILL again and again, with a destination that takes requests and never answers, after the cursors were
/// persisted.
///
/// Protects G3: a cursor never passes what was sent, but only what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_destination_hangs() {
    let fake = fake().await;
    fake.fail_all(Fault::Hang);
    let mut agent = setup().algolia("search", &fake.url()).config(IMPATIENT).start().await.unwrap();
    let mut requests = Vec::new();
    // Saves of many objects: next to nothing is superseded, so everything has to arrive.
    let mut options = Options { keys: 1_000_000, mix: Default::default(), ..lively() };
    for extra in [100, 250, 400] {
        // Cursors are persisted about once a second.
        let moment = Duration::from_millis(1000 + extra);
        options.first_sequence = killed(&mut agent, options.clone(), moment, &mut requests).await;
        agent.restart().await.unwrap();
    }
    assert_eq!(fake.operation_count(), 0);
    fake.recover();
    settled(&requests, || algolia::destination(&fake.journal(), &[], true)).await;
    assert_eq!(agent.dead_letters(), []);
}

/// Sends load until the agent is killed at this moment; returns the next sequence number.
async fn killed(agent: &mut Agent, options: Options, moment: Duration, requests: &mut Vec<Request>) -> u64 {
    let first_sequence = options.first_sequence;
    let load = tokio::spawn(run(agent.address(), Options { until: Until::Elapsed(DEADLINE), ..options }));
    // Not a wait for something: the moment is what is tried out.
    tokio::time::sleep(moment).await;
    agent.kill();
    // An agent that was killed before all connections were open got no request.
    let Ok(report) = load.await.unwrap() else { return first_sequence };
    requests.extend(report.history);
    report.next_sequence
}

/// Whether the log's beginning was given back, so that the log rolled and its cursors moved on.
fn rolled(agent: &Agent) -> bool {
    let segments = fs::read_dir(agent.data_directory().join("logs/default")).unwrap();
    segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).all(|name| {
        let base = name.strip_suffix(".seg").and_then(|base| base.parse::<u64>().ok());
        base.is_none_or(|base| base > 0)
    })
}
