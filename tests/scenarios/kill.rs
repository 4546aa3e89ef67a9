//! The agent is killed.

use std::{fs, time::Duration};

use harness::{
    history::check,
    load::{
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::Agent,
};

use crate::support::{DEADLINE, file, lively, settled, setup};

/// Rounds over all agents.
const ROUNDS: usize = 100;
/// Agents at a time.
const AGENTS: usize = 2;
/// Small, so that every round rolls.
const SEGMENT_BYTES: usize = 64 << 10;

/// Scenario: SIGKILL at a random moment, 100 times, while the agent appends, rolls and delivers to a file.
///
/// Protects G1, G3 and G4: afterwards the file has every acknowledged request, whole and in order within each run, and
/// of the unknown ones each whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_a_hundred_times() {
    let agents: Vec<_> = (0..AGENTS).map(|seed| tokio::spawn(killed_again_and_again(seed as u64))).collect();
    for agent in agents {
        agent.await.unwrap();
    }
}

async fn killed_again_and_again(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let setup = setup().data(&format!("segment_bytes = {SEGMENT_BYTES}"));
    let setup = setup.config("[limits]\nrequest_bytes_max = \"16KiB\"\nrecord_bytes_max = \"16KiB\"");
    let mut agent = setup.file("archive").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let mut requests = Vec::new();
    let mut first_sequence = 1;
    for round in 0..ROUNDS / AGENTS {
        let options = Options { until: Until::Elapsed(DEADLINE), first_sequence, ..lively() };
        let load = tokio::spawn(run(agent.address(), options));
        // Not a wait for something: the moment is what is tried out.
        tokio::time::sleep(Duration::from_millis(random.u64(1..250))).await;
        agent.kill();
        // An agent that was killed before all connections were open got no request.
        if let Ok(report) = load.await.unwrap() {
            first_sequence = report.next_sequence;
            requests.extend(report.history);
        }
        journal.restarted().unwrap();
        agent.restart().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let findings = settled(&requests, || file(&mut journal)).await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
    check(&requests, &file(&mut journal)).assert_hold();
    assert!(findings.applied > 1000, "too little load to tell: {findings}");
    assert!(rolled(&agent), "the log never rolled");
}

/// Whether the log's beginning was given back, so that the log rolled and its cursors moved on.
fn rolled(agent: &Agent) -> bool {
    let segments = fs::read_dir(agent.data_directory().join("logs/default")).unwrap();
    segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).all(|name| {
        let base = name.strip_suffix(".seg").and_then(|base| base.parse::<u64>().ok());
        base.is_none_or(|base| base > 0)
    })
}
