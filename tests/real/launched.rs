//! A server of one test's own, which the test may kill, and what it must hold in the end.

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{
    contract::Action,
    history::{Outcome, Request},
    process::{Setup, free_address},
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::server::Server;

/// How long a condition may take to come true: many times what it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// One at a time is enough for a machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running server with a data directory and a port of its own.
pub(crate) struct Launched {
    pub(crate) server: Server,
    launch: String,
    settings: Vec<String>,
    directory: TempDir,
    process: Option<Child>,
    _turn: MutexGuard<'static, ()>,
}

/// The agent that this package builds.
pub(crate) fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_sync-agent"))
}

impl Launched {
    /// Starts one, if there is anything to start it with.
    pub(crate) async fn start(settings: &[&str]) -> Option<Self> {
        let Some(launch) = env::var("OPENSEARCH_LAUNCH").ok().filter(|launch| !launch.is_empty()) else {
            eprintln!("skipped: OPENSEARCH_LAUNCH is not set (tests/real/opensearch/run sets it)");
            return None;
        };
        let turn = TURN.lock().await;
        let address = free_address();
        let port = format!("http.port={}", address.port());
        let mut launched = Self {
            server: Server::at(format!("http://{address}")),
            launch,
            settings: settings.iter().map(ToString::to_string).chain([port]).collect(),
            directory: TempDir::new().unwrap(),
            process: None,
            _turn: turn,
        };
        launched.restart().await;
        // Documents that race for a new field are another test's affair.
        let index = json!({ "settings": { "number_of_replicas": 0 }, "mappings": { "dynamic": false } });
        let template = json!({ "index_patterns": ["*"], "template": index }).to_string();
        launched.server.ask(Method::PUT, "/_index_template/any", &template).await;
        Some(launched)
    }

    /// Ends it as nothing does that may still tidy up: SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only for a process that is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it on the same directory and port, and waits until it has every primary.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let (node, port) = (self.directory.path().join("node"), self.directory.path().join("port"));
        let _ = fs::remove_file(&port);
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(&self.launch);
        command.arg(node).arg(&port).args(&self.settings).stdin(Stdio::piped());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let start = Instant::now();
        while !port.exists() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < DEADLINE,
                "it does not serve: {ended:?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.server.ask(Method::GET, "/_cluster/health?wait_for_status=yellow&timeout=50s", "").await;
    }

    /// Waits until the indexes whose names begin so hold what was acknowledged, each object at its newest and none that
    /// was deleted.
    pub(crate) async fn holds(&self, beginning: &str, history: &[Request]) {
        let expected = newest(beginning, history);
        let start = Instant::now();
        loop {
            let documents = self.server.documents(&format!("{beginning}*"), "seq").await;
            let sequence = |document: Value| document["seq"].as_f64().map(|sequence| sequence as u64);
            let stored: BTreeMap<_, _> = documents
                .into_iter()
                .map(|(key, document)| (key, sequence(document).unwrap_or_default()))
                .collect();
            let wrong: Vec<_> = expected
                .iter()
                .filter(|(key, sequence)| stored.get(*key) != sequence.as_ref())
                .map(|(key, sequence)| (key, sequence, stored.get(key)))
                .collect();
            let unsent: Vec<_> = stored.keys().filter(|key| !expected.contains_key(*key)).collect();
            if wrong.is_empty() && unsent.is_empty() {
                return;
            }
            let (of, first) = (expected.len(), &wrong[..wrong.len().min(5)]);
            let in_time = start.elapsed() < DEADLINE;
            assert!(
                in_time,
                "{} of {of} objects are wrong, such as {first:?}; unsent: {unsent:?}",
                wrong.len()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            eprintln!(
                "the server's log ends with:\n{}",
                &log[log.floor_char_boundary(log.len().saturating_sub(4_000))..]
            );
        }
    }
}

/// The newest sequence number of each object; none of one that was deleted last.
fn newest(beginning: &str, history: &[Request]) -> BTreeMap<(String, String), Option<u64>> {
    let mut newest: BTreeMap<(String, String), (u64, Action)> = BTreeMap::new();
    for request in history {
        assert!(matches!(request.outcome, Outcome::Acknowledged { .. }), "{request:?}");
        for sent in &request.operations {
            let key = (format!("{beginning}{}", request.index), sent.object_id.clone());
            let last = newest.entry(key).or_insert((sent.sequence, request.action));
            if last.0 < sent.sequence {
                *last = (sent.sequence, request.action);
            }
        }
    }
    let live = |(sequence, action)| (action != Action::Delete).then_some(sequence);
    newest.into_iter().map(|(key, last)| (key, live(last))).collect()
}
