//! Sends spans as they come and metrics now and then, to wherever the config says now. What a collector does, or that there
//! is none, costs the agent nothing but spans.

use std::{mem, sync::Arc};

use plugin_api::identity::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, MissedTickBehavior, interval, timeout},
};
use tonic::Status;

use super::{
    collector::{Collector, is_passing},
    metrics::Collected,
};
use crate::{
    runtime::{Span, Stop, TaskKind, Tasks, Tracer},
    telemetry::Observed,
};

/// See the module's text.
pub struct Exporter {
    /// Where the collector is; `None` exports nothing.
    pub address: watch::Receiver<Option<String>>,
    /// Who else's spans they could be.
    pub instance: String,
    /// Whose spans they are.
    pub tracer: Tracer,
    /// Whose metrics.
    pub observed: Arc<dyn Observed>,
    /// When the agent started.
    pub started_at: Timestamp,
}

/// Spans leave when so many wait,
const BATCH_SPANS_MAX: usize = 512;
/// or this often.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// OpenTelemetry's own is a minute; who looks at a dashboard waits for this.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// What is left at the stop.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Where to, and whether that was told to fail.
struct Target {
    address: watch::Receiver<Option<String>>,
    instance: String,
    what: &'static str,
    collector: Option<Collector>,
    fails: bool,
}

impl Exporter {
    /// Exports until the stop, then what is left.
    pub fn start(self, spans: mpsc::Receiver<Span>, stop: &Stop, tasks: &Tasks) {
        let Self { address, instance, tracer, observed, started_at } = self;
        let target = |what| Target::new(address.clone(), instance.clone(), what);
        let metrics = export_metrics(target("metrics"), observed, started_at, tracer.clone(), stop.clone());
        tasks.spawn(TaskKind::Telemetry, "spans", export_spans(target("spans"), spans, tracer, stop.clone()));
        tasks.spawn(TaskKind::Telemetry, "metrics", metrics);
    }
}

async fn export_spans(mut target: Target, mut spans: mpsc::Receiver<Span>, tracer: Tracer, stop: Stop) {
    tracer.switch(target.collector.is_some());
    let mut batch: Vec<Span> = Vec::new();
    let mut ticks = interval(SPANS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let room = BATCH_SPANS_MAX - batch.len();
        tokio::select! {
            // The stop first, then where to, then what waits; a full batch waits for a tick only after a failure.
            biased;
            () = stop.cancelled() => break,
            changed = target.address.changed() => {
                if changed.is_err() {
                    break;
                }
                target.connect();
                tracer.switch(target.collector.is_some());
                continue;
            }
            _ = ticks.tick() => {}
            count = spans.recv_many(&mut batch, room), if room > 0 => {
                if count == 0 {
                    break;
                }
                if batch.len() < BATCH_SPANS_MAX || target.fails {
                    continue;
                }
            }
        }
        send_spans(&mut target, &mut batch, &tracer).await;
    }
    while let Ok(span) = spans.try_recv() {
        batch.push(span);
    }
    let _ = timeout(LAST_WITHIN, send_spans(&mut target, &mut batch, &tracer)).await;
}

/// What may pass stays in the batch.
async fn send_spans(target: &mut Target, batch: &mut Vec<Span>, tracer: &Tracer) {
    let Some(collector) = target.collector.clone() else { return batch.clear() };
    if batch.is_empty() {
        return;
    }
    let sent = collector.take_spans(batch.iter().cloned().map(Into::into).collect()).await;
    match &sent {
        Err(status) if is_passing(status) => {}
        Err(_) => tracer.drop_spans(mem::take(batch).len()),
        Ok(()) => batch.clear(),
    }
    target.tell(sent);
}

async fn export_metrics(
    mut target: Target,
    observed: Arc<dyn Observed>,
    started_at: Timestamp,
    tracer: Tracer,
    stop: Stop,
) {
    let mut ticks = interval(METRICS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = target.address.changed() => {
                if changed.is_err() {
                    return;
                }
                target.connect();
            }
            _ = ticks.tick() => {}
        }
        let Some(collector) = target.collector.clone() else { continue };
        let mut collected = Collected::new(started_at, tracer.now());
        observed.metrics(&mut collected).await;
        let sent = collector.take_metrics(collected.finish()).await;
        target.tell(sent);
    }
}

impl Target {
    fn new(address: watch::Receiver<Option<String>>, instance: String, what: &'static str) -> Self {
        let mut target = Self { address, instance, what, collector: None, fails: false };
        target.connect();
        target
    }

    fn connect(&mut self) {
        let address = self.address.borrow_and_update().clone();
        self.collector = address.and_then(|address| Collector::new(&address, &self.instance));
        self.fails = false;
    }

    /// Tells once that it fails, and once that it does no more.
    fn tell(&mut self, sent: Result<(), Status>) {
        let what = self.what;
        match sent {
            Ok(()) if mem::take(&mut self.fails) => tracing::info!(what, "telemetry.otlp takes it again"),
            Ok(()) => {}
            Err(status) if !mem::replace(&mut self.fails, true) => tracing::warn!(
                what, code = ?status.code(), error = status.message(),
                "telemetry.otlp does not take it; deliveries do not wait for that",
            ),
            Err(_) => {}
        }
    }
}
