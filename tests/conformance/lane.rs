//! A lane as the agent starts it, driven from outside: its log, its dead letters, what it publishes, and nothing else.
//!
//! A crash is a copy of the data directory, which is what kill -9 leaves at that moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use plugin_api::{
    destination::Destination,
    testing::{Change, Driver, Progress, Rejected, Tuning},
};
use sync_agent::{
    config::{self, ProcessEnvironment},
    dead_letter::{Bounds, Filter, Order, Store, View, store_path},
    delivery::{
        self, Backoff, LaneSettings, LaneState, Letters, RateLimit, Snapshot, Wiring, replay::Replays,
    },
    feed::{Routes, Routing, Tail},
    log::{
        EmbeddedLog, Retention, Settings,
        interface::{Append, Attributes, BacklogLimit, From, Log},
    },
    record::PayloadWriter,
    router::Router,
    runtime::{Stop, SystemClock, Tasks},
    tap::Tap,
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

const NAME: &str = "subject";

/// Every index goes to the one destination.
const CONFIG: &str =
    "[destinations.subject]\ntype = \"file\"\ndir = \"unused\"\n[defaults]\ndestinations = [\"subject\"]\n";

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Lane {
    root: TempDir,
    tuning: Tuning,
    log: Arc<EmbeddedLog>,
    watched: watch::Receiver<Snapshot>,
    stop: Stop,
    tasks: Tasks,
    /// Every last error, as far as it stayed long enough to be seen.
    words: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Driver for Lane {
    async fn start(destination: Arc<dyn Destination>, tuning: Tuning) -> Self {
        Self::start_in(TempDir::new().unwrap(), destination, tuning).await
    }

    async fn accept(&mut self, changes: &[Change]) {
        for request in
            changes.chunk_by(|one, next| one.action == next.action && one.key.index == next.key.index)
        {
            let mut payload = PayloadWriter::new(request[0].action, &request[0].key.index, 1024);
            for change in request {
                let write = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&change.body);
                    Ok::<_, io::Error>(())
                };
                payload.record(&change.key.object_id, write).unwrap();
            }
            let records = payload.records();
            let append = Append { records, payload: payload.into_bytes(), attributes: Attributes::default() };
            let appended = self.log.append(append).await.unwrap();
            assert_eq!(
                appended.position.offset, request[0].number,
                "a record's offset is its change's number"
            );
        }
    }

    async fn work(&mut self) {
        let _ = timeout(Duration::from_millis(5), self.watched.changed()).await;
        let snapshot = self.watched.borrow_and_update();
        assert!(!matches!(snapshot.state, LaneState::Halted(_)), "{snapshot:?}");
    }

    fn progress(&self) -> Progress {
        let snapshot = self.watched.borrow();
        let end = self.log.status().end;
        assert_eq!(snapshot.accepted(end), snapshot.totals.settled() + snapshot.pending(end));
        Progress {
            settled: snapshot.delivered == end,
            failing: snapshot.last_error.is_some(),
            in_flight: snapshot.in_flight,
        }
    }

    fn rejected(&self) -> Vec<Rejected> {
        let view = View::open(&store_path(self.root.path(), NAME)).unwrap();
        let letters = view.letters(Filter::default(), Order::OldestFirst).map(|filed| filed.unwrap().letter);
        letters
            .map(|letter| Rejected { number: letter.source.position.offset, reason: letter.reason })
            .collect()
    }

    fn words(&self) -> Vec<String> {
        let reasons = self.rejected().into_iter().map(|rejected| rejected.reason.to_string());
        self.words.lock().unwrap().iter().cloned().chain(reasons).collect()
    }

    async fn crash(self, destination: Arc<dyn Destination>) -> Self {
        let root = TempDir::new().unwrap();
        copy_directory(self.root.path(), root.path());
        // What it still does is not known to the copy, and its destination goes with it.
        self.stop.cancel();
        timeout(DEADLINE, self.tasks.join()).await.expect("the lane ends");
        self.log.close().await;
        let fresh = Self::start_in(root, destination, self.tuning).await;
        fresh.words.lock().unwrap().extend(self.words());
        fresh
    }
}

impl Lane {
    async fn start_in(root: TempDir, destination: Arc<dyn Destination>, tuning: Tuning) -> Self {
        let log = Arc::new(open_log(root.path().join("log")).await);
        let subscription = log.subscribe(NAME, From::Oldest).await.unwrap();
        let store = Arc::new(Store::open(&store_path(root.path(), NAME), Bounds::default()).unwrap());
        let wiring = Wiring {
            destination,
            log: log.clone(),
            tail: Arc::new(Tail::new(log.clone())),
            routes: Routes::new(Routing { router: router(root.path()), transforms: None }),
            letters: Letters::new(store, Arc::new(SystemClock)),
            replays: Replays::channel().1,
            tap: Tap::new(Arc::new(SystemClock)),
        };
        let settings = LaneSettings {
            name: NAME.into(),
            operations_max: tuning.operations_max,
            bytes_max: 1 << 20,
            linger: Duration::from_millis(5),
            requests_max: 8,
            rate_limit: RateLimit::default(),
            backoff: Backoff { min: Duration::from_millis(1), max: Duration::from_millis(20) },
            attempts_max: tuning.attempts_max,
            probe_interval: Duration::from_millis(20),
            // As often as it can: a cursor that ran ahead would be on disk at every crash.
            commit_bytes: 1,
        };
        let (stop, tasks) = (Stop::new(), Tasks::default());
        let watched = delivery::start(settings, wiring, subscription, &stop, &tasks);
        let words = listen(watched.clone());
        Self { root, tuning, log, watched, stop, tasks, words }
    }
}

/// Collects what a lane tells of errors until it is gone.
fn listen(mut watched: watch::Receiver<Snapshot>) -> Arc<Mutex<Vec<String>>> {
    let words = Arc::new(Mutex::new(Vec::new()));
    let heard = words.clone();
    tokio::spawn(async move {
        while watched.changed().await.is_ok() {
            let error = watched.borrow_and_update().last_error.clone();
            heard.lock().unwrap().extend(error.map(|error| error.to_string()));
        }
    });
    words
}

/// Opens the log as soon as whoever had it before has let it go.
async fn open_log(dir: PathBuf) -> EmbeddedLog {
    let settings = Settings {
        dir,
        disk_bytes_max: 64 << 20,
        segment_bytes: 1 << 20,
        retention: Retention { age: Duration::ZERO, bytes_max: 0 },
        destinations: [(NAME.to_owned(), BacklogLimit::UNLIMITED)].into(),
    };
    let start = Instant::now();
    loop {
        match EmbeddedLog::open(settings.clone(), Arc::new(SystemClock)) {
            Ok((log, _)) => return log,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn router(root: &Path) -> Router {
    let path = root.join("agent.toml");
    fs::write(&path, CONFIG).unwrap();
    let loaded = config::load(Some(&path), &ProcessEnvironment);
    Router::new(&loaded.unwrap_or_else(|errors| panic!("{errors}")).config)
}

/// Copies what is there; a temporary file may go meanwhile.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), target) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
