//! The whole demo with a real agent, real sockets and real files, and the proof made to fail.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    plan::Plan,
    play::{self, Played, play},
    proof::{Account, Proof},
    screen::Screen,
    stage::{ALGOLIA, COPY, ELASTIC, FILES, Stage},
};

const RECORDS: u64 = 2_000;
/// Long enough for the breaker to open in the middle.
const PACE: Duration = Duration::from_millis(1_500);

async fn start(dir: &Path) -> Stage {
    Stage::start(dir, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn played(stage: &Stage) -> Played {
    play(stage, Plan::new(RECORDS), PACE, &mut Screen::quiet()).await.unwrap()
}

async fn proven(stage: &Stage, played: Played) -> Proof {
    Proof::take(stage, Plan::new(RECORDS), played).await.unwrap()
}

fn account(proof: &Proof, destination: &str) -> (bool, u64, u64, u64, u64) {
    let found = proof.accounts.iter().find(|account| account.destination == destination).unwrap();
    let Account { holds, accepted, written, superseded, dead_lettered, pending, .. } = *found;
    // Of an object that was saved again before it went out the newest is written.
    (holds, accepted, written + superseded, dead_lettered, pending)
}

fn failed(proof: &Proof) -> Vec<&str> {
    let failed = proof.checks.iter().filter(|check| !check.holds);
    failed.map(|check| check.claim.split(':').next().unwrap()).collect()
}

/// The whole demo: an outage in the middle and one poison record, and nothing is lost (G3), nobody is held up by
/// Elasticsearch (G5), only the poison record is dead-lettered (G6), and the transform lets no address through. Then an
/// address leaks into the files, and they lose their last line: the proof reads them, so it must see both.
#[tokio::test(flavor = "multi_thread")]
async fn the_proof_holds_and_sees_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let stage = start(dir.path()).await;
    play::poison(&stage, Plan::new(RECORDS));
    let played = played(&stage).await;
    let proof = proven(&stage, played).await;
    assert!(proof.holds, "{proof:#?}");
    assert_eq!(proof.acknowledged, RECORDS);
    assert_eq!(account(&proof, FILES), (true, RECORDS, RECORDS, 0, 0));
    assert_eq!(account(&proof, ALGOLIA), (true, RECORDS, RECORDS - 1, 1, 0));
    assert_eq!(account(&proof, ELASTIC), (true, RECORDS, RECORDS, 0, 0));
    assert_eq!(account(&proof, COPY), (true, RECORDS, RECORDS, 0, 0));
    let [letter] = proof.dead_letters.as_slice() else { panic!("{proof:#?}") };
    assert_eq!((letter.destination.as_str(), letter.object_id.as_str()), (ALGOLIA, "product-000466"));
    assert!(letter.reason.starts_with("rejected (400)"), "{letter:?}");

    assert!(proof.transformed.sent["email"].is_string());
    assert_eq!(proof.transformed.arrived, serde_json::json!({"name": proof.transformed.sent["name"]}));

    // An address that gets through is seen wherever it is.
    let path = stage.files_dir().join("products.ndjson");
    let content = fs::read(&path).unwrap();
    let leaking = String::from_utf8_lossy(&content).replacen("{\"", "{\"leak\":\"a@b\",\"", 1);
    fs::write(&path, leaking).unwrap();
    assert_eq!(failed(&proven(&stage, played).await), ["transform"]);
    fs::write(&path, &content).unwrap();

    let last_line = content[..content.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(last_line as u64 + 1).unwrap();
    let proof = proven(&stage, played).await;
    assert!(!proof.holds);
    assert_eq!(failed(&proof), ["files"]);
    stage.stop().await;
}

/// Without its poison, Algolia takes every record: no dead letter, and an object that should not be there. A proof
/// that held all the same would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_proof_fails_when_the_poison_is_delivered() {
    let dir = TempDir::new().unwrap();
    let stage = start(dir.path()).await;
    let played = played(&stage).await;
    let proof = proven(&stage, played).await;
    assert!(!proof.holds);
    assert_eq!(failed(&proof), ["algolia", "dead letters"]);
    assert_eq!(account(&proof, ALGOLIA), (true, RECORDS, RECORDS, 0, 0));
    stage.stop().await;
}

/// The directory is removed at each start, so it must be one that a demo made and that no demo uses; anything else is
/// refused and left as it was.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_former_demos_directory_is_made_anew() {
    let root = TempDir::new().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let refused = async |dir: &Path| match Stage::start(dir, listen).await {
        Ok(_) => panic!("{} was taken", dir.display()),
        Err(error) => format!("{error:#}"),
    };

    let dir = root.path().join("new/demo");
    let running = start(&dir).await;
    assert!(refused(&dir).await.contains("another demo is running"));
    assert!(running.config_path().exists());
    fs::write(dir.join("data/old"), "old").unwrap();
    running.stop().await;
    start(&dir).await.stop().await;
    assert!(!dir.join("data/old").exists(), "made anew");

    let strange = root.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("agent.toml"), "[listen]\n").unwrap();
    fs::write(strange.join("thesis.txt"), "years of work").unwrap();
    assert!(refused(&strange).await.contains("was not made by a demo"));
    assert!(strange.join("thesis.txt").exists() && strange.join("agent.toml").exists());

    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).await.contains("was not made by a demo"));
}
