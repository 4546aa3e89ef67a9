//! The composition root: builds every part from a checked config, wires them and spawns them. The only place that
//! names the plugins.
//!
//! A stop goes the data's way: intake first, then delivery, then the log.

mod control;
mod observed;

mod reload;

mod follow;
mod kept;

mod history;
mod letters;
mod letters_read;
mod rates;
mod status;
mod tail;

mod destinations;
mod keeper;
mod plugins;
mod settings;
mod supervisor;
mod transform_host;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use plugin_api::identity::Position;
use thiserror::Error;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::spawn_blocking,
    time::timeout,
};

use self::{
    control::Operator,
    destinations::Destinations,
    follow::{files_of, follow},
    kept::{Kept, accepted},
    observed::Observable,
    plugins::build,
    rates::Rates,
    reload::{ReloadOutcomes, Reloader, Serving, start_of},
    settings::log_settings,
    supervisor::{Built, Shared},
    tail::Tails,
    transform_host::TransformHost,
};
use crate::{
    admin::{self, ControlError, ReloadReport},
    config::{self, Config, ConfigErrors, Environment, Loaded},
    dead_letter::StoreError,
    delivery::Snapshot,
    feed::{Routes, Routing, Tail},
    ingress::{BindError, Entrance, Indexes, Refusals, Server, Terms, TlsError},
    log::{
        EmbeddedLog, OpenReport,
        interface::{Log, LogError, LogStatus},
    },
    router::Router,
    runtime::{Clock, Shutdown, Stop, SystemClock, TaskKind, Tasks, Tracer},
    tap::Tap,
    telemetry::{Exporter, Port, PortError, watch_disk},
    transform::{ModuleErrors, ModuleStatus, Otherwise},
};

/// A running agent.
pub struct Agent {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    log: Arc<dyn Log>,
    reloader: Arc<Reloader>,
    shutdown: Shutdown,
    intake: Tasks,
    delivery: Tasks,
    /// What is told at the very end.
    telemetry: (Stop, Tasks),
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
    /// Where a destination is to begin, the log has nothing.
    #[error("destination {destination}: from: {reason}")]
    From {
        /// Its name.
        destination: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// What operators have said cannot be read.
    #[error("{0}")]
    Kept(io::Error),
    /// The config's file cannot be followed.
    #[error("config cannot be followed: {0}")]
    Follow(io::Error),
    /// The operators' API could not be served.
    #[error("admin API: {0}")]
    Admin(#[from] admin::BindError),
    /// Metrics and health could not be served.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The port could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The port's TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How long the last spans may take to be told.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// How much of the agent came to an end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything.
    Whole,
    /// Requests to destinations were given up; they are sent again after the next start.
    DeliveryGivenUp,
}

/// What an agent is started with.
pub struct Start {
    /// The config.
    pub loaded: Loaded,
    /// Where it is read from again.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// What is wrong with the file, if this is the config that was accepted before it.
    pub refused: Option<ConfigErrors>,
    /// Whether modules that do not load may be replaced by those that were accepted last.
    pub last_accepted_modules: bool,
}

impl Start {
    /// A config as it is, in the process's own environment; what is wrong with it keeps the agent from starting.
    #[must_use]
    pub fn strictly(loaded: Loaded) -> Self {
        let environment = Arc::new(config::ProcessEnvironment);
        Self { loaded, environment, refused: None, last_accepted_modules: false }
    }

    /// The config that was accepted last, for a file that has errors; `None` if there is none, or it has errors, too.
    #[must_use]
    pub fn with_last_accepted(path: &Path, refused: ConfigErrors) -> Option<Self> {
        let environment = Arc::new(config::ProcessEnvironment);
        let kept = accepted(&config::data_dir(Some(path)).ok()?)?;
        let loaded = config::load_text(Some(path), kept, &*environment).ok()?;
        Some(Self { loaded, environment, refused: Some(refused), last_accepted_modules: true })
    }
}

impl Agent {
    /// Opens the data directory, starts a lane for every destination and serves producers.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(start: Start) -> Result<Self, StartError> {
        let Start { loaded, environment, refused, last_accepted_modules } = start;
        let config = &loaded.config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let dir = config.data.dir.clone();
        let data_error = |source| StartError::Data { path: dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data.dir).map_err(data_error)?;
        let kept = Arc::new(Kept::open(&config.data.dir).map_err(StartError::Kept)?);
        let built = config.destinations.iter().map(|destination| {
            let plugin = build(destination, config)?;
            Ok(Arc::new(Built { config: destination.clone(), destination: plugin }))
        });
        let built = built.collect::<Result<Vec<_>, StartError>>()?;
        let log = open_log(config).await?;
        let otherwise = if last_accepted_modules { Otherwise::LastAccepted } else { Otherwise::Refuse };
        let mut transform_host = TransformHost::start(config, clock.clone(), otherwise).await?;
        let (shutdown, intake, delivery) = (Shutdown::default(), Tasks::default(), Tasks::default());
        let stop = shutdown.delivery();
        let (refusals, (tracer, spans)) = (Arc::new(Refusals::default()), Tracer::new());
        // Before the first lane reads.
        tracer.switch(config.telemetry.otlp.is_some());
        let server = Server::bind(
            config.listen.grpc,
            Terms::of(config, Entrance::of(&config.listen)?),
            Indexes::new([]),
            refusals.clone(),
            log.clone(),
            tracer.clone(),
            shutdown.intake(),
        )?;
        let routing =
            Routing { router: Router::new(config), transforms: transform_host.transforms().cloned() };
        let routes = Routes::new(routing);
        let tap = Tap::new(clock.clone());
        let destinations = Destinations::new(Shared {
            data_dir: config.data.dir.clone(),
            log: log.clone(),
            tail: Arc::new(Tail::new(log.clone())),
            routes: routes.clone(),
            tap: tap.clone(),
            refusals,
            clock: clock.clone(),
            tracer: tracer.clone(),
            stop: stop.clone(),
            tasks: delivery.clone(),
        });
        let api = admin::Server::bind(&config.data.dir, config.listen.admin)?;
        let admin_address = api.address();
        let port = config.listen.http.map(Port::bind).transpose()?;
        let http_address = port.as_ref().map(Port::address);
        let mut prepared = Vec::new();
        for built in built {
            let (name, from) = (&built.config.name, built.config.from);
            let from = start_of(&*log, name, from)
                .await
                .map_err(|reason| StartError::From { destination: name.clone(), reason })?;
            let ready = destinations.shared.prepare(&built.config, from).await?;
            prepared.push((built, ready));
        }
        let path = loaded.file().map(Path::to_owned);
        let (followed, changes) =
            follow(files_of(path.as_ref(), config), &stop).map_err(StartError::Follow)?;
        transform_host.follow(&stop, &delivery)?;
        // From here on nothing can fail: either everything runs or nothing does.
        let commands = kept.commands();
        server.policy().drain(commands.draining);
        for (built, ready) in prepared {
            let paused = commands.paused.get(&*built.config.name).cloned();
            destinations.start(built, Some(ready), paused);
        }
        if refused.is_none()
            && let Err(error) = kept.accept(loaded.text())
        {
            tracing::warn!(%error, "config cannot be kept for a start on a broken one");
        }
        let address = server.local_address();
        let (otlp, otlp_address) = watch::channel(config.telemetry.otlp.clone());
        let tails = Tails {
            tap,
            log: log.clone(),
            routes: routes.clone(),
            clock: clock.clone(),
            stop: shutdown.intake(),
            tasks: intake.clone(),
        };
        let reloader = Arc::new(Reloader {
            path,
            environment,
            log: log.clone(),
            routes,
            policy: server.policy(),
            kept,
            followed,
            clock: clock.clone(),
            stop: stop.clone(),
            tasks: delivery.clone(),
            transform_host: AsyncMutex::new(transform_host),
            serving: Mutex::new(Serving {
                loaded: Arc::new(loaded),
                generation: 1,
                loaded_at: clock.now(),
                last_accepted: refused.is_some(),
                refused: refused.map(|errors| (clock.now(), reload::refused(&errors))),
            }),
            outcomes: ReloadOutcomes::default(),
            otlp,
            destinations,
        });
        let rates = Arc::new(Rates::default());
        delivery.spawn(
            TaskKind::Upkeep,
            "rates",
            rates.clone().watch(reloader.destinations.clone(), stop.clone()),
        );
        let operator = Arc::new(Operator {
            reloader: reloader.clone(),
            rates: rates.clone(),
            tails,
            started_at: clock.now(),
        });
        let observed = Arc::new(Observable {
            operator: operator.clone(),
            requests: server.meters(),
            held: server.gauge(),
            tracer: tracer.clone(),
            stop: shutdown.intake(),
        });
        if let Some(port) = port {
            // As long as something is delivered somebody may want to see it.
            port.start(observed.clone(), stop.clone(), &delivery);
        }
        let (started_at, instance) = (clock.now(), log.id().to_string());
        let telemetry = (Stop::new(), delivery.group());
        Exporter { address: otlp_address, instance, tracer, observed, started_at }.start(
            spans,
            &telemetry.0,
            &telemetry.1,
        );
        let full_in_seconds =
            move |log: &LogStatus| rates.disk_full_in_seconds(log.held_bytes, log.disk_bytes_max);
        api.start(operator, clock, &shutdown.intake(), &intake);
        delivery.spawn(TaskKind::Upkeep, "disk", watch_disk(log.clone(), full_in_seconds, stop.clone()));
        delivery.spawn(TaskKind::Upkeep, "reload", reloader.clone().follow(changes));
        intake.spawn(TaskKind::Ingress, "ingress", server.serve());
        let count = reloader.serving().loaded.config.destinations.len();
        tracing::info!(%address, destinations = count, "listening");
        if let Some(address) = http_address {
            tracing::info!(%address, "metrics and health are served");
        }
        if let Some(address) = admin_address {
            tracing::info!(%address, "admin API is listening, by token");
        }
        Ok(Self {
            address,
            admin_address,
            http_address,
            log,
            reloader,
            shutdown,
            intake,
            delivery,
            telemetry,
        })
    }

    /// Where it listens for producers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin API listens beside its socket, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Where metrics and health are served, if they are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where its log stands.
    #[must_use]
    pub fn log_status(&self) -> LogStatus {
        self.log.status()
    }

    /// How each destination is doing, by name ascending; without those that have not started yet.
    #[must_use]
    pub fn lanes(&self) -> Vec<Snapshot> {
        let all = self.reloader.destinations.all();
        all.into_iter().filter_map(|(_, destination)| destination.snapshot()).collect()
    }

    /// How each transform's module stands, by name ascending.
    pub async fn modules(&self) -> Vec<ModuleStatus> {
        self.reloader.transform_host.lock().await.modules()
    }

    /// Lets the config serve as it is now.
    ///
    /// # Errors
    /// If it is refused; the one before serves on.
    pub async fn reload(&self) -> Result<ReloadReport, ControlError> {
        self.reloader.reload(false).await
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
        let (stop, tasks) = &self.telemetry;
        stop.cancel();
        // A collector that hangs holds nobody up.
        let _ = timeout(LAST_SPANS_WITHIN, tasks.join()).await;
        stopped
    }
}

async fn open_log(config: &Config) -> Result<Arc<dyn Log>, StartError> {
    let settings = log_settings(config);
    let opened = spawn_blocking(move || EmbeddedLog::open(settings, Arc::new(SystemClock))).await;
    let (log, report) = opened.unwrap_or(Err(LogError::Closed))?;
    tell(&report);
    Ok(Arc::new(log))
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
        dead_letter::store_path,
        log::interface::{Append, Attributes},
        record::PayloadWriter,
    };

    /// The config of an agent with one Algolia, in this directory.
    fn config(dir: &Path, fake: &FakeAlgolia) -> Loaded {
        let text = format!(
            "[listen]\ngrpc = \"127.0.0.1:0\"\nhttp = \"off\"\n[data]\ndir = \"{}\"\n\
             [destinations.search]\ntype = \"algolia\"\napp_id = {{ env = \"APP\" }}\n\
             api_key = {{ env = \"KEY\" }}\nhosts = [\"{}\"]\n",
            dir.join("data").display(),
            fake.url(),
        );
        let path = dir.join("agent.toml");
        fs::write(&path, text).unwrap();
        let environment = FixedEnvironment::new(&[("APP", "FAKEAPP"), ("KEY", "fake-key")], &[]);
        config::load(Some(&path), &environment).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Starts as soon as the log's lock is free, which goes with the last of what was given up.
    async fn start_again(config: &Loaded) -> Agent {
        let start = async || loop {
            match Agent::start(Start::strictly(config.clone())).await {
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
        let agent =
            runtime.spawn(async move { Agent::start(Start::strictly(first)).await.unwrap() }).await.unwrap();
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
        let agent = Agent::start(Start::strictly(config.clone())).await.unwrap();
        assert_eq!(agent.stop(Duration::from_secs(20)).await, Stopped::Whole);
        let mut broken = config.config.destinations[0].clone();
        broken.name = "zzz".into();
        config.config.destinations.push(broken);
        fs::write(
            store_path(&config.config.data.dir, "zzz"),
            "no database, but long enough to be looked at".repeat(99),
        )
        .unwrap();
        let refused = Agent::start(Start::strictly(config.clone())).await.err();
        assert!(matches!(refused, Some(StartError::DeadLetters(_))), "{refused:?}");
        // Whatever still ran would hold the log's lock.
        config.config.destinations.pop();
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
        config.config.destinations[0].dead_letters.bytes_max = 1 << 20;
        let agent = Agent::start(Start::strictly(config.clone())).await.unwrap();
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
            // Another one than that of the letter, whose data its delete would purge.
            payloads: vec![SyncPayload { object_id: "9".to_owned(), data: None }],
            idempotency_key: String::new(),
        };
        client.upsert_objects(request).await.map(|_| ())
    }
}
