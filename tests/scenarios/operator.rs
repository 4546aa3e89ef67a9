//! What an operator does with a running agent, by its commands.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use harness::{
    elasticsearch,
    journal::Marks,
    load::{
        options::{Mix, Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::Agent,
};
use serde_json::Value;

use crate::support::{accepted, eventually, fake_elasticsearch, file, lively, settled, setup};

/// The exit code and what was printed as JSON.
async fn command(agent: &Agent, arguments: &[&str]) -> (i32, Value) {
    let output = tokio::task::block_in_place(|| agent.execute(arguments));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = serde_json::from_str(&stdout)
        .unwrap_or_else(|_| Value::String(format!("{stdout}{}", String::from_utf8_lossy(&output.stderr))));
    (output.status.code().unwrap_or(-1), told)
}

async fn done(agent: &Agent, arguments: &[&str]) -> Value {
    let (code, told) = command(agent, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {told}");
    told
}

async fn destination(agent: &Agent, name: &str) -> Value {
    let status = done(agent, &["status", "--json"]).await;
    let all = status["destinations"].as_array().unwrap().clone();
    all.into_iter().find(|destination| destination["name"] == name).unwrap()
}

/// G3's equation, as status tells it.
fn assert_adds_up(destination: &Value) {
    let count = |key: &str| destination["outcomes"][key].as_u64().unwrap();
    let parts = ["written", "superseded", "skipped", "dead_lettered", "gap", "pending"];
    assert_eq!(count("accepted"), parts.map(count).iter().sum::<u64>(), "{destination}");
}

/// Scenario: a destination is paused, the agent is killed, the destination goes on; its cursor is set back; producers are
/// refused until everything is delivered; an object is looked for.
///
/// Protects G3 and G5: what waits is kept, also over a restart, and shown as drift; the equation holds at every look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_pauses_moves_and_drains() {
    let mirror = fake_elasticsearch().await;
    let mut agent = setup().file("archive").elasticsearch("mirror", &mirror.url()).start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let mut marks = Marks::default();
    let mut options = Options { until: Until::Records(500), ..lively() };
    let report = accepted(&agent, options.clone()).await;
    options.first_sequence = report.next_sequence;
    let mut requests = report.history;

    done(&agent, &["destination", "pause", "mirror", "--why", "moves", "--json"]).await;
    let report = accepted(&agent, options.clone()).await;
    options.first_sequence = report.next_sequence;
    requests.extend(report.history);
    settled(&requests, || file(&mut journal)).await;
    let paused = destination(&agent, "mirror").await;
    assert_eq!((&paused["state"], &paused["why"]), (&"paused".into(), &"moves".into()), "{paused}");
    assert!(paused["outcomes"]["pending"].as_u64().unwrap() >= 500, "{paused}");
    assert_adds_up(&paused);

    agent.kill();
    journal.restarted().unwrap();
    marks.restarts.push(mirror.journal().len());
    agent.restart().await.unwrap();
    let status = done(&agent, &["status", "--json"]).await;
    assert_eq!(status["config"]["drift"], serde_json::json!(["destination mirror is paused: moves"]));
    let (code, told) = command(&agent, &["drain", "--json"]).await;
    assert_eq!((code, &told["remaining"][0]["destination"]), (3, &"mirror".into()), "{told}");
    let still = destination(&agent, "mirror").await;
    assert_eq!((&still["state"], &still["outcomes"]), (&paused["state"], &paused["outcomes"]), "{still}");
    let has_age = || async { destination(&agent, "mirror").await["lag"]["seconds"].as_f64().unwrap() > 0.0 };
    eventually("what waits has an age", has_age).await;
    done(&agent, &["drain", "--cancel", "--json"]).await;
    done(&agent, &["destination", "resume", "mirror", "--json"]).await;
    settled(&requests, || elasticsearch::destination(&mirror.journal(), &marks)).await;
    let (code, told) = command(&agent, &["destination", "resume", "mirror", "--json"]).await;
    assert_ne!(code, 0, "{told}");

    // Versions protect what the mirror has; files would pass through older states.
    let before = mirror.operation_count();
    done(&agent, &["destination", "reset-cursor", "mirror", "--from", "oldest", "--json"]).await;
    eventually("everything is sent again", || std::future::ready(mirror.operation_count() > before + 100))
        .await;
    let (code, told) = command(&agent, &["destination", "reset-cursor", "archive", "--from", "oldest"]).await;
    assert_ne!(code, 0, "{told}");
    assert!(told.to_string().contains("--allow-rewind"), "{told}");

    let drained = done(&agent, &["drain", "--wait", "--json"]).await;
    assert_eq!(drained["remaining"], serde_json::json!([]));
    for name in ["archive", "mirror"] {
        let destination = destination(&agent, name).await;
        assert_adds_up(&destination);
        assert_eq!(destination["outcomes"]["pending"], 0, "{destination}");
    }
    let (code, told) =
        command(&agent, &["find", "--index", "products", "nothing-of-that-name", "--json"]).await;
    assert_eq!(code, 3, "{told}");
    done(&agent, &["drain", "--cancel", "--json"]).await;
    let report = accepted(&agent, options).await;
    requests.extend(report.history);
    settled(&requests, || file(&mut journal)).await;
}

/// Scenario: the agent is killed while cursors are set back, again and again, under load.
///
/// Protects G3 and G4: the cursor is where it was or where it was sent; everything arrives, and at a destination with
/// versions nothing older is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_cursor_is_moved() {
    let mirror = fake_elasticsearch().await;
    let mut agent = setup().elasticsearch("mirror", &mirror.url()).start().await.unwrap();
    let mut marks = Marks::default();
    let mut requests = Vec::new();
    // A partial update that comes again may bring a deleted object back until its delete comes again, too.
    let mix = Mix { save: 4, partial_update: 0, delete: 1 };
    let mut options = Options { until: Until::Records(400), mix, ..lively() };
    for kill in 0..8 {
        let load = tokio::spawn(run(agent.address(), options.clone()));
        let mut moving = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        moving.args(["destination", "reset-cursor", "mirror", "--from", "oldest", "--data-dir"]);
        moving.arg(agent.data_directory()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut moving = moving.spawn().unwrap();
        // Not a wait for something: the moment of the kill is what is tried out.
        tokio::time::sleep(Duration::from_millis(30 + 20 * kill)).await;
        agent.kill();
        moving.wait().unwrap();
        let report = load.await.unwrap().unwrap();
        options.first_sequence = report.next_sequence;
        requests.extend(report.history);
        mirror.set_hosts(fakes::elasticsearch::HostState::Refusing).await.unwrap();
        marks.restarts.push(mirror.journal().len());
        mirror.set_hosts(fakes::elasticsearch::HostState::Serving).await.unwrap();
        agent.restart().await.unwrap();
        assert_adds_up(&destination(&agent, "mirror").await);
    }
    settled(&requests, || elasticsearch::destination(&mirror.journal(), &marks)).await;
    assert_eq!(mirror.violations(), Vec::<String>::new());
}
