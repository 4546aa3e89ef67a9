//! The socket's file and the token's.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::Path,
};

use tempfile::TempDir;

use super::Bench;
use crate::admin::{BindError, Client, ClientError, Server, socket_path};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Only its owner may use the socket, and it goes with the agent.
#[tokio::test]
async fn the_socket_is_its_owners() {
    let bench = Bench::start();
    let (dir, path) = (TempDir::new().unwrap(), socket_path(bench.dir()));
    assert_eq!(mode(&path), 0o600);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let client = Client::new(dir.path());
    match client.status().await {
        Err(ClientError::NotRunning { data_dir }) => assert_eq!(data_dir, dir.path()),
        answer => panic!("{answer:?}"),
    }
    assert!(!client.finds_agent().await);
    let Bench { root, stop, tasks, .. } = bench;
    stop.cancel();
    tasks.join().await;
    assert!(!path.exists());
    drop(root);
}

/// Scenario: an agent was killed, and its socket is still there. A client says that no agent runs; the next agent
/// replaces it.
#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let dir = TempDir::new().unwrap();
    drop(UnixListener::bind(socket_path(dir.path())).unwrap());
    let client = Client::new(dir.path());
    assert!(matches!(client.status().await, Err(ClientError::NotRunning { .. })));
    let server = Server::bind(dir.path(), None).unwrap();
    assert!(client.finds_agent().await);
    assert_eq!(server.address(), None);
    assert!(!dir.path().join("admin-token").exists(), "without a port nobody needs a token");
}

/// Somebody's file is not taken for a socket, and a path that is too long is called by its name.
#[tokio::test]
async fn what_cannot_be_bound_is_told() {
    let dir = TempDir::new().unwrap();
    fs::write(socket_path(dir.path()), "mine").unwrap();
    assert!(matches!(Server::bind(dir.path(), None), Err(BindError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(socket_path(dir.path())).unwrap(), "mine");

    let deep = dir.path().join("x".repeat(100));
    fs::create_dir(&deep).unwrap();
    let error = Server::bind(&deep, None).unwrap_err().to_string();
    assert!(error.contains("has 107 at most: choose a data.dir with a shorter path"), "{error}");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TempDir::new().unwrap();
    let error = Server::bind(other.path(), Some(port.local_addr().unwrap())).unwrap_err().to_string();
    assert!(error.contains("listen.admin"), "{error}");
    assert!(!socket_path(other.path()).exists());
}

/// The token is made once, of 32 random bytes, for its owner alone; what an operator puts there instead counts, unless it
/// is too short to be one.
#[tokio::test]
async fn the_token_is_made_once() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (address, path) = ("127.0.0.1:0".parse().unwrap(), dir.path().join("admin-token"));
    let bind = |dir: &TempDir| Server::bind(dir.path(), Some(address));
    bind(&dir).unwrap();
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!((token.trim().len(), mode(&path)), (64, 0o600));
    assert!(token.trim().bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    bind(&dir).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), token);
    bind(&other).unwrap();
    assert_ne!(fs::read_to_string(other.path().join("admin-token")).unwrap(), token);

    for bad in ["", "\n", "short", "thirty-two characters and a space"] {
        fs::write(&path, bad).unwrap();
        let error = bind(&dir).unwrap_err().to_string();
        assert!(error.contains("delete the file") && error.contains("admin-token"), "{error}");
    }
}
