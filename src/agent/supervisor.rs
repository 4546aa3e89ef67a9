//! One destination's life. A single task starts its lane, and stops it for whatever cannot be done while it runs, so that
//! no two of these ever meet: another config, a pause, a cursor that is moved, the end.
//!
//! A lane that is stopped first lets its requests in flight end and persists its cursor; the next one goes on there.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use plugin_api::destination::Destination;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    StartError,
    keeper::Keeper,
    settings::{bounds, lane_settings},
};
use crate::{
    config,
    dead_letter::{Store, StoreError, store_path},
    delivery::{self, LaneState, Letters, Meters, Snapshot, replay::Replays},
    feed::{Routes, Tail},
    ingress::Refusals,
    log::interface::{From as StartAt, Gap, Log, LogError, Rewound, Subscription},
    runtime::{Clock, Stop, Tasks, Tracer},
    tap::Tap,
};

/// What every destination shares.
pub(super) struct Shared {
    pub(super) data_dir: PathBuf,
    pub(super) log: Arc<dyn Log>,
    pub(super) tail: Arc<Tail>,
    pub(super) routes: Arc<Routes>,
    pub(super) tap: Arc<Tap>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tracer: Tracer,
    pub(super) stop: Stop,
    pub(super) tasks: Tasks,
}

/// What a destination is to be.
#[derive(Clone)]
pub(super) struct Wanted {
    /// `None` once it is not configured any more.
    pub(super) built: Option<Arc<Built>>,
    /// An operator wants nothing to be sent, and said why.
    pub(super) paused: Option<String>,
}

/// A destination's settings, and its plugin with them.
pub(super) struct Built {
    pub(super) config: config::Destination,
    pub(super) destination: Arc<dyn Destination>,
}

/// What is ready for a lane to start.
pub(super) struct Prepared {
    keeper: Keeper,
    subscription: Subscription,
}

/// What a lane must be stopped for.
pub(super) enum Command {
    /// Lets a detached destination go on.
    Resume { from: StartAt, done: oneshot::Sender<Result<Gap, LogError>> },
    /// Moves the cursor; back only if that is allowed.
    Reset { from: StartAt, may_go_back: bool, done: oneshot::Sender<Result<Reset, LogError>> },
    /// Forgets what it knows of the destination's health.
    Restart,
}

/// A cursor that was asked to move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    pub(super) rewound: Rewound,
    /// It would have gone back, and stands where it was.
    pub(super) refused: bool,
}

/// What is known of a lane from outside.
#[derive(Default)]
pub(super) struct Shown {
    lane: Option<watch::Receiver<Snapshot>>,
    replays: Option<Replays>,
    /// Why there is none.
    failure: Option<String>,
}

pub(super) struct Supervisor {
    pub(super) name: Arc<str>,
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) meters: Arc<Meters>,
}

/// How long a destination that cannot be started waits for the next attempt.
const RETRY: Duration = Duration::from_secs(5);

impl Prepared {
    /// Where the destination stands.
    pub(super) fn at_rest(&self, name: Arc<str>) -> Snapshot {
        Snapshot::at_rest(name, &self.subscription.progress)
    }
}

impl Shown {
    /// The newest of the lane; that of the one before while there is none.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let snapshot = self.lane.as_ref().map(|lane| lane.borrow().clone())?;
        Some(match &self.failure {
            Some(failure) => Snapshot { state: LaneState::Halted(failure.clone()), ..snapshot },
            None => snapshot,
        })
    }

    /// There is no lane now.
    pub(super) fn rest(&mut self, at_rest: Snapshot) {
        let last_error = self.snapshot().and_then(|before| before.last_error);
        self.lane = Some(watch::channel(Snapshot { last_error, ..at_rest }).1);
    }

    pub(super) fn replays(&self) -> Option<&Replays> {
        self.replays.as_ref()
    }

    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }
}

impl Shared {
    /// Opens what a lane needs. From then on the log keeps what lies beyond its cursor.
    pub(super) async fn prepare(
        &self,
        config: &config::Destination,
        from: StartAt,
    ) -> Result<Prepared, StartError> {
        let keeper = Keeper {
            destination: config.name.clone(),
            store: Arc::new(self.open_store(config).await?),
            index_full: bounds(config).index_full,
            routes: self.routes.clone(),
            refusals: self.refusals.clone(),
            clock: self.clock.clone(),
            interval: Keeper::INTERVAL,
        };
        let subscription = self.log.subscribe(&config.name, from).await?;
        if let Some(alert) = &subscription.alert {
            tracing::error!(destination = %config.name, alert, "cursor needs attention");
        }
        keeper.refuse_now();
        Ok(Prepared { keeper, subscription })
    }

    async fn open_store(&self, config: &config::Destination) -> Result<Store, StartError> {
        let path = store_path(&self.data_dir, &config.name);
        let bounds = bounds(config);
        let closed = StoreError::Closed { path: path.clone() };
        let store = spawn_blocking(move || Store::open(&path, bounds)).await.unwrap_or(Err(closed))?;
        let end = self.log.status().end;
        match store.newest_position(self.log.id()).await? {
            Some(letter) if letter >= end => {
                Err(StartError::LogBehindLetters { destination: config.name.clone(), letter, end })
            }
            _ => Ok(store),
        }
    }
}

impl Supervisor {
    /// Runs the destination until it is not wanted any more, or the agent stops. `remove` is asked when it is not: it
    /// says whether that is final.
    pub(super) async fn run(mut self, first: Option<Prepared>, remove: impl Fn() -> bool) {
        let mut prepared = first;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if self.shared.stop.is_cancelled() {
                return;
            }
            match wanted {
                Wanted { built: None, .. } => {
                    close(prepared.take().map(|prepared| prepared.keeper.store)).await;
                    self.leave().await;
                    if remove() {
                        return;
                    }
                }
                Wanted { paused: Some(_), .. } => {
                    self.show_at_rest().await;
                    self.wait(&mut prepared, None).await;
                }
                Wanted { built: Some(built), paused: None } => {
                    let ready = match prepared.take() {
                        Some(prepared) => Ok(prepared),
                        // Where it begins counts only the first time.
                        None => self.shared.prepare(&built.config, StartAt::Now).await,
                    };
                    match ready {
                        Ok(ready) => prepared = self.deliver(&built, ready).await,
                        Err(error) => {
                            tracing::error!(destination = %self.name, %error, "destination cannot go on");
                            self.show_at_rest().await;
                            self.show(|shown| shown.failure = Some(error.to_string()));
                            self.wait(&mut prepared, Some(RETRY)).await;
                        }
                    }
                }
            }
        }
    }

    /// Runs a lane until something else is wanted.
    async fn deliver(&mut self, built: &Built, ready: Prepared) -> Option<Prepared> {
        let Prepared { keeper, subscription } = ready;
        let Shared { log, tail, routes, tap, clock, .. } = &*self.shared;
        let (store, stop, tasks) =
            (keeper.store.clone(), self.shared.stop.child_token(), self.shared.tasks.group());
        let (replays, inbox) = Replays::channel();
        let wiring = delivery::Wiring {
            destination: built.destination.clone(),
            log: log.clone(),
            tail: tail.clone(),
            routes: routes.clone(),
            letters: Letters::new(store.clone(), clock.clone()),
            replays: inbox,
            meters: self.meters.clone(),
            tracer: self.shared.tracer.clone(),
            tap: tap.clone(),
        };
        keeper.start(stop.clone(), &tasks);
        let lane = delivery::start(lane_settings(&built.config), wiring, subscription, &stop, &tasks);
        self.show(|shown| *shown = Shown { lane: Some(lane), replays: Some(replays), failure: None });
        let command = tokio::select! {
            biased;
            // The stop first: a command that comes with it is not carried out.
            () = self.shared.stop.cancelled() => None,
            changed = self.wanted.changed() => changed.ok().and(None),
            command = self.commands.recv() => command,
        };
        stop.cancel();
        tasks.join().await;
        close(Some(store)).await;
        if let Some(command) = command {
            self.carry_out(command).await;
        }
        None
    }

    /// Waits without a lane until something else is wanted, for this long at most; carries commands out meanwhile.
    async fn wait(&mut self, prepared: &mut Option<Prepared>, at_most: Option<Duration>) {
        let timer = async {
            match at_most {
                Some(at_most) => sleep(at_most).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => close(prepared.take().map(|prepared| prepared.keeper.store)).await,
            _ = self.wanted.changed() => {}
            command = self.commands.recv() => if let Some(command) = command {
                // Its subscription may be out of date then.
                close(prepared.take().map(|prepared| prepared.keeper.store)).await;
                self.carry_out(command).await;
            },
            () = timer => {}
        }
    }

    /// Whoever asked may be gone: then it is done all the same.
    async fn carry_out(&self, command: Command) {
        let log = &self.shared.log;
        match command {
            Command::Resume { from, done } => {
                let _ = done.send(log.resume(&self.name, from).await);
            }
            Command::Reset { from, may_go_back, done } => {
                let _ = done.send(self.reset(from, may_go_back).await);
            }
            Command::Restart => {}
        }
    }

    /// No lane runs, so what it would do is what it does.
    async fn reset(&self, from: StartAt, may_go_back: bool) -> Result<Reset, LogError> {
        let log = &self.shared.log;
        let rewound = log.rewind(&self.name, from, true).await?;
        let refused = rewound.to < rewound.from && !may_go_back;
        if !refused && rewound.to != rewound.from {
            log.rewind(&self.name, from, false).await?;
        }
        Ok(Reset { rewound, refused })
    }

    /// Nothing is kept for it any longer.
    async fn leave(&self) {
        if let Err(error) = self.shared.log.leave(&self.name).await {
            tracing::error!(destination = %self.name, %error, "destination is removed, but the log still keeps what it has not received");
        }
        self.shared.refusals.set(&self.name, Default::default());
    }

    /// Shows where it stands while it has no lane.
    async fn show_at_rest(&self) {
        let served = self.shared.log.served().await.unwrap_or_default();
        let progress = served.into_iter().find(|(name, _)| **name == *self.name);
        if let Some(progress) = progress.and_then(|(_, progress)| progress) {
            let at_rest = Snapshot::at_rest(self.name.clone(), &progress);
            self.show(|shown| shown.rest(at_rest));
        }
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whoever else had it has ended.
async fn close(store: Option<Arc<Store>>) {
    if let Some(store) = store.and_then(Arc::into_inner)
        && let Err(error) = store.close().await
    {
        tracing::warn!(%error, "dead letters could not be closed");
    }
}
