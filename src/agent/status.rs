//! What the agent tells its operators of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use plugin_api::identity::{Position, Timestamp};

use super::{control::Operator, destinations::Handle};
use crate::{
    admin::{
        self, ConfigStatus, DestinationState, DestinationStatus, Lag, LogStatus, Oldest, Outcomes,
        RefusedConfigStatus, RefusedModule, Status, Time, TransformStatus,
    },
    config::Kind,
    delivery::{BreakerState, LaneState, Snapshot},
    log::interface,
};

impl Operator {
    /// Everything, as it is now.
    pub(super) async fn tell(&self) -> Status {
        let reloader = &self.reloader;
        let log = reloader.log.status();
        let now = reloader.clock.now();
        let mut destinations: Vec<_> = reloader
            .destinations
            .all()
            .iter()
            .map(|(name, destination)| self.destination(name, destination, &log, now))
            .collect();
        let there: BTreeSet<String> = destinations.iter().map(|status| status.name.clone()).collect();
        for (name, progress) in reloader.log.served().await.unwrap_or_default() {
            if !there.contains(&name) {
                let progress = progress.unwrap_or_default();
                destinations.push(not_configured(name, &progress));
            }
        }
        destinations.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Status {
            at: Time(now),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Time(self.started_at),
            draining: reloader.policy.is_draining(),
            config: self.config(),
            log: self.log(&log, now),
            destinations,
            transforms: self.transforms().await,
        }
    }

    fn config(&self) -> ConfigStatus {
        let serving = self.reloader.serving().clone();
        let refused = serving.refused.map(|(at, config)| RefusedConfigStatus { at: Time(at), config });
        ConfigStatus {
            generation: serving.generation,
            source: serving.loaded.file().map(|file| file.display().to_string()),
            loaded_at: Time(serving.loaded_at),
            serving_last_accepted: serving.last_accepted,
            refused,
            drift: self.drift(),
        }
    }

    /// What differs from the config by an operator's command.
    fn drift(&self) -> Vec<String> {
        let commands = self.reloader.kept.commands();
        let paused = commands.paused.iter().map(|(name, why)| format!("destination {name} is paused: {why}"));
        let draining = commands.draining.then(|| "intake is refused by `sync-agent drain`".to_owned());
        paused.chain(draining).collect()
    }

    fn log(&self, log: &interface::LogStatus, now: Timestamp) -> LogStatus {
        let oldest = self.rates.oldest().filter(|(position, _)| *position == log.start);
        LogStatus {
            id: self.reloader.log.id().to_string(),
            bytes: log.disk_bytes,
            held_bytes: log.held_bytes,
            bytes_max: log.disk_bytes_max,
            oldest: oldest.map(|(position, at)| Oldest { position, accepted_at: Time(at) }),
            end: log.end,
            records_per_second: self.rates.accepted(),
            disk_full_in_seconds: self.rates.disk_full_in_seconds(log.held_bytes, log.disk_bytes_max),
            refusing: refusing(log),
            versions_ahead_seconds: log.last_version.0.saturating_sub(now.0) as f64 / 1e6,
        }
    }

    pub(super) fn destination(
        &self,
        name: &Arc<str>,
        destination: &Handle,
        log: &interface::LogStatus,
        now: Timestamp,
    ) -> DestinationStatus {
        let built = destination.built();
        let snapshot = destination.snapshot();
        let backlog = log.backlogs.iter().find(|backlog| backlog.destination == **name);
        let (state, why) = state_of(name, destination, snapshot.as_ref(), log);
        let resume_at = snapshot.as_ref().and_then(|snapshot| snapshot.resume_at);
        let left = resume_at.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        let until = left.filter(|_| matches!(state, DestinationState::BackingOff | DestinationState::Open));
        let until = until.map(|left| Time(Timestamp(now.0 + u64::try_from(left.as_micros()).unwrap_or(0))));
        let delivered = snapshot.as_ref().map_or_else(Position::default, |snapshot| snapshot.delivered);
        let outcomes = snapshot.as_ref().map(|snapshot| outcomes(snapshot, log.end)).unwrap_or_default();
        let since = snapshot.as_ref().and_then(|snapshot| snapshot.oldest_pending);
        let since = since.or_else(|| self.rates.waiting_since(name, delivered));
        let age = since.filter(|_| outcomes.pending > 0).map_or(0, |since| now.0.saturating_sub(since.0));
        let bytes_max = built.as_ref().map_or(0, |built| built.config.dead_letters.bytes_max);
        DestinationStatus {
            name: name.to_string(),
            kind: built.as_ref().map(|built| kind_of(&built.config.kind).to_owned()),
            state,
            until,
            why,
            delivered,
            visible: snapshot.as_ref().map_or_else(Position::default, |snapshot| snapshot.visible),
            lag: Lag {
                records: outcomes.pending,
                bytes: backlog.map_or(0, |backlog| backlog.bytes),
                bytes_max: backlog.map(|backlog| backlog.limit.bytes_max),
                seconds: age as f64 / 1e6,
            },
            records_per_second: self.rates.settled(name),
            in_flight: snapshot.as_ref().map_or(0, |snapshot| snapshot.in_flight as u64),
            last_error: snapshot.and_then(|snapshot| snapshot.last_error.map(|error| error.to_string())),
            outcomes,
            dead_letters: admin::DeadLetterStatus { bytes_max, ..self.rates.letters(name) },
        }
    }

    pub(super) async fn transforms(&self) -> Vec<TransformStatus> {
        let (modules, work) = {
            // A reload that compiles holds it; status waits for nothing.
            match self.reloader.transform_host.try_lock() {
                Ok(host) => (host.modules(), host.work()),
                Err(_) => return self.transforms_seen(),
            }
        };
        let mut suspended: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for work in work.iter().filter(|work| work.suspended) {
            suspended.entry(&work.transform).or_default().push(work.index.to_string());
        }
        let status = modules.iter().map(|module| {
            let of = || work.iter().filter(|work| work.transform == module.transform);
            TransformStatus {
                name: module.transform.to_string(),
                module: module.module.to_string(),
                generation: module.generation,
                since: Time(module.since),
                records: of().map(|work| work.records).sum(),
                failures: of().map(|work| work.failures).sum(),
                cpu_seconds: of().map(|work| work.cpu.as_secs_f64()).sum(),
                suspended: suspended.remove(&*module.transform).unwrap_or_default(),
                refused: module.refused.as_ref().map(|refused| RefusedModule {
                    module: refused.module.map(|module| module.to_string()),
                    since: Time(refused.since),
                    why: refused.reason.to_string(),
                }),
            }
        });
        let status: Vec<_> = status.collect();
        self.rates.saw_transforms(status.clone());
        status
    }

    fn transforms_seen(&self) -> Vec<TransformStatus> {
        self.rates.transforms_seen()
    }
}

/// Why the log refuses whatever comes.
fn refusing(log: &interface::LogStatus) -> Option<String> {
    if let Some(cause) = &log.poisoned {
        return Some(format!("the log is poisoned, restart the agent: {cause}"));
    }
    let is_full = |backlog: &&interface::Backlog| {
        let limit = backlog.limit;
        !backlog.detached
            && limit.when_full == interface::WhenFull::Refuse
            && backlog.bytes >= limit.bytes_max
    };
    log.backlogs.iter().find(is_full).map(|backlog| {
        format!(
            "destination {:?} is behind by {} bytes of the log, its backlog_bytes_max is {} bytes",
            backlog.destination, backlog.bytes, backlog.limit.bytes_max
        )
    })
}

/// What a destination is doing, and why.
pub(super) fn state_of(
    name: &str,
    destination: &Handle,
    snapshot: Option<&Snapshot>,
    log: &interface::LogStatus,
) -> (DestinationState, Option<String>) {
    let paused = destination.paused();
    // The log knows it of those, too, that have no lane.
    let detached = log.backlogs.iter().any(|backlog| backlog.destination == name && backlog.detached);
    if detached || snapshot.is_some_and(|snapshot| snapshot.state == LaneState::Detached) {
        let besides = paused.map(|why| format!("; beside that it is paused: {why}")).unwrap_or_default();
        let why = format!(
            "it fell too far behind and receives nothing: `sync-agent destination resume {name}` lets it go on{besides}"
        );
        return (DestinationState::Detached, Some(why));
    }
    if let Some(why) = paused {
        return (DestinationState::Paused, Some(why));
    }
    if let Some(failure) = destination.failure() {
        return (DestinationState::Halted, Some(failure));
    }
    let Some(snapshot) = snapshot else { return (DestinationState::Running, None) };
    match (&snapshot.state, &snapshot.breaker) {
        (LaneState::Halted(why), _) => (DestinationState::Halted, Some(why.clone())),
        (_, BreakerState::Paused(reason)) => {
            let why = format!("it refuses everything, and is asked again every minute: {reason}");
            (DestinationState::Paused, Some(why))
        }
        (_, BreakerState::Open | BreakerState::HalfOpen) => (DestinationState::Open, None),
        (LaneState::BackingOff, BreakerState::Closed) => (DestinationState::BackingOff, None),
        // Between two lanes of the same destination it is neither paused nor gone.
        (LaneState::Running | LaneState::Stopped | LaneState::Detached, BreakerState::Closed) => {
            (DestinationState::Running, None)
        }
    }
}

fn outcomes(snapshot: &Snapshot, end: Position) -> Outcomes {
    let totals = &snapshot.totals;
    Outcomes {
        accepted: snapshot.accepted(end),
        written: totals.written,
        superseded: totals.superseded,
        skipped: totals.skipped,
        dead_lettered: totals.dead_lettered,
        gap: totals.gap,
        pending: snapshot.pending(end),
    }
}

fn not_configured(name: String, progress: &interface::Progress) -> DestinationStatus {
    let why = format!(
        "it is not in the config any more; `sync-agent destination forget {name}` deletes its cursor and dead letters"
    );
    let totals = progress.totals;
    DestinationStatus {
        kind: None,
        state: DestinationState::NotConfigured,
        until: None,
        why: Some(why),
        delivered: progress.next,
        visible: progress.visible.unwrap_or(progress.next),
        lag: Lag::default(),
        records_per_second: 0.0,
        in_flight: 0,
        last_error: None,
        outcomes: Outcomes {
            accepted: totals.settled(),
            written: totals.written,
            superseded: totals.superseded,
            skipped: totals.skipped,
            dead_lettered: totals.dead_lettered,
            gap: totals.gap,
            pending: 0,
        },
        dead_letters: Default::default(),
        name,
    }
}

fn kind_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Algolia(_) => "algolia",
        Kind::Elasticsearch(_) => "elasticsearch",
        Kind::File(_) => "file",
    }
}
