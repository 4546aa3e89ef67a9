//! The agent as its metrics and its readiness see it: asks each part for what it knows, at the moment somebody looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;

use super::{control::Operator, destinations::Handle};
use crate::{
    admin::{DestinationState, DestinationStatus},
    delivery::BreakerState,
    ingress::{Gauge, Meters},
    log::interface::LogStatus,
    runtime::{Stop, Tracer},
    telemetry::{
        Observed,
        metrics::{Metric, Process, Sink},
    },
};

/// See the module's text.
pub(super) struct Observable {
    pub(super) operator: Arc<Operator>,
    pub(super) requests: Arc<Meters>,
    pub(super) held: Gauge,
    pub(super) tracer: Tracer,
    /// The intake's.
    pub(super) stop: Stop,
}

const STATES: [(DestinationState, &str); 6] = [
    (DestinationState::Running, "running"),
    (DestinationState::BackingOff, "backing_off"),
    (DestinationState::Open, "open"),
    (DestinationState::Paused, "paused"),
    (DestinationState::Detached, "detached"),
    (DestinationState::Halted, "halted"),
];

#[async_trait]
impl Observed for Observable {
    async fn metrics(&self, out: &mut dyn Sink) {
        let reloader = &self.operator.reloader;
        let (log, now) = (reloader.log.status(), reloader.clock.now());
        self.ingest(out);
        self.log(&log, out);
        for (name, destination) in reloader.destinations.all() {
            let status = self.operator.destination(&name, &destination, &log, now);
            tell_state(&status, &destination, out);
            tell_destination(&status, &destination, out);
        }
        self.transforms(out).await;
        self.config(out);
        out.add(Metric::SpansDropped, &[], self.tracer.dropped() as f64);
        let process = Process::now();
        out.add(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1.0);
        out.add(Metric::ProcessCpu, &[], process.cpu_seconds);
        out.add(Metric::ProcessResident, &[], process.resident_bytes as f64);
        out.add(Metric::ProcessStart, &[], self.operator.started_at.0 as f64 / 1e6);
    }

    /// A budget that is full, or a destination that is down, is no reason: another agent would serve no better, and a
    /// refusal tells a producer more than a closed door.
    fn unready(&self) -> Option<&'static str> {
        let reloader = &self.operator.reloader;
        if self.stop.is_cancelled() {
            return Some("stopping: no more requests are taken");
        }
        if reloader.log.status().poisoned.is_some() {
            return Some(
                "the log is poisoned: a write or sync failed, its log line says why, and nothing is accepted until the \
                 agent is restarted",
            );
        }
        if reloader.policy.is_draining() {
            return Some(
                "draining: an operator has requests refused with `sync-agent drain`, and `--cancel` ends that",
            );
        }
        None
    }
}

impl Observable {
    fn ingest(&self, out: &mut dyn Sink) {
        for (code, count) in self.requests.requests.counts() {
            out.add(Metric::IngestRequests, &[code], count as f64);
        }
        for (code, count) in self.requests.records.counts() {
            out.add(Metric::IngestRecords, &[code], count as f64);
        }
        out.add(Metric::IngestHeld, &[], self.held.leased_bytes() as f64);
        out.add_histogram(Metric::AcceptDurable, &[], &self.requests.accept_durable.buckets());
        out.add(Metric::Draining, &[], flag(self.operator.reloader.policy.is_draining()));
    }

    fn log(&self, log: &LogStatus, out: &mut dyn Sink) {
        let Operator { reloader, rates, .. } = &*self.operator;
        let full_in = rates.disk_full_in_seconds(log.held_bytes, log.disk_bytes_max);
        let ahead = log.last_version.0.saturating_sub(reloader.clock.now().0);
        let mut add = |metric, value| out.add(metric, &[], value);
        add(Metric::LogAppends, log.written.requests as f64);
        add(Metric::LogAppended, log.written.bytes as f64);
        add(Metric::LogSyncs, log.written.groups as f64);
        add(Metric::LogSegments, log.segments as f64);
        add(Metric::LogPoisoned, flag(log.poisoned.is_some()));
        add(Metric::DiskUsed, log.disk_bytes as f64);
        add(Metric::DiskHeld, log.held_bytes as f64);
        add(Metric::DiskMax, log.disk_bytes_max as f64);
        add(Metric::DiskFull, full_in.map_or(f64::INFINITY, |seconds| seconds as f64));
        add(Metric::IdempotencyKeys, log.keys as f64);
        add(Metric::IdempotencyWindow, log.keys_reach.as_secs_f64());
        add(Metric::VersionsAhead, ahead as f64 / 1e6);
    }

    async fn transforms(&self, out: &mut dyn Sink) {
        for status in self.operator.transforms().await {
            let labels = [&*status.name];
            out.add(Metric::TransformSuspended, &labels, status.suspended.len() as f64);
            out.add(Metric::TransformRefused, &labels, flag(status.refused.is_some()));
        }
        let routing = self.operator.reloader.routes.current();
        for slot in routing.transforms.iter().flat_map(|transforms| transforms.slots()) {
            for (outcome, count) in slot.meters().outcomes() {
                out.add(Metric::TransformRecords, &[slot.name(), outcome], count as f64);
            }
            out.add_histogram(Metric::TransformCall, &[slot.name()], &slot.meters().call_cpu.buckets());
        }
    }

    fn config(&self, out: &mut dyn Sink) {
        let reloader = &self.operator.reloader;
        let serving = reloader.serving().clone();
        let outcomes = &reloader.outcomes;
        let last_refused = outcomes.last_refused.load(Ordering::Relaxed);
        let started_refused = serving.refused.as_ref().map_or(0, |(at, _)| at.0);
        out.add(Metric::ConfigGeneration, &[], serving.generation as f64);
        out.add(Metric::ConfigLoaded, &[], serving.loaded_at.0 as f64 / 1e6);
        out.add(Metric::ConfigRefused, &[], flag(serving.refused.is_some()));
        out.add(Metric::ConfigLastRefused, &[], last_refused.max(started_refused) as f64 / 1e6);
        for (outcome, count) in [
            ("accepted", &outcomes.accepted),
            ("refused", &outcomes.refused),
            ("unchanged", &outcomes.unchanged),
        ] {
            out.add(Metric::Reloads, &[outcome], count.get() as f64);
        }
    }
}

fn tell_state(status: &DestinationStatus, destination: &Handle, out: &mut dyn Sink) {
    let name = &*status.name;
    for (state, word) in STATES {
        out.add(Metric::DestinationState, &[name, word], flag(status.state == state));
    }
    let breaker = destination.snapshot().map_or(BreakerState::Closed, |snapshot| snapshot.breaker);
    let stands = match breaker {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Paused(_) => "paused",
    };
    for word in ["closed", "open", "half_open", "paused"] {
        out.add(Metric::BreakerState, &[name, word], flag(word == stands));
    }
}

fn tell_destination(status: &DestinationStatus, destination: &Handle, out: &mut dyn Sink) {
    let (name, lag, letters, meters) =
        (&*status.name, &status.lag, &status.dead_letters, destination.meters());
    for (metric, value) in [
        (Metric::LagRecords, lag.records as f64),
        (Metric::LagBytes, lag.bytes as f64),
        (Metric::LagMax, lag.bytes_max.map_or(f64::INFINITY, |bytes| bytes as f64)),
        (Metric::OldestPending, lag.seconds),
        (Metric::InFlight, status.in_flight as f64),
        (Metric::DeadLettersUsed, letters.bytes as f64),
        (Metric::DeadLettersMax, letters.bytes_max as f64),
    ] {
        out.add(metric, &[name], value);
    }
    for (outcome, count) in meters.outcomes() {
        out.add(Metric::Records, &[name, outcome], count as f64);
    }
    for (cause, count) in meters.retries() {
        out.add(Metric::Retries, &[name, cause], count as f64);
    }
    // Those that there are none of now, but were, are 0 rather than gone.
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in meters.letters() {
        out.add(Metric::DeadLettersFiled, &[name, reason], count as f64);
        if count > 0 {
            held.insert(reason, 0);
        }
    }
    held.extend(letters.by_reason.iter().map(|(reason, count)| (&**reason, *count)));
    for (reason, count) in held {
        out.add(Metric::DeadLetters, &[name, reason], count as f64);
    }
    for (metric, histogram) in [
        (Metric::AcceptDelivered, &meters.accept_delivered),
        (Metric::BatchOperations, &meters.batch_operations),
        (Metric::BatchBytes, &meters.batch_bytes),
    ] {
        out.add_histogram(metric, &[name], &histogram.buckets());
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}
