//! A lane: the loop that takes records from its feed, sends batches and moves the cursor.
//!
//! One batch is in flight at a time. The lane itself never waits for anything but its own destination, its own dead
//! letters and its own cursor. A cursor moves only after the destination's answer or the letter's commit.

mod bury;
mod hole;

use std::{collections::HashSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use plugin_api::{
    destination::Destination,
    identity::Position,
    operation::Batch,
    verdict::{Confirmation, Verdict, WriteError},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    intake::{self, Hole, Intake},
    letters::Letters,
    pace::Pace,
    queue::{BatchBounds, Group, Queue},
    settings::{LaneSettings, Wiring},
    settle::{Rejected, Settled, settle, verdicts_of},
    status::{LaneState, Snapshot},
    tracker::{Outcome, Tracker},
    visibility::Visibility,
};
use crate::{
    dead_letter::Stage,
    feed::{Feed, FeedBlock},
    log::interface::{Log, Progress, Subscription},
    runtime::{Stop, TaskKind, Tasks},
};

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
    pace: Pace,
    visibility: Visibility,
    /// Whether the log keeps nothing for this destination any more.
    detached: watch::Receiver<bool>,
    /// When the cursor is to be persisted, if it has moved.
    commit_at: Option<Instant>,
    /// Bytes that were read since it was.
    bytes_since_commit: u64,
    /// What is to be passed over once what was read before has been settled.
    hole: Option<Hole>,
    /// Why the log cannot be read on.
    unreadable: Option<String>,
    /// Indexes whose refusal was told and that have not been written since.
    refused_indexes: HashSet<Arc<str>>,
    /// Indexes of which it was told that somebody else writes them with versions of their own.
    foreign_indexes: HashSet<Arc<str>>,
    /// Records became a gap since the cursor was persisted.
    has_gaps: bool,
    since: u64,
    in_flight: usize,
    status: watch::Sender<Snapshot>,
}

/// What a lane waits for from its destination: one request or one probe.
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Confirming = Pin<Box<dyn Future<Output = (Arc<str>, Result<bool, WriteError>)> + Send>>;

/// Why a lane delivers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Detached,
}

enum Answer {
    Write { group: Group, batch: Batch, answer: Result<(Vec<Verdict>, Vec<Confirmation>), WriteError> },
    Probe(Result<(), WriteError>),
}

const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Reading ahead of the watermark stops here, so that the cursor's ranges and memory stay bounded.
const AHEAD_RECORDS_MAX: usize = 100_000;
const AHEAD_BYTES_MAX: usize = 64 << 20;

/// Starts a lane that goes on where its subscription says, as a task; what it publishes tells how it is doing.
pub fn start(
    settings: LaneSettings,
    wiring: Wiring,
    subscription: Subscription,
    stop: &Stop,
    tasks: &Tasks,
) -> watch::Receiver<Snapshot> {
    let name = settings.name.clone();
    let Subscription { progress, detached, alert: _ } = subscription;
    let feed = Feed::new(wiring.log.clone(), progress.next, wiring.router.clone(), name.clone());
    let intake = intake::start(feed, &name, stop.clone(), tasks);
    let (lane, watched) = Lane::new(settings, wiring, intake, &progress, detached);
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
        detached: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<Snapshot>) {
        let Wiring { destination, log, letters, router: _ } = wiring;
        let capabilities = destination.capabilities();
        let bounds = BatchBounds {
            operations_max: settings.operations_max.min(capabilities.operations_max),
            bytes_max: settings.bytes_max.min(capabilities.bytes_max),
        };
        let beyond: u64 = progress.completed.iter().map(|(first, end)| end - first).sum();
        let since = (progress.next.offset + beyond).saturating_sub(progress.totals.settled());
        let pace = Pace::new(&settings);
        let (tracker, visibility) = (Tracker::new(progress), Visibility::resume(progress, Instant::now()));
        let (status, watched) = watch::channel(Snapshot {
            destination: settings.name.clone(),
            state: LaneState::Running,
            breaker: pace.breaker().clone(),
            delivered: tracker.watermark(),
            visible: visibility.watermark(tracker.watermark()),
            totals: tracker.totals(),
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
            tracker,
            queue: Queue::default(),
            pace,
            visibility,
            detached,
            commit_at: None,
            bytes_since_commit: 0,
            hole: None,
            unreadable: None,
            refused_indexes: HashSet::new(),
            foreign_indexes: HashSet::new(),
            has_gaps: false,
            since,
            in_flight: 0,
            status,
            settings,
        };
        (lane, watched)
    }

    /// Delivers until told to stop, then lets the request in flight end and persists the cursor. Once the destination
    /// is left behind, only the stop is awaited.
    async fn run(mut self, stop: Stop) {
        if self.deliver(&stop).await == End::Detached {
            self.publish_as(LaneState::Detached);
            self.intake.close();
            self.queue = Queue::default();
            stop.cancelled().await;
        }
        self.commit().await;
        self.publish_as(LaneState::Stopped);
    }

    async fn deliver(&mut self, stop: &Stop) -> End {
        let mut answering: Option<Answering> = None;
        let mut confirming: Option<Confirming> = None;
        let mut intake_open = true;
        loop {
            let stopping = stop.is_cancelled();
            if answering.is_none() {
                if stopping {
                    return End::Stopped;
                }
                answering = self.send();
            }
            let wants_more = intake_open && !stopping && self.wants_more();
            let confirm_at = self.confirm_at().filter(|_| confirming.is_none() && !stopping);
            tokio::select! {
                biased;
                // The destination's answer first: everything else waits for it anyway. Then what is seldom due, so that
                // a feed that always has more cannot keep it waiting.
                Some(answer) = maybe(answering.as_mut()) => {
                    answering = None;
                    self.answered(answer, stop).await;
                }
                () = stop.cancelled(), if !stopping => {}
                // The request in flight is given up: whatever became of it, its records are in the gap.
                () = left_behind(&mut self.detached) => return End::Detached,
                () = until(self.commit_at) => self.commit().await,
                Some((index, visible)) = maybe(confirming.as_mut()) => {
                    confirming = None;
                    self.confirmed(&index, visible);
                }
                () = until(confirm_at) => confirming = self.confirm(),
                () = until(self.pace.resume_at()) => {
                    self.pace.resume();
                    self.publish();
                }
                intake = self.intake.recv(), if wants_more => match intake {
                    Some(intake) => self.take_in(intake, stop).await,
                    None => intake_open = false,
                },
            }
        }
    }

    /// The next request or probe, if one is due.
    fn send(&mut self) -> Option<Answering> {
        if self.pace.resume_at().is_some() || self.queue.is_empty() {
            return None;
        }
        let destination = self.destination.clone();
        if self.pace.wants_probe() {
            return Some(Box::pin(async move { Answer::Probe(destination.probe().await) }));
        }
        let mut group = self.queue.take(self.bounds)?;
        let batch: Batch = std::mem::take(&mut group.operations).into_iter().collect();
        self.in_flight = batch.operations().len();
        self.publish();
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
        self.in_flight = 0;
        match answer {
            Answer::Probe(outcome) => self.pace.probed(outcome),
            Answer::Write { group, batch, answer } => {
                let answer = answer.map(|(verdicts, confirmations)| {
                    self.follow(&batch, confirmations);
                    verdicts
                });
                let settled = settle(&mut self.queue, group, batch, answer, self.settings.attempts_max);
                self.apply(settled, stop).await;
            }
        }
        self.publish();
    }

    async fn apply(&mut self, settled: Settled, stop: &Stop) {
        self.moved();
        for (position, outcome) in settled.outcomes {
            self.tracker.settle(position, outcome);
        }
        self.pace.judge(settled.health);
        self.bury(settled.rejected, Stage::Delivery, stop).await;
        self.cross_hole(stop).await;
    }

    async fn take_in(&mut self, intake: Intake, stop: &Stop) {
        match intake {
            Intake::Block(block) => {
                self.unreadable = None;
                self.enter(block, stop).await;
            }
            Intake::Hole(hole) => {
                self.unreadable = None;
                self.hole = Some(hole);
                self.cross_hole(stop).await;
            }
            Intake::Halted(error) => {
                let error = error.to_string();
                if self.unreadable.as_ref() != Some(&error) {
                    tracing::error!(destination = %self.settings.name, error, "log cannot be read, delivery halts here");
                }
                self.unreadable = Some(error);
            }
        }
        self.publish();
    }

    async fn enter(&mut self, block: FeedBlock, stop: &Stop) {
        self.moved();
        self.tracker.hold(block.end(), block.bytes);
        self.bytes_since_commit += block.bytes as u64;
        if self.bytes_since_commit >= self.settings.commit_bytes {
            self.commit_at = Some(Instant::now());
        }
        let mut refused = Vec::new();
        let mut operations = block.operations.into_iter();
        for (offset, count) in (block.first.offset..).zip(block.operations_by_record) {
            let of_record = operations.by_ref().take(count as usize);
            if !self.tracker.enter(Position { offset, ..block.first }, count) {
                of_record.for_each(drop);
                continue;
            }
            for operation in of_record {
                match self.destination.admit(&operation) {
                    Ok(()) => self.queue.push(operation),
                    Err(reason) => refused.push(Rejected { operation, reason, attempts: 0 }),
                }
            }
        }
        self.bury(refused, Stage::Admit, stop).await;
    }

    /// When to ask for a confirmation next: not while the destination must not be asked for anything.
    fn confirm_at(&self) -> Option<Instant> {
        self.visibility.next().map(|(due, _)| due).filter(|_| self.pace.resume_at().is_none())
    }

    fn confirm(&self) -> Option<Confirming> {
        let (_, confirmation) = self.visibility.next()?;
        let (destination, confirmation) = (self.destination.clone(), confirmation.clone());
        Some(Box::pin(
            async move { (confirmation.index.clone(), destination.confirmed(&confirmation).await) },
        ))
    }

    fn confirmed(&mut self, index: &Arc<str>, visible: Result<bool, WriteError>) {
        if self.visibility.polled(&self.settings.name, index, visible, Instant::now()) {
            self.moved();
            self.publish();
        }
    }

    /// Takes note of what a request wrote.
    fn follow(&mut self, batch: &Batch, confirmations: Vec<Confirmation>) {
        let operations = batch.operations();
        if !self.refused_indexes.is_empty() {
            operations.iter().for_each(|operation| _ = self.refused_indexes.remove(&operation.key.index));
        }
        let Some(oldest) = operations.iter().map(|operation| operation.source.position).min() else {
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
        self.bytes_since_commit = 0;
        let progress = self.visibility.extend(self.tracker.progress());
        if let Err(error) = self.log.commit(&self.settings.name, &progress).await {
            tracing::error!(destination = %self.settings.name, %error, "cursor cannot be persisted");
            self.moved();
        } else if std::mem::take(&mut self.has_gaps) {
            self.letters.merge_ranges(self.log.id(), progress.next).await;
        }
    }

    fn wants_more(&self) -> bool {
        let room = self.tracker.reach() < AHEAD_RECORDS_MAX && self.tracker.held_bytes() < AHEAD_BYTES_MAX;
        room && self.hole.is_none() && (!self.queue.fills(self.bounds) || self.queue.wants_others())
    }

    fn publish(&self) {
        let state = match &self.unreadable {
            Some(error) => LaneState::Halted(error.clone()),
            None if self.pace.is_failing() => LaneState::BackingOff,
            None => LaneState::Running,
        };
        self.publish_as(state);
    }

    fn publish_as(&self, state: LaneState) {
        let delivered = self.tracker.watermark();
        self.status.send_replace(Snapshot {
            destination: self.settings.name.clone(),
            state,
            breaker: self.pace.breaker().clone(),
            delivered,
            visible: self.visibility.watermark(delivered),
            totals: self.tracker.totals(),
            since: self.since,
            in_flight: self.in_flight,
            last_error: self.pace.last_error().cloned(),
        });
    }
}

/// The future's output, or never.
async fn maybe<T>(future: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

/// Returns once the destination is left behind.
async fn left_behind(detached: &mut watch::Receiver<bool>) {
    if detached.wait_for(|detached| *detached).await.is_err() {
        // The log is gone, and so is whoever could say it.
        std::future::pending().await
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
