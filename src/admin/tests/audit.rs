//! The audit log.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, sync::Semaphore};

use super::{
    Bench,
    double::Double,
    http::{over_tcp, over_unix, request},
    until,
};
use crate::admin::{ClientError, Forget, Kind, Pause, socket_path};

/// Two lines for a command: the first is on disk before anything is done, the second tells the outcome. They say who,
/// by which way, what and when, and nothing of the token.
#[tokio::test]
async fn commands_are_written_down_before_they_are_carried_out() {
    let bench = Bench::start();
    *bench.double.look_at.lock().unwrap() = Some(bench.audit());
    let why = Some("maintenance".to_owned());
    bench.client().pause("search", &Pause { why }).await.unwrap();
    let seen = bench.double.seen.lock().unwrap().clone();
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(seen.contains("\"outcome\":\"begun\"") && seen.ends_with('\n'), "{seen}");
    bench.client().forget("gone", &Forget { dry_run: true }).await.unwrap_err();
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", bench.token());
    assert_eq!(over_tcp(&bench, &request("POST /v1/reload", &headers, "")).await.status, 200);

    let lines = bench.audited();
    let [begun, done, _, failed, by_tcp, _] = lines.as_slice() else { panic!("{lines:#?}") };
    let uid = rustix::process::getuid().as_raw();
    let time = begun["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(
        *begun,
        json!({
            "time": time,
            "id": begun["id"],
            "via": "unix",
            "uid": uid,
            "command": "destination pause",
            "arguments": { "destination": "search", "why": "maintenance" },
            "outcome": "begun",
        })
    );
    assert_eq!((&done["id"], &done["outcome"]), (&begun["id"], &json!("done")));
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("there is no destination \"gone\""), "{failed}");
    assert_eq!((&by_tcp["via"], &by_tcp["arguments"]), (&json!("tcp"), &json!({ "dry_run": false })));
    assert!(by_tcp["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let text = fs::read_to_string(bench.audit()).unwrap();
    assert!(!text.contains(&bench.token()));
    assert_eq!(fs::metadata(bench.audit()).unwrap().permissions().mode() & 0o777, 0o600);
    bench.stop().await;
}

/// What cannot be written down is not done.
#[tokio::test]
async fn nothing_is_done_unaudited() {
    let bench = Bench::start();
    fs::create_dir(bench.audit()).unwrap();
    match bench.client().pause("search", &Pause::default()).await {
        Err(ClientError::Refused(error)) => assert_eq!(error.kind, Kind::Failed),
        answer => panic!("{answer:?}"),
    }
    assert_eq!(bench.double.asked(), [""; 0]);
    fs::remove_dir(bench.audit()).unwrap();
    bench.client().pause("search", &Pause::default()).await.unwrap();
    bench.stop().await;
}

/// It is only ever appended to: half a line that a power cut left stays and harms no other, and a file that was moved
/// away is begun anew.
#[tokio::test]
async fn nothing_of_it_is_changed() {
    let bench = Bench::start();
    fs::write(bench.audit(), "{\"time\":\"2026").unwrap();
    bench.client().pause("search", &Pause::default()).await.unwrap();
    let text = fs::read_to_string(bench.audit()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("{\"time\":\"2026", 3), "{text}");
    assert!(lines[1..].iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    fs::rename(bench.audit(), bench.dir().join("audit.1")).unwrap();
    bench.client().pause("search", &Pause::default()).await.unwrap();
    assert_eq!(bench.audited().len(), 2);
    bench.stop().await;
}

/// Scenario: the operator's terminal closes while his command is being carried out. It is carried out to its end, and the
/// audit log has its outcome.
#[tokio::test]
async fn a_command_outlives_its_client() {
    let bench = Bench::with(Double { gate: Semaphore::new(0), ..Double::default() });
    let mut stream = UnixStream::connect(socket_path(bench.dir())).await.unwrap();
    let pause = request("POST /v1/destinations/search/pause", "", "{}");
    stream.write_all(pause.as_bytes()).await.unwrap();
    until("the command has begun", || bench.double.asked().len() == 1).await;
    drop(stream);
    // Another one is answered after the server has seen the first one's end.
    let other = over_unix(&bench, &request("GET /v1/status", "", "")).await;
    assert_eq!(other.status, 200);
    assert_eq!(bench.audited().len(), 1);
    bench.double.gate.add_permits(1);
    until("the outcome is written", || bench.audited().len() == 2).await;
    assert_eq!(bench.audited()[1]["outcome"], "done");
    bench.stop().await;
}
