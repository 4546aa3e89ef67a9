//! Whoever reads the agent's log goes away.

use std::process::{Command, Stdio};

use harness::process::{free_address, is_serving};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::eventually;

/// Scenario: the reader of stderr is gone before the agent writes its first line there.
///
/// Protects G2 and G3: a line that cannot be written costs nothing but itself. The agent serves, and ends with 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let config = directory.path().join("config.toml");
    let (data, out) = (directory.path().join("data"), directory.path().join("out"));
    let text = format!(
        "[listen]\ngrpc = \"{address}\"\nhttp = \"off\"\n[data]\ndir = {data:?}\n[destinations.archive]\ntype = \"file\"\ndir = {out:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    command.arg("run").arg("--config").arg(&config).stderr(Stdio::from(writer));
    let mut agent = command.spawn().unwrap();
    drop(command);
    eventually("it serves", || is_serving(address)).await;
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || agent.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}
