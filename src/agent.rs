//! The composition root: builds every part from a checked config, wires them and spawns them. The only place that
//! names the plugins.
//!
//! A stop goes the data's way: intake first, then delivery, then the log.

mod keeper;
mod plugins;
mod transform_host;

use std::{fs, io, net::SocketAddr, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc, time::Duration};

use plugin_api::identity::Position;
use thiserror::Error;
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use self::{keeper::Keeper, plugins::build, transform_host::TransformHost};
use crate::{
    config::{self, Config, OnBacklogFull},
    dead_letter::{Bounds, IndexFull, Store, StoreError, store_path},
    delivery::{self, Backoff, LaneSettings, Letters, RateLimit, Snapshot, replay::Replays},
    feed::Tail,
    ingress::{BindError, Indexes, Refusals, Server},
    log::{
        EmbeddedLog, OpenReport, Retention, Settings as LogSettings,
        interface::{BacklogLimit, From as StartAt, Log, LogError, LogStatus, Subscription, WhenFull},
    },
    router::Router,
    runtime::{Shutdown, SystemClock, TaskKind, Tasks},
    telemetry::watch_disk,
    transform::{ModuleErrors, ModuleStatus},
};

/// A running agent.
pub struct Agent {
    address: SocketAddr,
    log: Arc<dyn Log>,
    stores: Vec<Arc<Store>>,
    lanes: Vec<watch::Receiver<Snapshot>>,
    replays: Vec<(Arc<str>, Replays)>,
    transform_host: TransformHost,
    shutdown: Shutdown,
    intake: Tasks,
    delivery: Tasks,
}

/// Why the agent did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory could not be made.
    #[error("data directory {path}: {source}")]
    Data {
        /// From `data.dir`.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log could not be opened.
    #[error("log: {0}")]
    Log(#[from] LogError),
    /// A destination's dead letters could not be opened.
    #[error("dead letters: {0}")]
    DeadLetters(#[from] StoreError),
    /// Acknowledged records are gone.
    #[error(
        "destination {destination} has a dead letter at {letter}, beyond the log's end {end}: acknowledged records are \
         gone, so this data directory was restored or mixed; bring back the log that belongs to it"
    )]
    LogBehindLetters {
        /// Whose letters.
        destination: Arc<str>,
        /// The newest of them.
        letter: Position,
        /// Where the log ends.
        end: Position,
    },
    /// A destination could not be built from its settings.
    #[error("destination {destination}: {reason}")]
    Destination {
        /// Its name.
        destination: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// Transforms do not load. They fail closed: without its transform no index is delivered.
    #[error("transforms do not load:\n{0}")]
    Modules(#[from] ModuleErrors),
    /// Transforms cannot run here.
    #[error("this machine cannot run transforms: {0}")]
    Transforms(String),
    /// The port could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// How much of the agent came to an end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything.
    Whole,
    /// Requests to destinations were given up; they are sent again after the next start.
    DeliveryGivenUp,
}

impl Agent {
    /// Opens the data directory, starts a lane for every destination and serves producers.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let clock = Arc::new(SystemClock);
        let dir = config.data.dir.clone();
        let data_error = |source| StartError::Data { path: dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data.dir).map_err(data_error)?;
        let destinations = config
            .destinations
            .iter()
            .map(|destination| Ok((destination, build(destination, config)?)))
            .collect::<Result<Vec<_>, StartError>>()?;
        let log = open_log(config, clock.clone()).await?;
        let mut transform_host = TransformHost::start(config, clock.clone()).await?;
        let shutdown = Shutdown::default();
        let indexes = Indexes::new([], config.limits.indexes_max);
        let refusals = Arc::new(Refusals::default());
        let server = Server::bind(
            config.listen.grpc,
            config.limits.clone(),
            indexes,
            refusals.clone(),
            log.clone(),
            shutdown.intake(),
        )?;

        let router = Arc::new(Router::new(config));
        let tail = Arc::new(Tail::new(log.clone(), transform_host.transforms().cloned()));
        let (mut stores, mut keepers, mut prepared, mut asked) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (settings, destination) in destinations {
            let store = Arc::new(open_store(config, settings, &*log).await?);
            stores.push(store.clone());
            keepers.push(Keeper {
                destination: settings.name.clone(),
                store: store.clone(),
                index_full: bounds(settings).index_full,
                router: router.clone(),
                refusals: refusals.clone(),
                clock: clock.clone(),
                interval: Keeper::INTERVAL,
            });
            let tail = tail.clone();
            let (log, router, letters) = (log.clone(), router.clone(), Letters::new(store, clock.clone()));
            let subscription = subscribe(&settings.name, &*log).await?;
            let (asks, replays) = Replays::channel();
            asked.push((settings.name.clone(), asks));
            let wiring = delivery::Wiring { destination, log, tail, router, letters, replays };
            prepared.push((lane_settings(settings), wiring, subscription));
        }

        let (intake, delivery, stop) = (Tasks::default(), Tasks::default(), shutdown.delivery());
        transform_host.follow(&stop, &delivery)?;
        // From here on nothing can fail: either everything runs or nothing does.
        let start = |(settings, wiring, subscription): (_, _, Subscription)| {
            delivery::start(settings, wiring, subscription, &stop, &delivery)
        };
        keepers.into_iter().for_each(|keeper| keeper.start(stop.clone(), &delivery));
        let lanes: Vec<_> = prepared.into_iter().map(start).collect();
        let address = server.local_address();
        delivery.spawn(TaskKind::Upkeep, "disk", watch_disk(log.clone(), stop.clone()));
        intake.spawn(TaskKind::Ingress, "ingress", server.serve());
        tracing::info!(%address, destinations = lanes.len(), "listening");
        Ok(Self { address, log, stores, lanes, replays: asked, transform_host, shutdown, intake, delivery })
    }

    /// Where it listens for producers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its log stands.
    #[must_use]
    pub fn log_status(&self) -> LogStatus {
        self.log.status()
    }

    /// How each destination is doing, by name ascending.
    #[must_use]
    pub fn lanes(&self) -> Vec<Snapshot> {
        self.lanes.iter().map(|lane| lane.borrow().clone()).collect()
    }

    /// Asks a destination's lane for replays; `None` if there is no such destination.
    #[must_use]
    pub fn replays(&self, destination: &str) -> Option<&Replays> {
        self.replays.iter().find(|(name, _)| &**name == destination).map(|(_, replays)| replays)
    }

    /// How each transform's module stands, by name ascending.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleStatus> {
        self.transform_host.modules()
    }

    /// Returns when a task has panicked: the agent must be stopped.
    pub async fn panicked(&self) {
        tokio::select! {
            // In any order: either is the end.
            biased;
            () = self.intake.panicked() => {}
            () = self.delivery.panicked() => {}
        }
    }

    /// Stops taking requests, answers those it has, lets the requests to destinations end within `grace`, persists the
    /// cursors and closes the log.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.shutdown.stop_intake();
        // Appends end by themselves: nothing in the log waits for anything but the disk.
        self.intake.join().await;
        self.shutdown.stop_delivery();
        let stopped = match timeout(grace, self.delivery.join()).await {
            Ok(()) => Stopped::Whole,
            Err(_) => Stopped::DeliveryGivenUp,
        };
        self.log.close().await;
        for store in self.stores.into_iter().filter_map(Arc::into_inner) {
            if let Err(error) = store.close().await {
                tracing::warn!(%error, "dead letters could not be closed");
            }
        }
        stopped
    }
}

async fn open_log(config: &Config, clock: Arc<SystemClock>) -> Result<Arc<dyn Log>, StartError> {
    let settings = LogSettings {
        dir: config.data.dir.join("logs").join("default"),
        disk_bytes_max: config.data.disk_bytes_max,
        segment_bytes: config.data.segment_bytes,
        retention: Retention { age: config.data.retention.age, bytes_max: config.data.retention.bytes_max },
        destinations: config.destinations.iter().map(backlog_limit).collect(),
    };
    let opened = spawn_blocking(move || EmbeddedLog::open(settings, clock)).await;
    let (log, report) = opened.unwrap_or(Err(LogError::Closed))?;
    tell(&report);
    Ok(Arc::new(log))
}

fn backlog_limit(destination: &config::Destination) -> (String, BacklogLimit) {
    let when_full = match destination.on_backlog_full {
        OnBacklogFull::Refuse => WhenFull::Refuse,
        OnBacklogFull::Detach => WhenFull::Detach,
    };
    (destination.name.to_string(), BacklogLimit { bytes_max: destination.backlog_bytes_max, when_full })
}

fn tell(report: &OpenReport) {
    tracing::info!(
        log_id = %report.log_id, start = %report.start, end = %report.end, segments = report.segments,
        torn_bytes = report.torn_bytes, idempotency_keys = report.keys,
        idempotency_seconds = report.keys_reach.as_secs(), "log opened",
    );
    if report.torn_bytes > 0 {
        tracing::warn!(
            bytes = report.torn_bytes, end = %report.end,
            "end of the log was cut: after a crash these bytes had no answer yet, after a clean stop the file was damaged",
        );
    }
    if report.versions_ahead > Duration::from_secs(60) {
        let seconds = report.versions_ahead.as_secs();
        tracing::error!(
            seconds,
            "versions run ahead of the clock: it is wrong now, or was when records were accepted"
        );
    }
    for alert in &report.alerts {
        tracing::error!(alert, "log needs attention");
    }
}

/// Where the destination goes on.
async fn subscribe(name: &Arc<str>, log: &dyn Log) -> Result<Subscription, LogError> {
    let subscription = log.subscribe(name, StartAt::default()).await?;
    if let Some(alert) = &subscription.alert {
        tracing::error!(destination = %name, alert, "cursor needs attention");
    }
    Ok(subscription)
}

async fn open_store(
    config: &Config,
    destination: &config::Destination,
    log: &dyn Log,
) -> Result<Store, StartError> {
    let name = &destination.name;
    let path = store_path(&config.data.dir, name);
    let bounds = bounds(destination);
    let closed = StoreError::Closed { path: path.clone() };
    let store = spawn_blocking(move || Store::open(&path, bounds)).await.unwrap_or(Err(closed))?;
    let end = log.status().end;
    match store.newest_position(log.id()).await? {
        Some(letter) if letter >= end => {
            Err(StartError::LogBehindLetters { destination: name.clone(), letter, end })
        }
        _ => Ok(store),
    }
}

/// What a destination's dead letters may take.
fn bounds(destination: &config::Destination) -> Bounds {
    Bounds {
        bytes_max: destination.dead_letters.bytes_max,
        age_max: destination.dead_letters.age_max,
        index_full: match destination.on_backlog_full {
            OnBacklogFull::Refuse => IndexFull::Refuse,
            OnBacklogFull::Detach => IndexFull::Gap,
        },
    }
}

/// A cursor is persisted so many times at least while a destination passes as much as it may be behind.
const COMMITS_WITHIN_BACKLOG: u64 = 8;

fn lane_settings(destination: &config::Destination) -> LaneSettings {
    LaneSettings {
        name: destination.name.clone(),
        operations_max: destination.batch.operations_max,
        bytes_max: destination.batch.bytes_max,
        linger: destination.batch.linger,
        requests_max: destination.requests_max,
        rate_limit: RateLimit {
            operations_per_second: destination.rate_limit.operations_per_second,
            bytes_per_second: destination.rate_limit.bytes_per_second,
        },
        backoff: Backoff { min: destination.backoff.min, max: destination.backoff.max },
        attempts_max: destination.attempts_max,
        probe_interval: LaneSettings::PROBE_INTERVAL,
        commit_bytes: destination.backlog_bytes_max / COMMITS_WITHIN_BACKLOG,
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use fakes::algolia::{FakeAlgolia, Fault, Options};
    use plugin_api::operation::Action;

    use super::*;
    use crate::{
        config::FixedEnvironment,
        contract::client::{
            ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
        },
        log::interface::{Append, Attributes},
        record::PayloadWriter,
    };

    /// The config of an agent with one Algolia, in this directory.
    fn config(dir: &Path, fake: &FakeAlgolia) -> Config {
        let text = format!(
            "[listen]\ngrpc = \"127.0.0.1:0\"\n[data]\ndir = \"{}\"\n\
             [destinations.search]\ntype = \"algolia\"\napp_id = {{ env = \"APP\" }}\n\
             api_key = {{ env = \"KEY\" }}\nhosts = [\"{}\"]\n",
            dir.join("data").display(),
            fake.url(),
        );
        let path = dir.join("agent.toml");
        fs::write(&path, text).unwrap();
        let environment = FixedEnvironment::new(&[("APP", "FAKEAPP"), ("KEY", "fake-key")], &[]);
        config::load(Some(&path), &environment).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    /// Starts as soon as the log's lock is free, which goes with the last of what was given up.
    async fn start_again(config: &Config) -> Agent {
        let start = async || loop {
            match Agent::start(config).await {
                Err(StartError::Log(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                started => return started.unwrap(),
            }
        };
        timeout(Duration::from_secs(20), start()).await.expect("the lock becomes free")
    }

    /// G3: a destination that hangs holds a stop for no longer than the grace period, and after the next start it is
    /// sent what it never answered.
    #[tokio::test]
    async fn stop_keeps_to_its_grace() {
        let dir = tempfile::TempDir::new().unwrap();
        let fake = FakeAlgolia::start(Options::default()).await.unwrap();
        fake.fail_all(Fault::Hang);
        let config = config(dir.path(), &fake);
        // A runtime of its own, so that it can end as a process does, with what was given up.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let first = config.clone();
        let agent = runtime.spawn(async move { Agent::start(&first).await.unwrap() }).await.unwrap();
        let mut payload = PayloadWriter::new(Action::Save, "products", 2);
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{}");
            Ok::<_, io::Error>(())
        };
        payload.record("1", write).unwrap();
        let request = Append { records: 1, payload: payload.into_bytes(), attributes: Attributes::default() };
        agent.log.append(request).await.unwrap();
        fake.wait_for_requests(1).await;
        let (start, grace) = (Instant::now(), Duration::from_millis(100));
        assert_eq!(agent.stop(grace).await, Stopped::DeliveryGivenUp);
        assert!((grace..Duration::from_secs(5)).contains(&start.elapsed()), "{:?}", start.elapsed());
        runtime.shutdown_background();

        fake.recover();
        let agent = start_again(&config).await;
        timeout(Duration::from_secs(20), fake.wait_for_operations(1)).await.unwrap();
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);
    }

    /// When the second destination cannot be opened, the first one's lane does not run behind the error.
    #[tokio::test]
    async fn failed_start_leaves_nothing_running() {
        let dir = tempfile::TempDir::new().unwrap();
        let fake = FakeAlgolia::start(Options::default()).await.unwrap();
        let mut config = config(dir.path(), &fake);
        let agent = Agent::start(&config).await.unwrap();
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);
        let mut broken = config.destinations[0].clone();
        broken.name = "zzz".into();
        config.destinations.push(broken);
        fs::write(
            store_path(&config.data.dir, "zzz"),
            "no database, but long enough to be looked at".repeat(99),
        )
        .unwrap();
        let refused = Agent::start(&config).await.err();
        assert!(matches!(refused, Some(StartError::DeadLetters(_))), "{refused:?}");
        // Whatever still ran would hold the log's lock.
        config.destinations.pop();
        let agent = start_again(&config).await;
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);
    }

    /// G2 and G5: once letters of one index fill half of their budget, producers are refused that index, are told which
    /// destination and why, and go on with the others. It is so after a restart, too.
    #[tokio::test]
    async fn an_index_whose_letters_fill_half_is_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let fake = FakeAlgolia::start(Options::default()).await.unwrap();
        let mut config = config(dir.path(), &fake);
        config.destinations[0].dead_letters.bytes_max = 1 << 20;
        let agent = Agent::start(&config).await.unwrap();
        assert_eq!(upsert(&agent, "products").await.map_err(|status| status.code()), Ok(()));
        // The destination's rules exclude a record with another object's id.
        let mut payload = PayloadWriter::new(Action::Save, "products", 2);
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(
                format!(r#"{{"objectID":"2","text":"{}"}}"#, "x".repeat(600 << 10)).as_bytes(),
            );
            Ok::<_, io::Error>(())
        };
        payload.record("1", write).unwrap();
        let request = Append { records: 1, payload: payload.into_bytes(), attributes: Attributes::default() };
        agent.log.append(request).await.unwrap();
        let start = Instant::now();
        let refused = loop {
            match upsert(&agent, "products").await {
                Err(status) => break status,
                Ok(()) => assert!(start.elapsed() < Duration::from_secs(20), "it is still accepted"),
            }
        };
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let told = refused.message();
        assert!(told.starts_with("destination \"search\" takes no more of index \"products\": "), "{told}");
        upsert(&agent, "good").await.unwrap();
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);

        let agent = start_again(&config).await;
        assert_eq!(upsert(&agent, "products").await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);
    }

    /// Deletes an object, as a producer would.
    async fn upsert(agent: &Agent, index: &str) -> Result<(), tonic::Status> {
        let mut client = SyncServiceClient::connect(format!("http://{}", agent.address())).await.unwrap();
        let request = UpsertObjectsRequest {
            index_name: index.to_owned(),
            action_type: ActionType::DeleteObject as i32,
            payloads: vec![SyncPayload { object_id: "1".to_owned(), data: None }],
            idempotency_key: String::new(),
        };
        client.upsert_objects(request).await.map(|_| ())
    }
}
