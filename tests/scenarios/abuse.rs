//! What clients that mean no good can make a whole agent do: nothing to others.

#![expect(clippy::print_stdout, reason = "what the machine allows, and what was measured, is worth a line")]

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use harness::{
    load::options::{Options, Until},
    ndjson::Journal,
    process::{Agent, Setup},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::support::{accepted, eventually, file, settled};

const WANTED: u64 = 10_000;
/// Files that this process and the agent need for other things.
const OTHERS: u64 = 600;

/// A client's first words (RFC 9113, 3.4), after which it says nothing more.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// As many connections as are wanted, or as this machine lets one process have.
fn connections() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let possible = maximum.map_or(WANTED, |maximum| maximum.saturating_sub(OTHERS));
    if possible < WANTED {
        println!("this machine allows {possible} connections, not {WANTED}");
    }
    possible.min(WANTED)
}

async fn connect(address: SocketAddr, count: u64) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.unwrap();
        // One that is refused may be gone already.
        let _ = stream.try_write(HELLO);
        streams.push(stream);
    }
    streams
}

/// Whether the agent serves it: it answers with its settings.
async fn is_served(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 9];
    let read = timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await;
    matches!(read, Ok(Ok(_)))
}

async fn served(streams: &mut Vec<TcpStream>) -> u64 {
    let mut served = 0;
    for stream in streams {
        served += u64::from(is_served(stream).await);
    }
    served
}

fn few() -> Options {
    Options { until: Until::Records(200), recorded: true, ..Options::default() }
}

/// Scenario: ten thousand connections that say hello and nothing more, at an agent that takes 1,024 and at one that takes
/// them all. The agent's soft limit of files is that of a login shell.
///
/// Protects G9 and G2: those beyond the limit are refused, an agent within it serves its producers, and what a connection
/// takes is bounded; once they are gone there is room again. Files for the log never run out before connections do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections() {
    let count = connections();
    let (_directory, binary) = from_a_login_shell();
    for limit in [1_024, count + 100] {
        let agent = Setup::new(&binary)
            .file("archive")
            .config(&format!("[limits]\nconnections_max = {limit}\n"))
            .start()
            .await
            .unwrap();
        let mut journal = Journal::new(agent.output("archive"));
        let mut requests = accepted(&agent, few()).await.history;
        let before = agent.usage().resident_bytes;
        let mut idle = connect(agent.address(), count).await;
        let served = served(&mut idle).await;
        let grown = agent.usage().resident_bytes.saturating_sub(before);
        println!("{served} of {count} connections are served, {} bytes each", grown / served);
        // Health was asked over one that may still be closing.
        assert!(served <= limit && served + 8 >= limit.min(count), "{served} of {limit}");
        assert!(grown / served < 64 << 10, "{served} idle connections take {grown} bytes");
        if limit > count {
            let options = Options { first_sequence: 1_000, ..few() };
            requests.extend(accepted(&agent, options).await.history);
        }
        drop(idle);
        eventually("there is room again", || has_room(&agent)).await;
        let options = Options { first_sequence: 2_000, ..few() };
        requests.extend(accepted(&agent, options).await.history);
        settled(&requests, || file(&mut journal)).await;
    }
}

/// The agent's binary, as whoever may open 1,024 files at first.
fn from_a_login_shell() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("agent");
    let script = format!("#!/bin/sh\nulimit -Sn 1024\nexec {:?} \"$@\"\n", env!("CARGO_BIN_EXE_sync-agent"));
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (directory, path)
}

async fn has_room(agent: &Agent) -> bool {
    let mut some = connect(agent.address(), 10).await;
    served(&mut some).await == 10
}
