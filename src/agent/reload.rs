//! From the config that serves to another one, while records pass: read, checked, compared, built, and only then swapped
//! in at once. Until that last step nothing of what serves is touched, so that a refusal costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plugin_api::{
    destination::Destination,
    identity::Timestamp,
    verdict::{Scope, WriteError},
};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    StartError,
    destinations::Destinations,
    follow::{Followed, files_of},
    kept::Kept,
    plugins::build,
    settings::{backlog_limit, retention},
    supervisor::Built,
    transform_host::TransformHost,
};
use crate::{
    admin::{ConfigError, ConfigRefused, ControlError, Planned, PlannedChange, ReloadReport},
    config::{self, Change, ChangeKind, Changes, Config, ConfigErrors, Environment, Loaded, StartFrom},
    feed::{Routes, Routing},
    ingress::{Entrance, Policy, Terms},
    log::interface::{AtTime, From as StartAt, Log, LogBounds},
    router::Router,
    runtime::{Clock, Counter, Stop, Tasks},
    transform::Otherwise,
};

/// What a reload changes.
pub(super) struct Reloader {
    /// The config's file; `None` for the built-in config.
    pub(super) path: Option<PathBuf>,
    pub(super) environment: Arc<dyn Environment + Send + Sync>,
    pub(super) log: Arc<dyn Log>,
    pub(super) routes: Arc<Routes>,
    pub(super) policy: Arc<Policy>,
    pub(super) destinations: Destinations,
    pub(super) kept: Arc<Kept>,
    pub(super) followed: Followed,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Stop,
    pub(super) tasks: Tasks,
    /// Also lets one reload run at a time.
    pub(super) transform_host: AsyncMutex<TransformHost>,
    pub(super) serving: Mutex<Serving>,
    pub(super) outcomes: ReloadOutcomes,
    /// Where traces and metrics go.
    pub(super) otlp: watch::Sender<Option<String>>,
}

/// What became of the reloads so far, without those that were only tried.
#[derive(Debug, Default)]
pub(super) struct ReloadOutcomes {
    /// Another config serves.
    pub(super) accepted: Counter,
    /// The one before serves on.
    pub(super) refused: Counter,
    /// Nothing was different.
    pub(super) unchanged: Counter,
    /// When the last one was refused; 0 if none was.
    pub(super) last_refused: AtomicU64,
}

/// The config that serves.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) loaded: Arc<Loaded>,
    pub(super) generation: u64,
    pub(super) loaded_at: Timestamp,
    /// The file was broken when the agent started.
    pub(super) last_accepted: bool,
    /// What is in the file now, if it was refused.
    pub(super) refused: Option<(Timestamp, ConfigRefused)>,
}

/// How long a destination has to answer a reload's probe.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Everything that the next config needs, built and tried.
struct Next {
    loaded: Loaded,
    changes: Changes,
    built: Vec<Arc<Built>>,
    froms: BTreeMap<Arc<str>, StartAt>,
    transform_host: Option<TransformHost>,
    entrance: Entrance,
    warnings: Vec<String>,
}

impl Reloader {
    /// Reloads for whoever has changed a file, until the stop.
    pub(super) async fn follow(self: Arc<Self>, mut changes: mpsc::Receiver<()>) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                changed = changes.recv() => if changed.is_none() { return },
            }
            // What came of it is logged and in the status.
            let _ = self.reload(false).await;
        }
    }

    /// Lets the config's file serve as it is now, or tells what would change.
    pub(super) async fn reload(&self, dry_run: bool) -> Result<ReloadReport, ControlError> {
        let mut transform_host = self.transform_host.lock().await;
        let before = self.serving().clone();
        let next = match self.prepare(&before, &transform_host).await {
            Ok(next) => next,
            Err(refused) => {
                if !dry_run {
                    tracing::error!(
                        errors = refused.errors.len(),
                        "config is refused, the one before serves on:\n{}",
                        refused.text
                    );
                    self.note_refused(refused.clone());
                }
                return Err(ControlError::refused(refused));
            }
        };
        let report = |generation, warnings| ReloadReport {
            dry_run,
            generation,
            changes: next.changes.list.iter().map(|change| planned(change, &next.loaded.config)).collect(),
            warnings,
        };
        let mut report = report(before.generation, next.warnings.clone());
        if dry_run {
            return Ok(report);
        }
        if next.changes.is_empty() {
            let mut serving = self.serving();
            if serving.refused.take().is_some() {
                tracing::info!(generation = serving.generation, "config is again as it serves");
            }
            serving.last_accepted = false;
            self.outcomes.unchanged.add(1);
            return Ok(report);
        }
        let warnings = self.swap(&before, next, &mut transform_host).await.inspect_err(|_| {
            self.outcomes.refused.add(1);
        })?;
        self.outcomes.accepted.add(1);
        report.warnings.extend(warnings);
        report.generation = before.generation + 1;
        for warning in &report.warnings {
            tracing::warn!(generation = report.generation, "{warning}");
        }
        Ok(report)
    }

    /// Everything that can go wrong with a config goes wrong here.
    async fn prepare(&self, before: &Serving, host: &TransformHost) -> Result<Next, ConfigRefused> {
        let loaded = config::load(self.path.as_deref(), &*self.environment).map_err(|e| refused(&e))?;
        let (old, new) = (&before.loaded.config, &loaded.config);
        let changes = Changes::between(old, new);
        let mut errors: Vec<(String, String)> = Vec::new();
        for key in &changes.needs_restart {
            let why = "cannot change while the agent runs: restart it, or put the value back".to_owned();
            errors.push((key.clone(), why));
        }
        let touched: BTreeSet<&Arc<str>> = changes.added.iter().chain(&changes.changed).collect();
        let mut built = Vec::new();
        for destination in new.destinations.iter().filter(|d| touched.contains(&d.name)) {
            match build(destination, new) {
                Ok(plugin) => {
                    built.push(Arc::new(Built { config: destination.clone(), destination: plugin }));
                }
                Err(error) => errors.push((format!("destinations.{}", destination.name), error.to_string())),
            }
        }
        let mut froms = BTreeMap::new();
        for destination in new.destinations.iter().filter(|d| changes.added.contains(&d.name)) {
            match start_of(&*self.log, &destination.name, destination.from).await {
                Ok(from) => drop(froms.insert(destination.name.clone(), from)),
                Err(why) => errors.push((format!("destinations.{}.from", destination.name), why)),
            }
        }
        let (refusals, mut warnings) = probe_all(&built).await;
        let known = config::warnings(old);
        warnings.extend(config::warnings(new).into_iter().filter(|warning| !known.contains(warning)));
        errors.extend(refusals);
        let transform_host = match changes.transforms {
            true => match host.next(Some(old), new, self.clock.clone(), Otherwise::Refuse).await {
                Ok(host) => Some(host),
                Err(StartError::Modules(modules)) => {
                    errors.extend(modules.0.iter().map(crate::transform::ModuleError::in_config));
                    None
                }
                Err(error) => {
                    errors.push(("transforms".to_owned(), error.to_string()));
                    None
                }
            },
            false => None,
        };
        let entrance = Entrance::of(&new.listen);
        errors.extend(entrance.as_ref().err().map(|error| ("listen.tls".to_owned(), error.to_string())));
        let (Ok(entrance), true) = (entrance, errors.is_empty()) else {
            return Err(refused(&loaded.refused(&errors)));
        };
        Ok(Next { loaded, changes, built, froms, transform_host, entrance, warnings })
    }

    /// From here on the next config serves, whatever happens; what could not be done is told.
    async fn swap(
        &self,
        before: &Serving,
        next: Next,
        transform_host: &mut TransformHost,
    ) -> Result<Vec<String>, ControlError> {
        let Next { loaded, changes, built, froms, transform_host: next_host, entrance, warnings: _ } = next;
        let (config, mut warnings) = (loaded.config.clone(), Vec::new());
        // Before anything serves by it: an agent that is killed in the middle starts with the file or with this.
        if let Err(error) = self.kept.accept(loaded.text()) {
            warnings.push(format!("the config serves, but cannot be kept for the next start: {error}"));
        }
        let bounds = LogBounds {
            disk_bytes_max: config.data.disk_bytes_max,
            retention: retention(&config),
            destinations: config.destinations.iter().map(backlog_limit).collect(),
        };
        self.log.configure(bounds).await.map_err(|error| {
            let advice = "the config before serves on; look at the disk, then reload again";
            ControlError::failed(format!("the log cannot take the config over: {error}"), advice)
        })?;
        let mut prepared = BTreeMap::new();
        for built in built.iter().filter(|built| changes.added.contains(&built.config.name)) {
            let name = &built.config.name;
            // One that is about to go subscribes again when it has.
            if self.destinations.is_there(name) {
                continue;
            }
            let from = froms.get(name).copied().unwrap_or_default();
            match self.destinations.shared.prepare(&built.config, from).await {
                Ok(ready) => drop(prepared.insert(name.clone(), ready)),
                Err(error) => {
                    warnings
                        .push(format!("destination {name} does not start yet and is tried again: {error}"));
                }
            }
        }
        if let Some(mut host) = next_host {
            transform_host.leave();
            if let Err(error) = host.follow(&self.stop, &self.tasks) {
                warnings.push(format!("the transforms' files are not followed: {error}"));
            }
            *transform_host = host;
        }
        self.policy.change(Terms::of(&config, entrance));
        let otlp = config.telemetry.otlp.clone();
        self.otlp.send_if_modified(|now| std::mem::replace(now, otlp.clone()) != otlp);
        // At once, for every lane.
        let transforms = transform_host.transforms().cloned();
        self.routes.replace(Routing { router: Router::new(&config), transforms });
        for name in &changes.removed {
            self.destinations.remove(name);
        }
        for built in built {
            let name = built.config.name.clone();
            if changes.added.contains(&name) {
                let paused = self.kept.commands().paused.get(&*name).cloned();
                self.destinations.start(built, prepared.remove(&name), paused);
            } else {
                self.destinations.change(built);
            }
        }
        self.followed.set(files_of(self.path.as_ref(), &config));
        let generation = before.generation + 1;
        for change in &changes.list {
            tracing::info!(generation, "config changed: {change}");
        }
        let (loaded, loaded_at) = (Arc::new(loaded), self.clock.now());
        *self.serving() = Serving { loaded, generation, loaded_at, last_accepted: false, refused: None };
        Ok(warnings)
    }

    fn note_refused(&self, refused: ConfigRefused) {
        let now = self.clock.now();
        self.outcomes.refused.add(1);
        self.outcomes.last_refused.store(now.0, Ordering::Relaxed);
        self.serving().refused = Some((now, refused));
    }

    pub(super) fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a destination begins. One that the log has served goes on at its cursor, whatever its config says.
pub(super) async fn start_of(log: &dyn Log, name: &str, from: StartFrom) -> Result<StartAt, String> {
    let time = match from {
        StartFrom::Now => return Ok(StartAt::Now),
        StartFrom::Oldest => return Ok(StartAt::Oldest),
        StartFrom::Time(time) => time,
    };
    let served = log.served().await.map_err(|error| error.to_string())?;
    if served.iter().any(|(served, _)| served == name) {
        return Ok(StartAt::Now);
    }
    position_of(log, time).await
}

/// Where the records of a time begin.
pub(super) async fn position_of(log: &dyn Log, time: jiff::Timestamp) -> Result<StartAt, String> {
    let microseconds = u64::try_from(time.as_microsecond()).unwrap_or(0);
    match log.at_time(Timestamp(microseconds)).await.map_err(|error| error.to_string())? {
        AtTime::Found(position) => Ok(StartAt::At(position)),
        AtTime::BeforeStart(oldest) => {
            let oldest = crate::admin::Time(oldest);
            Err(format!(
                "{time} lies before the log's start: its oldest record was accepted at {oldest}; take \"oldest\", or a \
                 time after that"
            ))
        }
    }
}

/// Asks them all at once. A destination that cannot be reached is a warning: its outage must not keep another change from
/// serving. One that refuses the credentials is an error, since they are new.
async fn probe_all(built: &[Arc<Built>]) -> (Vec<(String, String)>, Vec<String>) {
    let mut probes = JoinSet::new();
    for built in built {
        let (name, destination): (_, Arc<dyn Destination>) =
            (built.config.name.clone(), built.destination.clone());
        probes.spawn(async move { (name, timeout(PROBE_WITHIN, destination.probe()).await) });
    }
    let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
    while let Some(probed) = probes.join_next().await {
        let Ok((name, answer)) = probed else { continue };
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(WriteError::Misconfigured { scope: Scope::Destination, reason })) => {
                refusals.push((format!("destinations.{name}"), format!("it refuses the agent: {reason}")));
            }
            Ok(Err(error)) => {
                warnings.push(format!("destination {name} does not answer as it should: {error}"));
            }
            Err(_) => warnings.push(format!("destination {name} did not answer within {PROBE_WITHIN:?}")),
        }
    }
    refusals.sort_unstable();
    warnings.sort_unstable();
    (refusals, warnings)
}

pub(super) fn refused(errors: &ConfigErrors) -> ConfigRefused {
    let error = |problem: &config::Problem| ConfigError {
        line: problem.line.map(|line| line as u64),
        key: problem.key.clone(),
        message: problem.message.clone(),
        accepted: problem.accepted.clone(),
    };
    ConfigRefused {
        file: errors.file.as_ref().map(|file| file.display().to_string()),
        errors: errors.errors.iter().map(error).collect(),
        text: errors.render(false),
    }
}

fn planned(change: &Change, config: &Config) -> PlannedChange {
    let find = || config.destinations.iter().find(|destination| *destination.name == *change.name);
    let note = match (change.kind, change.what) {
        (ChangeKind::Added, "destination") => find().map(|destination| match destination.from {
            StartFrom::Now => "begins with what is accepted from now on".to_owned(),
            StartFrom::Oldest => "begins with the oldest record of the log".to_owned(),
            StartFrom::Time(time) => format!("begins with what was accepted at {time}"),
        }),
        (ChangeKind::Removed, "destination") => {
            let forget = format!("sync-agent destination forget {}", change.name);
            Some(format!("its cursor and dead letters are kept until `{forget}`"))
        }
        (ChangeKind::Changed, "destination") => {
            Some("first its requests in flight end, then it goes on at its cursor".to_owned())
        }
        _ => None,
    };
    PlannedChange {
        change: match change.kind {
            ChangeKind::Added => Planned::Added,
            ChangeKind::Changed => Planned::Changed,
            ChangeKind::Removed => Planned::Removed,
        },
        what: change.what.to_owned(),
        name: change.name.clone(),
        keys: change.keys.clone(),
        note,
    }
}
