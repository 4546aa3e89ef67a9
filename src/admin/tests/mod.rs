//! The server and its client on real sockets. What the agent does with a command is the composition root's and tested
//! there; here a double stands in for it, and only tells what it was asked.

mod audit;
mod double;
mod find;
mod fuzz;
mod guard;
mod history;
mod http;
mod page;
mod requests;
mod socket;
mod streams;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::double::Double;
use super::{Client, Server};
use crate::runtime::{Stop, SystemClock, Tasks};

const LONG: Duration = Duration::from_secs(20);

/// A server with its double, on a socket and on a port.
struct Bench {
    root: TempDir,
    address: SocketAddr,
    double: Arc<Double>,
    stop: Stop,
    tasks: Tasks,
}

impl Bench {
    fn start() -> Self {
        Self::with(Double::default())
    }

    fn with(double: Double) -> Self {
        let root = TempDir::new().unwrap();
        let server = Server::bind(root.path(), Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = server.address().unwrap();
        let (double, stop, tasks) = (Arc::new(double), Stop::new(), Tasks::default());
        server.start(double.clone(), Arc::new(SystemClock), &stop, &tasks);
        Self { root, address, double, stop, tasks }
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    fn audit(&self) -> PathBuf {
        self.dir().join("audit.ndjson")
    }

    /// The lines of the audit log.
    fn audited(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.dir().join("admin-token")).unwrap().trim().to_owned()
    }

    fn client(&self) -> Client {
        Client::new(self.dir())
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(LONG, self.tasks.join()).await.expect("the server ends with the agent");
    }
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}
