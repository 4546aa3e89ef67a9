//! Bytes of the log that read back differently than they were written.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use fakes::algolia::HostState;
use harness::{
    algolia::{self, Marks},
    history::Applied,
    load::options::{Options, Until},
    ndjson::Journal,
    process::Agent,
};
use serde_json::Value;

use crate::support::{DEADLINE, IMPATIENT, accepted, eventually, fake, file, lively, settled, setup};

const RECORDS: u64 = 3000;

/// Scenario: a sealed segment rots while one destination has read past it and the other has not. An operator stops the
/// agent, looks, and gives up what cannot be read.
///
/// Protects G3 and rule 7: the agent goes on for whoever does not need the records, halts the other before them, cuts
/// nothing, and after `log skip` delivers all but these, which are in the dead letters; accepted = written + superseded
/// + dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_is_given_up_by_an_operator() {
    let fake = fake().await;
    let setup = setup().data("segment_bytes = \"64KiB\"").file("archive");
    let mut agent = setup.algolia("search", &fake.url()).config(IMPATIENT).start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    fake.set_hosts(HostState::Refusing).await.unwrap();
    // Saves of many keys: one whose record is lost must not be superseded by a later one.
    let (connections, in_flight, keys, mix) = (1, 1, 1_000_000, Default::default());
    let options = Options { until: Until::Records(RECORDS), connections, in_flight, keys, mix, ..lively() };
    let report = accepted(&agent, options).await;
    settled(&report.history, || file(&mut journal)).await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success());

    let lost = let_the_second_segment_rot(&agent);
    fake.set_hosts(HostState::Serving).await.unwrap();
    agent.restart().await.unwrap();
    eventually("search halts", async || agent.stderr().contains("log cannot be read")).await;
    let refused = log(&agent, &["verify"]);
    assert_eq!(refused.status.code(), Some(1), "an agent uses the log: {refused:?}");
    assert!(agent.terminate(DEADLINE).await.unwrap().success());

    assert_eq!(log(&agent, &["verify"]).status.code(), Some(4));
    let position = format!("0:{}", lost.first);
    let asked = log(&agent, &["skip", &position]);
    assert_eq!(asked.status.code(), Some(2), "nobody confirmed: {asked:?}");
    for _ in 0..2 {
        let skipped = log(&agent, &["skip", &position, "--yes"]);
        assert_eq!(skipped.status.code(), Some(0), "{skipped:?}");
    }
    assert_eq!(log(&agent, &["verify"]).status.code(), Some(3));

    agent.restart().await.unwrap();
    let findings = settled(&report.history, || {
        let mut destination = algolia::destination(&fake.journal(), &Marks::default());
        destination.dead_letters = lost.operations.clone();
        destination
    })
    .await;
    assert_eq!(findings.dead_lettered, lost.operations.len() as u64, "they were never delivered");
    settled(&report.history, || file(&mut journal)).await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
    let stats: Value = serde_json::from_slice(&log(&agent, &["stats", "--json"]).stdout).unwrap();
    let search = &stats["destinations"]["search"];
    let total = |name: &str| search["totals"][name].as_u64().unwrap();
    assert_eq!(search["lag_records"], 0, "{stats}");
    assert_eq!(total("dead_lettered"), lost.operations.len() as u64);
    assert_eq!(total("written") + total("superseded") + total("dead_lettered"), report.records.acknowledged);
}

/// What one flipped bit took.
struct Lost {
    first: u64,
    operations: Vec<Applied>,
}

/// Flips a bit in the first request of the second segment, and says what that held.
fn let_the_second_segment_rot(agent: &Agent) -> Lost {
    let segments = fs::read_dir(agent.data_directory().join("logs/default")).unwrap();
    let mut segments: Vec<PathBuf> = segments.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    assert!(segments.len() > 2, "the segment must be sealed: {segments:?}");
    let first: u64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let dump = log(agent, &["dump", "--from", &first.to_string(), "--limit", "100"]);
    let lines: Vec<Value> = dump
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let of_request = lines.iter().take_while(|line| line["request_id"] == lines[0]["request_id"]);
    let operation = |line: &Value| Applied {
        index: line["index"].as_str().unwrap().into(),
        object_id: line["object_id"].as_str().unwrap().to_owned(),
        sequence: line["data"]["seq"].as_u64(),
        request_id: Some(line["request_id"].as_str().unwrap().to_owned()),
        version: line["version"].as_u64(),
        identity: None,
    };
    let operations = of_request.map(operation).collect();
    let segment = fs::File::options().read(true).write(true).open(&segments[1]).unwrap();
    let mut byte = [0];
    segment.read_exact_at(&mut byte, 4096 + 100).unwrap();
    segment.write_all_at(&[byte[0] ^ 4], 4096 + 100).unwrap();
    Lost { first, operations }
}

/// Runs `sync-agent log` on the agent's data, without a terminal.
fn log(agent: &Agent, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    command.arg("log").args(arguments).arg("--data-dir").arg(agent.data_directory());
    command.stdin(Stdio::null()).output().unwrap()
}
