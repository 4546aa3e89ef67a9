//! A lane: the loop that takes records from its feed, sends batches and moves the cursor.
//!
//! One batch is in flight at a time. The lane itself never waits for anything but its own destination, its own dead
//! letters and its own cursor. A cursor moves only after the destination's answer or the letter's commit.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use plugin_api::{
    destination::Destination,
    identity::Position,
    operation::Batch,
    verdict::{Confirmation, Scope, Verdict, WriteError},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    backoff::Backoff,
    breaker::{Breaker, BreakerState},
    intake::{self, Intake},
    letters::Letters,
    queue::{BatchBounds, Group, Queue},
    settle::{Health, Rejected, Settled, settle, verdicts_of},
    status::{LaneState, Snapshot},
    tracker::{Outcome, Tracker},
    visibility::Visibility,
};
use crate::{
    dead_letter::Stage,
    feed::Feed,
    log::interface::{Log, Progress},
    router::Router,
    runtime::{Stop, TaskKind, Tasks},
};

/// How a lane delivers.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    /// The destination's name.
    pub name: Arc<str>,
    /// Operations a batch, inclusive.
    pub operations_max: usize,
    /// Bytes a batch, inclusive.
    pub bytes_max: usize,
    /// Delays after failures.
    pub backoff: Backoff,
    /// Attempts of a single record that alone fails.
    pub attempts_max: u32,
}

/// What a lane is connected to.
pub struct Wiring {
    /// Where it delivers to.
    pub destination: Arc<dyn Destination>,
    /// Where it reads from and keeps its cursor.
    pub log: Arc<dyn Log>,
    /// Which indexes it delivers.
    pub router: Arc<Router>,
    /// Where it leaves what the destination does not take.
    pub letters: Letters,
}

/// See the module's text.
struct Lane {
    settings: LaneSettings,
    bounds: BatchBounds,
    destination: Arc<dyn Destination>,
    log: Arc<dyn Log>,
    letters: Letters,
    intake: mpsc::Receiver<Intake>,
    tracker: Tracker,
    queue: Queue,
    breaker: Breaker,
    visibility: Visibility,
    /// Nothing is sent before this moment.
    resume_at: Option<Instant>,
    /// When the cursor is to be persisted, if it has moved.
    commit_at: Option<Instant>,
    /// Where the log begins, once what was read before has been settled.
    gap_before: Option<Position>,
    since: u64,
    state: LaneState,
    last_error: Option<String>,
    status: watch::Sender<Snapshot>,
}

/// What a lane waits for from its destination: one request or one probe.
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Confirming = Pin<Box<dyn Future<Output = (Arc<str>, Result<bool, WriteError>)> + Send>>;

enum Answer {
    Write { group: Group, batch: Batch, answer: Result<(Vec<Verdict>, Vec<Confirmation>), WriteError> },
    Probe(Result<(), WriteError>),
}

const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a destination that refuses everything is asked whether that has changed.
const PAUSED_PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// Reading ahead of the watermark stops here, so that the cursor's ranges and memory stay bounded.
const AHEAD_RECORDS_MAX: usize = 100_000;
const AHEAD_BYTES_MAX: usize = 64 << 20;

/// Starts a lane that goes on where `progress` says, as a task; what it publishes tells how it is doing.
pub fn start(
    settings: LaneSettings,
    wiring: Wiring,
    progress: &Progress,
    stop: &Stop,
    tasks: &Tasks,
) -> watch::Receiver<Snapshot> {
    let name = settings.name.clone();
    let feed = Feed::new(wiring.log.clone(), progress.next, wiring.router.clone(), name.clone());
    let intake = intake::start(feed, &name, stop.clone(), tasks);
    let (lane, watched) = Lane::new(settings, wiring, intake, progress);
    tasks.spawn(TaskKind::Lane, &name, lane.run(stop.clone()));
    watched
}

impl Lane {
    /// A lane that goes on where `progress` says. Nothing happens before [`Lane::run`].
    fn new(
        settings: LaneSettings,
        wiring: Wiring,
        intake: mpsc::Receiver<Intake>,
        progress: &Progress,
    ) -> (Self, watch::Receiver<Snapshot>) {
        let Wiring { destination, log, letters, router: _ } = wiring;
        let capabilities = destination.capabilities();
        let bounds = BatchBounds {
            operations_max: settings.operations_max.min(capabilities.operations_max),
            bytes_max: settings.bytes_max.min(capabilities.bytes_max),
        };
        let beyond: u64 = progress.completed.iter().map(|(first, end)| end - first).sum();
        let since = (progress.next.offset + beyond).saturating_sub(progress.totals.settled());
        let (status, watched) = watch::channel(Snapshot {
            destination: settings.name.clone(),
            state: LaneState::Running,
            breaker: BreakerState::Closed,
            delivered: progress.next,
            visible: progress.next,
            totals: progress.totals,
            since,
            in_flight: 0,
            last_error: None,
        });
        let lane = Self {
            bounds,
            destination,
            log,
            letters,
            intake,
            tracker: Tracker::new(progress),
            queue: Queue::default(),
            breaker: Breaker::default(),
            visibility: Visibility::resume(&progress.confirmations, progress.next, Instant::now()),
            resume_at: None,
            commit_at: None,
            gap_before: None,
            since,
            state: LaneState::Running,
            last_error: None,
            status,
            settings,
        };
        (lane, watched)
    }

    /// Delivers until told to stop, then lets the request in flight end and persists the cursor.
    async fn run(mut self, stop: Stop) {
        let mut answering: Option<Answering> = None;
        let mut confirming: Option<Confirming> = None;
        let mut intake_open = true;
        loop {
            let stopping = stop.is_cancelled();
            if answering.is_none() {
                if stopping {
                    break;
                }
                answering = self.send();
            }
            if confirming.is_none() && !stopping {
                confirming = self.confirm();
            }
            let wants_more = intake_open && !stopping && self.wants_more();
            tokio::select! {
                biased;
                // The destination's answer first: everything else waits for it anyway.
                Some(answer) = maybe(answering.as_mut()) => {
                    answering = None;
                    self.answered(answer, &stop).await;
                }
                () = stop.cancelled(), if !stopping => {}
                () = until(self.commit_at) => self.commit().await,
                Some((index, visible)) = maybe(confirming.as_mut()) => {
                    confirming = None;
                    self.confirmed(&index, visible);
                }
                () = until(self.visibility.next().map(|(due, _)| due)), if confirming.is_none() && !stopping => {}
                () = until(self.resume_at), if answering.is_none() => {
                    self.resume_at = None;
                }
                intake = self.intake.recv(), if wants_more => match intake {
                    Some(intake) => self.take_in(intake, &stop).await,
                    None => intake_open = false,
                },
            }
        }
        self.commit().await;
        self.state = LaneState::Stopped;
        self.publish(0);
    }

    /// The next request or probe, if one is due.
    fn send(&mut self) -> Option<Answering> {
        if self.resume_at.is_some() || self.queue.is_empty() {
            return None;
        }
        let destination = self.destination.clone();
        if self.breaker.wants_probe() {
            return Some(Box::pin(async move { Answer::Probe(destination.probe().await) }));
        }
        let mut group = self.queue.take(self.bounds)?;
        let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
        self.publish(batch.operations().len());
        Some(Box::pin(async move {
            let answer = match destination.write(&batch).await {
                Ok(mut written) => {
                    let confirmations = std::mem::take(&mut written.confirmations);
                    verdicts_of(written, batch.operations().len()).map(|verdicts| (verdicts, confirmations))
                }
                Err(error) => Err(error),
            };
            Answer::Write { group, batch, answer }
        }))
    }

    async fn answered(&mut self, answer: Answer, stop: &Stop) {
        match answer {
            Answer::Probe(Ok(())) => self.breaker.probed(),
            Answer::Probe(Err(error)) => self.judge(health_of(error)),
            Answer::Write { group, batch, answer } => {
                let answer = answer.map(|(verdicts, confirmations)| {
                    self.follow(&batch, confirmations);
                    verdicts
                });
                let settled = settle(&mut self.queue, group, batch, answer, self.settings.attempts_max);
                self.apply(settled, stop).await;
            }
        }
        self.publish(0);
    }

    async fn apply(&mut self, settled: Settled, stop: &Stop) {
        for (position, outcome) in settled.outcomes {
            self.tracker.settle(position, outcome);
        }
        self.judge(settled.health);
        self.bury(settled.rejected, Stage::Delivery, stop).await;
        self.cross_gap();
        self.moved();
    }

    /// Takes the health that an answer shows into account.
    fn judge(&mut self, health: Health) {
        let before = self.breaker.state().clone();
        let delay = match health {
            Health::Serves => {
                self.breaker.succeeded();
                self.last_error = None;
                self.state = LaneState::Running;
                if before != BreakerState::Closed {
                    tracing::info!(destination = %self.settings.name, "destination serves again");
                }
                return;
            }
            Health::Fails { reason, retry_after } => {
                self.breaker.failed();
                let delay = self.settings.backoff.delay(self.breaker.failures(), retry_after);
                self.last_error = Some(reason.to_string());
                if self.breaker.failures() == 1 || before != *self.breaker.state() {
                    tracing::warn!(
                        destination = %self.settings.name, %reason, failures = self.breaker.failures(),
                        delay_ms = delay.as_millis() as u64, breaker = ?self.breaker.state(), "destination failed",
                    );
                }
                delay
            }
            Health::Refuses(reason) => {
                if !matches!(before, BreakerState::Paused(_)) {
                    tracing::error!(
                        destination = %self.settings.name, %reason,
                        "destination refuses everything: check its keys, plan and settings; it is probed every minute",
                    );
                }
                self.last_error = Some(reason.to_string());
                self.breaker.refused(reason);
                PAUSED_PROBE_INTERVAL
            }
        };
        self.state = LaneState::BackingOff;
        self.resume_at = Some(Instant::now() + delay);
    }

    async fn take_in(&mut self, intake: Intake, stop: &Stop) {
        let records = match intake {
            Intake::Records(records) => records,
            Intake::Gap(start) => {
                self.gap_before = Some(start);
                return self.cross_gap();
            }
            Intake::Halted(error) => {
                tracing::error!(destination = %self.settings.name, %error, "log cannot be read, delivery halts here");
                self.state = LaneState::Halted(error.to_string());
                return self.publish(0);
            }
        };
        let mut refused = Vec::new();
        for record in records {
            if !self.tracker.enter(record.position, record.operations.len()) {
                continue;
            }
            for operation in record.operations {
                match self.destination.admit(&operation) {
                    Ok(()) => self.queue.push(operation),
                    Err(reason) => refused.push(Rejected { operation, reason, attempts: 0 }),
                }
            }
        }
        self.state = LaneState::Running;
        self.bury(refused, Stage::Admit, stop).await;
        self.moved();
    }

    /// Passes over records that are gone, as soon as those before them are settled.
    fn cross_gap(&mut self) {
        if self.tracker.reach() > 0 {
            return;
        }
        let Some(start) = self.gap_before.take() else { return };
        tracing::error!(
            destination = %self.settings.name, from = %self.tracker.watermark(), to = %start,
            "records are gone from the log before they were delivered, they are counted as a gap",
        );
        self.tracker.gap(start);
        self.moved();
        self.publish(0);
    }

    /// Puts rejected operations into the dead letters; they are settled only once that is committed. An agent that
    /// stops meanwhile leaves them unsettled, and they are sent again after its restart.
    async fn bury(&mut self, rejected: Vec<Rejected>, stage: Stage, stop: &Stop) {
        if rejected.is_empty() {
            return;
        }
        let positions: Vec<Position> = rejected.iter().map(|r| r.operation.source.position).collect();
        let letters = self.letters.write(rejected, stage);
        let mut failures = 0;
        while let Err(error) = self.letters.file(letters.clone()).await {
            failures += 1;
            tracing::error!(destination = %self.settings.name, %error, "dead letters cannot be written, delivery waits");
            self.state = LaneState::Halted(format!("dead letters cannot be written: {error}"));
            self.publish(0);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.settings.backoff.bound(failures)) => {}
            }
        }
        if failures > 0 {
            self.state = LaneState::Running;
        }
        positions.into_iter().for_each(|position| self.tracker.settle(position, Outcome::DeadLettered));
    }

    fn confirm(&mut self) -> Option<Confirming> {
        let (due, confirmation) = self.visibility.next()?;
        if due > Instant::now() {
            return None;
        }
        let (destination, confirmation) = (self.destination.clone(), confirmation.clone());
        Some(Box::pin(
            async move { (confirmation.index.clone(), destination.confirmed(&confirmation).await) },
        ))
    }

    fn confirmed(&mut self, index: &Arc<str>, visible: Result<bool, WriteError>) {
        let visible = match visible {
            Ok(visible) => visible,
            // Nobody will ever confirm it: the index or its task is gone.
            Err(
                WriteError::Misconfigured { scope: Scope::Index(_), reason }
                | WriteError::BatchRejected { reason, .. },
            ) => {
                tracing::warn!(destination = %self.settings.name, %index, %reason, "write cannot be confirmed");
                true
            }
            Err(_) => false,
        };
        self.visibility.polled(index, visible, Instant::now());
        self.moved();
        self.publish(0);
    }

    fn follow(&mut self, batch: &Batch, confirmations: Vec<Confirmation>) {
        let Some(oldest) = batch.operations().iter().map(|operation| operation.source.position).min() else {
            return;
        };
        let now = Instant::now();
        confirmations.into_iter().for_each(|confirmation| self.visibility.wrote(confirmation, oldest, now));
    }

    fn moved(&mut self) {
        self.commit_at.get_or_insert_with(|| Instant::now() + COMMIT_INTERVAL);
    }

    async fn commit(&mut self) {
        if self.commit_at.take().is_none() {
            return;
        }
        let progress = Progress { confirmations: self.visibility.confirmations(), ..self.tracker.progress() };
        if let Err(error) = self.log.commit(&self.settings.name, &progress).await {
            tracing::error!(destination = %self.settings.name, %error, "cursor cannot be persisted");
            self.moved();
        }
    }

    fn wants_more(&self) -> bool {
        let room = self.tracker.reach() < AHEAD_RECORDS_MAX && self.queue.waiting_bytes() < AHEAD_BYTES_MAX;
        room && self.gap_before.is_none() && (!self.queue.fills(self.bounds) || self.queue.wants_others())
    }

    fn publish(&self, in_flight: usize) {
        self.status.send_replace(Snapshot {
            destination: self.settings.name.clone(),
            state: self.state.clone(),
            breaker: self.breaker.state().clone(),
            delivered: self.tracker.watermark(),
            visible: self.visibility.watermark(self.tracker.watermark()),
            totals: self.tracker.totals(),
            since: self.since,
            in_flight,
            last_error: self.last_error.clone(),
        });
    }
}

/// A probe's failure, told as a request's would be.
fn health_of(error: WriteError) -> Health {
    match error {
        WriteError::Throttled { retry_after, reason } | WriteError::Unavailable { retry_after, reason } => {
            Health::Fails { reason, retry_after }
        }
        WriteError::Misconfigured { scope: Scope::Destination, reason } => Health::Refuses(reason),
        WriteError::Misconfigured { scope: Scope::Index(_), reason }
        | WriteError::Unknown { reason }
        | WriteError::TooLarge { reason }
        | WriteError::BatchRejected { reason, .. } => Health::Fails { reason, retry_after: None },
    }
}

/// The future's output, or never.
async fn maybe<T>(future: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
