//! A lane: the loop that takes records from its feed, sends batches and moves the cursor.
//!
//! Several batches may be in flight. The lane itself never waits for anything but its own destination, its own dead
//! letters and its own cursor. A cursor moves only after the destination's answer or the letter's commit.

mod bury;
mod cursor;
mod hole;
mod replay;
mod send;
mod tell;

use std::{collections::HashSet, future::Future, panic, pin::Pin, sync::Arc, time::Duration};

use plugin_api::{destination::Destination, identity::Position, operation::Operation, verdict::WriteError};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    intake::{self, Hole, Intake},
    letters::Letters,
    meters::Meters,
    pace::Pace,
    queue::{BatchBounds, Queue},
    settings::{LaneSettings, Wiring},
    settle::Rejected,
    spans::Spans,
    status::{LaneState, Snapshot},
    tracker::{Outcome, Tracker},
    visibility::Visibility,
};
use crate::{
    dead_letter::{Delivered, Stage},
    feed::{Becomes, Expansion, Feed, FeedBlock, Transforming},
    log::interface::{Log, Progress, Subscription},
    runtime::{Stop, TaskKind, Tasks},
    tap::Tap,
};
use replay::Replaying;
use send::Answer;

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
    /// What was read and transforms still run on.
    transforming: Transforming,
    pace: Pace,
    visibility: Visibility,
    /// What an operator has sent again.
    replaying: Replaying,
    /// Who looks at what becomes of records.
    tap: Arc<Tap>,
    /// Where the persisted cursor stands: nothing before it is ever sent again, but by a replay.
    persisted: Position,
    /// What is in flight: batches or one probe. They are the lane's own and end with it.
    requests: JoinSet<Answer>,
    /// Operations in flight.
    in_flight: usize,
    /// Operations of the batch that was sent last.
    last_batch: usize,
    /// Whether the log keeps nothing for this destination any more.
    detached: watch::Receiver<bool>,
    /// When the cursor is to be persisted, if it has moved.
    commit_at: Option<Instant>,
    /// Bytes that were read since it was.
    bytes_since_commit: u64,
    /// What is to enter once nothing is held that was routed otherwise.
    rerouted: Option<FeedBlock>,
    /// What is to be passed over once what was read before has been settled.
    hole: Option<Hole>,
    /// Why the log cannot be read on.
    unreadable: Option<String>,
    /// Indexes whose refusal was told and that have not been written since.
    refused_indexes: HashSet<Arc<str>>,
    /// What was delivered and is not known to be marked on disk, of objects that may have letters.
    delivered: Vec<Delivered>,
    /// How many were before those.
    marked: u64,
    /// Indexes of which it was told that somebody else writes them with versions of their own.
    foreign_indexes: HashSet<Arc<str>>,
    /// Records became a gap since the cursor was persisted.
    has_gaps: bool,
    since: u64,
    /// The index that was told to hold everything up.
    stuck_index: Option<Arc<str>>,
    meters: Arc<Meters>,
    spans: Spans,
    status: watch::Sender<Snapshot>,
}

type Confirming = Pin<Box<dyn Future<Output = (Arc<str>, Result<bool, WriteError>)> + Send>>;

/// Why a lane delivers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Detached,
}

/// Reading ahead of the watermark stops here, so that the cursor's ranges and memory stay bounded.
const AHEAD_RECORDS_MAX: usize = 100_000;
const AHEAD_BYTES_MAX: usize = 64 << 20;
/// So many batches are read ahead of those in flight; many more where later operations take the place of earlier ones.
const AHEAD_BATCHES: usize = 2;
const AHEAD_BATCHES_COALESCING: usize = 16;

/// A destination that asked for a pause gets writes first.
const CONFIRM_AFTER_PAUSE: Duration = Duration::from_millis(100);

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
    let feed = Feed::new(wiring.tail.clone(), progress.next, wiring.routes.clone(), name.clone());
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
        let Wiring { destination, log, tail, routes, letters, replays, tap, meters, tracer } = wiring;
        let feed = Feed::new(tail, progress.next, routes, settings.name.clone());
        let replaying = Replaying::new(replays, feed, letters.clone());
        let capabilities = destination.capabilities();
        let bounds = BatchBounds {
            operations_max: settings.operations_max.min(capabilities.operations_max),
            bytes_max: settings.bytes_max.min(capabilities.bytes_max),
        };
        meters.settled(progress.totals);
        let pace = Pace::new(&settings);
        let queue = Queue::new(capabilities.coalesces, settings.backoff);
        let (tracker, visibility) = (Tracker::new(progress), Visibility::resume(progress, Instant::now()));
        let at_rest = Snapshot::at_rest(settings.name.clone(), progress);
        let since = at_rest.since;
        let (status, watched) = watch::channel(Snapshot {
            state: LaneState::Running,
            breaker: pace.breaker().clone(),
            visible: visibility.watermark(tracker.watermark()),
            ..at_rest
        });
        let lane = Self {
            bounds,
            destination,
            log,
            letters,
            intake,
            tracker,
            queue,
            transforming: Transforming::default(),
            replaying,
            tap,
            persisted: progress.next,
            pace,
            visibility,
            requests: JoinSet::new(),
            in_flight: 0,
            last_batch: 0,
            detached,
            commit_at: None,
            bytes_since_commit: 0,
            rerouted: None,
            hole: None,
            unreadable: None,
            refused_indexes: HashSet::new(),
            delivered: Vec::new(),
            marked: 0,
            foreign_indexes: HashSet::new(),
            has_gaps: false,
            since,
            stuck_index: None,
            meters,
            spans: Spans::new(tracer, settings.name.clone()),
            status,
            settings,
        };
        (lane, watched)
    }

    /// Delivers until told to stop, then lets the requests in flight end and persists the cursor. Once the destination
    /// is left behind, only the stop is awaited.
    async fn run(mut self, stop: Stop) {
        let end = self.deliver(&stop).await;
        self.replaying.close().await;
        if end == End::Detached {
            self.publish_as(LaneState::Detached);
            self.intake.close();
            self.requests.shutdown().await;
            self.queue = Queue::new(false, self.settings.backoff);
            self.transforming = Transforming::default();
            self.spans.give_up("the destination is left behind");
            stop.cancelled().await;
        }
        self.commit().await;
        self.publish_as(LaneState::Stopped);
    }

    async fn deliver(&mut self, stop: &Stop) -> End {
        let mut confirming: Option<Confirming> = None;
        let mut committing: Option<cursor::Committing> = None;
        let mut intake_open = true;
        loop {
            let stopping = stop.is_cancelled();
            if stopping && self.requests.is_empty() {
                break;
            }
            while !stopping
                && self.wants_operations()
                && let Some(expansion) = self.transforming.take(self.tap.is_open())
            {
                self.expand(expansion, stop).await;
            }
            if self.transforming.is_empty()
                && let Some(block) = self.rerouted.take()
            {
                self.enter(block, stop).await;
            }
            let mut wants_more = intake_open && !stopping && self.wants_more();
            while wants_more && let Ok(intake) = self.intake.try_recv() {
                self.take_in(intake, stop).await;
                wants_more = self.wants_more();
            }
            if !stopping {
                self.replay_on();
            }
            let send_at = if stopping { None } else { self.send_all() };
            let confirm_at = self.confirm_at().filter(|_| confirming.is_none() && !stopping);
            let commit_at = self.commit_at.filter(|_| committing.is_none());
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {}
                // What is seldom due goes before what may always be there.
                () = left_behind(&mut self.detached) => return End::Detached,
                committed = maybe(committing.as_mut()) => {
                    committing = None;
                    // Not after those that a lane in trouble waits for: this one may still have been on its way then.
                    self.persisted = self.committed(committed).await.unwrap_or(self.persisted);
                }
                () = until(commit_at) => committing = self.start_commit(),
                // The requests in flight are the destination's to answer, everything else waits for that anyway.
                Some(answer) = self.requests.join_next() => match answer {
                    Ok(answer) => self.answered(answer, stop).await,
                    Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                (index, visible) = maybe(confirming.as_mut()) => {
                    confirming = None;
                    self.confirmed(&index, visible);
                }
                () = until(confirm_at) => confirming = self.confirm(),
                event = self.replaying.next(), if !stopping => self.replay(event),
                () = self.transforming.ready() => {}
                () = until(send_at) => {}
                intake = self.intake.recv(), if wants_more => match intake {
                    Some(intake) => self.take_in(intake, stop).await,
                    None => intake_open = false,
                },
            }
        }
        if let Some(committing) = committing {
            let committed = committing.await;
            self.committed(committed).await;
        }
        End::Stopped
    }

    async fn take_in(&mut self, intake: Intake, stop: &Stop) {
        match intake {
            Intake::Block(block) => {
                self.unreadable = None;
                if block.rerouted && !self.transforming.is_empty() {
                    self.rerouted = Some(block);
                } else {
                    self.enter(block, stop).await;
                }
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
        self.tracker.hold(block.end(), block.bytes, block.accepted_at);
        self.bytes_since_commit += block.bytes as u64;
        if self.bytes_since_commit >= self.settings.commit_bytes {
            self.commit_at = Some(Instant::now());
        }
        let now = Instant::now();
        let mut refused = Vec::new();
        let mut operations = block.operations.into_iter();
        for (offset, becomes) in (block.first.offset..).zip(block.records) {
            let enters = self
                .tracker
                .enter(Position { offset, ..block.first }, u32::from(becomes != Becomes::Nothing));
            let operation = if becomes == Becomes::Operation { operations.next() } else { None };
            if let Some(operation) = operation.filter(|_| enters) {
                self.admit(operation, now, &mut refused);
            }
        }
        self.transforming.push(block.held);
        self.spans.enter(block.traced);
        self.bury(refused, Stage::Admit, stop).await;
        self.spans.close_settled(&self.tracker);
    }

    /// Takes what transforms have made of records that entered before.
    async fn expand(&mut self, expansion: Expansion, stop: &Stop) {
        self.moved();
        let now = Instant::now();
        let mut refused = Vec::new();
        let Expansion { records, operations, skipped, failed, end, bytes, accepted_at, traced } = expansion;
        self.spans.transformed(traced);
        let (mut operations, mut skipped) = (operations.into_iter(), skipped.iter());
        for (position, count) in records {
            let enters = self.tracker.expand(position, count);
            if count == 0
                && let Some(operation) = skipped.next().filter(|_| enters)
            {
                self.tell_settled([(operation, Outcome::Skipped)]);
            }
            for operation in operations.by_ref().take(count as usize).filter(|_| enters) {
                self.admit(operation, now, &mut refused);
            }
        }
        self.tracker.hold(end, bytes, accepted_at);
        let failed =
            failed.into_iter().filter(|(operation, _)| self.tracker.expand(operation.source.position, 1));
        let failed = failed.map(|(operation, reason)| Rejected { operation, reason, attempts: 0 }).collect();
        self.bury(failed, Stage::Transform, stop).await;
        self.bury(refused, Stage::Admit, stop).await;
        self.spans.close_settled(&self.tracker);
        self.cross_hole(stop).await;
        self.publish();
    }

    fn admit(&mut self, operation: Operation, now: Instant, refused: &mut Vec<Rejected>) {
        match self.destination.admit(&operation) {
            Ok(()) => self.queue.push(operation, now),
            Err(reason) => refused.push(Rejected { operation, reason, attempts: 0 }),
        }
    }

    /// When to ask for a confirmation next: not while the destination must not be asked for anything.
    fn confirm_at(&self) -> Option<Instant> {
        let (due, _) = self.visibility.next()?;
        Some(self.pace.resume_at().map_or(due, |resume_at| due.max(resume_at + CONFIRM_AFTER_PAUSE)))
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

    /// Whether reading on keeps within what may be read ahead of the watermark.
    fn has_room(&self) -> bool {
        let bytes = self.tracker.held_bytes() + self.transforming.bytes();
        self.tracker.reach() < AHEAD_RECORDS_MAX && bytes < AHEAD_BYTES_MAX
    }

    fn wants_more(&self) -> bool {
        self.has_room() && self.hole.is_none() && self.rerouted.is_none() && self.wants_operations()
    }

    /// Whether few operations wait to be sent.
    fn wants_operations(&self) -> bool {
        let batches = if self.queue.coalescing_pays() { AHEAD_BATCHES_COALESCING } else { AHEAD_BATCHES };
        !self.queue.fills(self.bounds, batches) || self.queue.wants_others()
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
        let (delivered, totals) = (self.tracker.watermark(), self.tracker.totals());
        self.meters.settled(totals);
        self.status.send_replace(Snapshot {
            destination: self.settings.name.clone(),
            state,
            breaker: self.pace.breaker().clone(),
            delivered,
            visible: self.visibility.watermark(delivered),
            totals,
            since: self.since,
            in_flight: self.in_flight,
            oldest_pending: self.tracker.oldest_held(),
            resume_at: self.pace.resume_at(),
            last_error: self.pace.last_error().cloned(),
        });
    }
}

/// The future's output, or never.
async fn maybe<T>(future: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
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
