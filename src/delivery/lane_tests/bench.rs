//! A data directory, a fake Algolia in front of it, and lanes between the two.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use fakes::{
    algolia::{Detail, FakeAlgolia, Options},
    elasticsearch::FakeElasticsearch,
};
use plugin_algolia::{Algolia, Settings};
use plugin_api::destination::Destination;
use plugin_api::{
    identity::{Position, Timestamp},
    operation::Action,
};
use plugin_elasticsearch::Elasticsearch;
use plugin_http::{endpoint::Endpoint, secret::Secret};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

use crate::{
    config::{self, FixedEnvironment},
    dead_letter::{Bounds, Filed, Filter, Letter, Order, Range, Store, View, store_path},
    delivery::{Backoff, LaneSettings, Letters, RateLimit, Snapshot, Wiring, replay::Replays, start},
    feed::{Routes, Routing, Tail},
    log::{
        EmbeddedLog,
        inspect::{Rotten, StoppedLog},
        interface::{Append, Attributes, BacklogLimit, From, Log, Progress, Subscription, Totals},
    },
    record::PayloadWriter,
    router::Router,
    runtime::{Stop, SystemClock, Tasks, Tracer},
    tap::Tap,
    transform::Transforms,
};

/// Far longer than any of these waits takes.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Small enough to roll.
const SEGMENT_BYTES: u64 = 16 << 10;

const NAME: &str = "search";

/// Everything goes to the destination but the index `elsewhere`.
const CONFIG: &str = r#"
    [destinations.search]
    type = "file"
    dir = "search"
    [destinations.other]
    type = "file"
    dir = "other"
    [defaults]
    destinations = ["search"]
    [[indexes]]
    match = "elsewhere"
    destinations = ["other"]
    [[indexes]]
    match = "products"
    destinations = ["search"]
"#;

/// What the index `products` passes, where there are transforms.
const TRANSFORM: &str = r#"
    transform = "bend"
    [transforms.bend]
    path = "bend.wasm"
"#;

pub(super) fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

/// What survives a lane.
pub(super) struct Bench {
    root: TempDir,
    pub(super) fake: Arc<FakeAlgolia>,
    /// What the lane delivers to instead, if there is one.
    pub(super) cluster: Option<Arc<FakeElasticsearch>>,
    /// How far the destination may be behind.
    pub(super) limit: BacklogLimit,
    /// What the letters may take.
    pub(super) bounds: Bounds,
    pub(super) transforms: Option<Arc<Transforms>>,
    /// Lets a test look.
    pub(super) tap: Arc<Tap>,
    /// Takes the lane's spans.
    pub(super) tracer: Tracer,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let options = Options { detail: Detail::Attribute("sequence".to_owned()), ..Options::default() };
        let fake = Arc::new(FakeAlgolia::start(options).await.unwrap());
        Self {
            root: TempDir::new().unwrap(),
            fake,
            cluster: None,
            limit: BacklogLimit::UNLIMITED,
            bounds: Bounds::default(),
            transforms: None,
            tap: Tap::new(Arc::new(SystemClock)),
            tracer: Tracer::off(),
        }
    }

    pub(super) fn api_key(&self) -> &'static str {
        "fake-key"
    }

    /// What kill -9 leaves now, in front of the same destination.
    pub(super) fn crash(&self) -> Self {
        let root = loop {
            let root = TempDir::new().unwrap();
            let (log, copied_log, segments) =
                (self.log_dir(), root.path().join("log"), segment_names(&self.log_dir()));
            // What is copied later is newer: a cursor before the letters and the records that it passed.
            copy_directory(&log.join("cursors"), &copied_log.join("cursors"), "");
            copy_directory(self.root.path(), root.path(), "log");
            copy_directory(&log, &copied_log, "cursors");
            // A segment that went meanwhile would leave a hole, or a cursor before the log's start.
            if segment_names(&log).starts_with(&segments[..segments.len().min(1)]) {
                break root;
            }
        };
        let (fake, cluster, transforms) = (self.fake.clone(), self.cluster.clone(), self.transforms.clone());
        Self {
            root,
            fake,
            cluster,
            limit: self.limit,
            bounds: self.bounds,
            transforms,
            tap: self.tap.clone(),
            tracer: self.tracer.clone(),
        }
    }

    pub(super) async fn start(&self) -> Lane {
        self.start_with(|_| {}).await
    }

    pub(super) async fn start_with(&self, change: impl FnOnce(&mut LaneSettings)) -> Lane {
        let log = self.open_log().await;
        let subscription = log.subscribe(NAME, From::Oldest).await.unwrap();
        assert_eq!(subscription.alert, None);
        self.start_on(log, subscription, change)
    }

    /// Starts a lane at another position than its cursor's.
    pub(super) async fn start_at(&self, next: Position) -> Lane {
        self.start_from(Progress { next, ..Progress::default() }, |_| {}).await
    }

    /// Starts a lane as if its cursor were this.
    pub(super) async fn start_from(
        &self,
        progress: Progress,
        change: impl FnOnce(&mut LaneSettings),
    ) -> Lane {
        let log = self.open_log().await;
        let subscription = log.subscribe(NAME, From::Oldest).await.unwrap();
        self.start_on(log, Subscription { progress, ..subscription }, change)
    }

    fn start_on(
        &self,
        log: EmbeddedLog,
        subscription: Subscription,
        change: impl FnOnce(&mut LaneSettings),
    ) -> Lane {
        let mut settings = LaneSettings {
            name: NAME.into(),
            operations_max: 1_000,
            bytes_max: 1 << 20,
            linger: Duration::from_millis(20),
            requests_max: 8,
            rate_limit: RateLimit::default(),
            backoff: Backoff { min: Duration::from_millis(1), max: Duration::from_millis(20) },
            attempts_max: 1_000,
            probe_interval: LaneSettings::PROBE_INTERVAL,
            commit_bytes: 1 << 20,
        };
        change(&mut settings);
        let log = Arc::new(log);
        let store = Arc::new(Store::open(&self.store(), self.bounds).unwrap());
        let (replays, inbox) = Replays::channel();
        let routing = Routing { router: self.router(), transforms: self.transforms.clone() };
        let routes = Routes::new(routing);
        let wiring = Wiring {
            destination: self.destination(),
            log: log.clone(),
            tail: Arc::new(Tail::new(log.clone())),
            routes: routes.clone(),
            letters: Letters::new(store, Arc::new(SystemClock)),
            replays: inbox,
            meters: Default::default(),
            tracer: self.tracer.clone(),
            tap: self.tap.clone(),
        };
        let (stop, tasks) = (Stop::new(), Tasks::default());
        let watched = start(settings, wiring, subscription, &stop, &tasks);
        Lane { log, watched, replays, routes, seen: Totals::default(), stop, tasks }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        match &self.cluster {
            Some(cluster) => Arc::new(elasticsearch(cluster)),
            None => Arc::new(self.algolia()),
        }
    }

    fn algolia(&self) -> Algolia {
        let hosts = vec![Endpoint::parse(&self.fake.url(), false).unwrap()];
        let settings = Settings::new(Options::default().app_id, Secret::new(self.api_key()));
        Algolia::new(Settings { hosts: Some(hosts), gzip: false, ..settings }).unwrap()
    }

    /// With the transform, if there is one.
    pub(super) fn router(&self) -> Router {
        self.router_with(self.transforms.as_ref().map_or("", |_| TRANSFORM))
    }

    /// Without any.
    pub(super) fn plain_router(&self) -> Router {
        self.router_with("")
    }

    fn router_with(&self, transform: &str) -> Router {
        let path = self.root.path().join("agent.toml");
        fs::write(&path, format!("{CONFIG}{transform}")).unwrap();
        let loaded = config::load(Some(&path), &FixedEnvironment::new(&[], &[]));
        Router::new(&loaded.unwrap_or_else(|errors| panic!("{errors}")).config)
    }

    /// Opens the log as soon as whoever had it before has let it go.
    pub(super) async fn open_log(&self) -> EmbeddedLog {
        let settings = crate::log::Settings {
            dir: self.log_dir(),
            disk_bytes_max: 64 << 20,
            segment_bytes: SEGMENT_BYTES,
            retention: crate::log::Retention { age: Duration::ZERO, bytes_max: 0 },
            destinations: [(NAME.to_owned(), self.limit)].into(),
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

    /// Fills the log and has its first segments given back; returns where it starts and ends.
    pub(super) async fn lose_the_beginning(&self) -> (Position, Position) {
        let log = self.open_log().await;
        log.subscribe(NAME, From::Oldest).await.unwrap();
        let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000));
        for number in 0..50 {
            append(&log, Action::Save, "products", &[(number.to_string(), body.clone())]).await;
        }
        let progress = Progress { next: at(40), ..Progress::default() };
        log.commit(NAME, &progress).await.unwrap();
        let status = log.status();
        assert!(at(0) < status.start && status.start <= at(40), "{status:?}");
        log.close().await;
        (status.start, status.end)
    }

    /// Fills the log and lets records in its midst rot; returns the log's end.
    pub(super) async fn let_rot(&self) -> Position {
        let log = self.open_log().await;
        log.subscribe(NAME, From::Oldest).await.unwrap();
        let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000));
        for number in 0..50 {
            append(&log, Action::Save, "products", &[(number.to_string(), body.clone())]).await;
        }
        let end = log.status().end;
        log.close().await;
        drop(log);
        let segments = segment_names(&self.log_dir());
        let mut bytes = fs::read(&segments[1]).unwrap();
        bytes[6_000] ^= 1;
        bytes[7_500] ^= 1;
        fs::write(&segments[1], bytes).unwrap();
        end
    }

    /// Gives up what is rotten, without a word in the dead letters; returns how many records that are.
    pub(super) fn give_up(&self) -> u64 {
        let log = StoppedLog::open(&self.log_dir()).unwrap();
        let rotten = log.rotten(&mut |_| {}).unwrap();
        log.give_up(&rotten, Timestamp(1)).unwrap();
        rotten.iter().map(Rotten::records).sum()
    }

    /// From now on no range can be recorded.
    pub(super) fn break_ranges(&self) {
        self.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON ranges BEGIN SELECT RAISE(ABORT, 'broken'); END",
        );
    }

    fn log_dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    fn store(&self) -> PathBuf {
        store_path(self.root.path(), NAME)
    }

    /// The letters, as an operator would read them.
    pub(super) fn letters(&self) -> Vec<Letter> {
        self.filed().into_iter().map(|filed| filed.letter).collect()
    }

    /// The same with what the store knows of them.
    pub(super) fn filed(&self) -> Vec<Filed> {
        let view = View::open(&self.store()).unwrap();
        view.letters(Filter::default(), Order::OldestFirst).map(Result::unwrap).collect()
    }

    /// The letters as if they had been filed the other way round.
    pub(super) fn reverse_letters(&self) {
        self.execute("UPDATE letters SET id = -id; UPDATE letters SET id = 1000 + id");
    }

    /// All bytes of the letters' file.
    pub(super) fn letters_file(&self) -> Vec<u8> {
        fs::read(self.store()).unwrap()
    }

    /// Of each letter, the oldest first, whether it is stale.
    pub(super) fn stale(&self) -> Vec<bool> {
        let view = View::open(&self.store()).unwrap();
        view.letters(Filter::default(), Order::OldestFirst).map(|filed| filed.unwrap().stale).collect()
    }

    /// The ranges, as an operator would read them.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let view = View::open(&self.store()).unwrap();
        view.ranges(&Filter::default(), Order::OldestFirst).unwrap()
    }

    /// Deletes letters as an operator may, beside the running lane.
    pub(super) fn delete_letters(&self, condition: &str) {
        self.execute(&format!("DELETE FROM letters WHERE {condition}"));
    }

    /// From now on no letter can be written.
    pub(super) fn break_letters(&self) {
        self.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON letters BEGIN SELECT RAISE(ABORT, 'broken'); END",
        );
    }

    /// From now on no letter can be marked.
    pub(super) fn break_marks(&self) {
        self.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON letters BEGIN SELECT RAISE(ABORT, 'broken'); END",
        );
    }

    pub(super) fn mend_letters(&self) {
        self.execute("DROP TRIGGER broken");
    }

    fn execute(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.store()).unwrap();
        connection.busy_timeout(DEADLINE).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Waits until the cursor on disk is like this.
    pub(super) async fn until_cursor(&self, condition: impl Fn(&Progress) -> bool) {
        let start = Instant::now();
        loop {
            let crashed = self.crash();
            let log = crashed.open_log().await;
            let progress = log.subscribe(NAME, From::Oldest).await.unwrap().progress;
            if condition(&progress) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{progress:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The offsets that the destination applied to an object, in its order.
    pub(super) fn applied(&self, index: &str, key: u64) -> Vec<u64> {
        let journal = self.fake.journal().into_iter();
        let of_key = journal.filter(|applied| applied.index == index && applied.object_id == key.to_string());
        of_key.map(|applied| applied.body.as_u64().unwrap()).collect()
    }
}

/// A lane that runs.
pub(super) struct Lane {
    pub(super) log: Arc<EmbeddedLog>,
    watched: watch::Receiver<Snapshot>,
    pub(super) replays: Replays,
    pub(super) routes: Arc<Routes>,
    seen: Totals,
    pub(super) stop: Stop,
    pub(super) tasks: Tasks,
}

impl Lane {
    /// Appends one request of saves, each with its offset as `sequence`.
    pub(super) async fn save(&self, index: &str, keys: impl IntoIterator<Item = u64>) {
        self.change(Action::Save, index, keys).await;
    }

    /// The same with partial updates.
    pub(super) async fn update(&self, index: &str, keys: impl IntoIterator<Item = u64>) {
        self.change(Action::PartialUpdate, index, keys).await;
    }

    /// The same with deletes.
    pub(super) async fn delete(&self, index: &str, keys: impl IntoIterator<Item = u64>) {
        let records: Vec<_> = keys.into_iter().map(|key| (key.to_string(), String::new())).collect();
        append(&self.log, Action::Delete, index, &records).await;
    }

    async fn change(&self, action: Action, index: &str, keys: impl IntoIterator<Item = u64>) {
        let sequence = |offset| format!(r#"{{"sequence":{offset}}}"#);
        let records: Vec<_> = (self.log.status().end.offset..)
            .zip(keys)
            .map(|(o, key)| (key.to_string(), sequence(o)))
            .collect();
        append(&self.log, action, index, &records).await;
    }

    pub(super) async fn append(&self, index: &str, records: &[(&str, &str)]) {
        let owned = |(id, body): &(&str, &str)| ((*id).to_owned(), (*body).to_owned());
        append(&self.log, Action::Save, index, &records.iter().map(owned).collect::<Vec<_>>()).await;
    }

    /// Waits until the lane shows itself like this, and checks everything that it shows meanwhile.
    pub(super) async fn until(&mut self, what: &str, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let start = Instant::now();
        loop {
            let snapshot = self.watched.borrow_and_update().clone();
            self.check(&snapshot);
            if condition(&snapshot) {
                return snapshot;
            }
            let changed = timeout(DEADLINE.saturating_sub(start.elapsed()), self.watched.changed()).await;
            assert!(matches!(changed, Ok(Ok(()))), "it is still not true that {what}: {snapshot:?}");
        }
    }

    pub(super) async fn until_true(&mut self, what: &str, condition: impl Fn() -> bool) {
        self.until(what, |_| condition()).await;
    }

    /// G3: what is settled lies between the watermark and the log's end, no count ever falls, and accepted = settled +
    /// pending.
    fn check(&mut self, snapshot: &Snapshot) {
        let end = self.log.status().end;
        let Snapshot { totals, delivered, visible, since, .. } = snapshot;
        let settled = totals.settled();
        assert!(visible <= delivered && *delivered <= end, "{snapshot:?}");
        assert!(delivered.offset - since <= settled && settled <= end.offset - since, "{snapshot:?}");
        assert_eq!(snapshot.accepted(end), settled + snapshot.pending(end));
        let counts = |totals: &Totals| {
            [totals.written, totals.superseded, totals.skipped, totals.dead_lettered, totals.gap]
        };
        assert!(counts(totals).iter().zip(counts(&self.seen)).all(|(now, before)| *now >= before));
        self.seen = *totals;
    }

    /// Stops it as the agent would; it must end at once.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE / 4, self.tasks.join()).await.expect("the lane ends");
        assert_eq!(self.watched.borrow().state, crate::delivery::LaneState::Stopped);
        self.log.close().await;
    }
}

fn elasticsearch(cluster: &FakeElasticsearch) -> Elasticsearch {
    let nodes = vec![Endpoint::parse(&cluster.url(), false).unwrap()];
    let settings =
        plugin_elasticsearch::Settings { gzip: false, ..plugin_elasticsearch::Settings::new(nodes) };
    Elasticsearch::new(settings).unwrap()
}

async fn append(log: &EmbeddedLog, action: Action, index: &str, records: &[(String, String)]) {
    let mut payload = PayloadWriter::new(action, index, 64);
    for (id, body) in records {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(body.as_bytes());
            Ok::<_, io::Error>(())
        };
        payload.record(id, write).unwrap();
    }
    let records = payload.records();
    let request = Append { records, payload: payload.into_bytes(), attributes: Attributes::default() };
    log.append(request).await.unwrap();
}

/// The segments of a log, the oldest first.
fn segment_names(log: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(log) else { return Vec::new() };
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    names.sort();
    names
}

/// Copies what is there, but for an entry of this name; a temporary file may go meanwhile.
fn copy_directory(from: &Path, to: &Path, but: &str) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_name() == but {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target, "");
        } else if let Err(error) = fs::copy(entry.path(), target) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
