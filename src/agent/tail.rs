//! Lets operators look at records while they pass.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use wildmatch::WildMatch;

use crate::{
    admin::{ControlError, Tail, TailEvent},
    feed::Routes,
    log::interface::Log,
    runtime::{Clock, Stop, TaskKind, Tasks},
    tap::{Filter, Listening, Tap},
};

/// Starts tails, each as a task of its own.
pub(super) struct Tails {
    pub(super) tap: Arc<Tap>,
    pub(super) log: Arc<dyn Log>,
    pub(super) routes: Arc<Routes>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Stop,
    pub(super) tasks: Tasks,
}

/// What was not shown is told so often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Events beside those that wait at the tap.
const EVENTS_MAX: usize = 1;

impl Tails {
    /// Tells what happens from now on until the stop, or until the receiver is dropped.
    pub(super) fn start(&self, request: Tail) -> Result<mpsc::Receiver<TailEvent>, ControlError> {
        let Tail { index, destination, rate } = request;
        if !(1..=Tail::RATE_MAX).contains(&rate) {
            let error = format!("rate {rate} is none");
            return Err(ControlError::invalid(error, format!("choose one of 1 to {}", Tail::RATE_MAX)));
        }
        let destination: Option<Arc<str>> = destination.map(Into::into);
        let filter = Filter { index: index.as_deref().map(WildMatch::new), destination: destination.clone() };
        let listening = self
            .tap
            .listen(filter, rate)
            .map_err(|error| ControlError::conflict(error.to_string(), "end one of them first"))?;
        let routes = self.routes.clone();
        let goes = move |index: &str| {
            let router = &routes.current().router;
            destination.as_ref().is_none_or(|destination| router.delivers(index, destination))
        };
        let accepted = listening.follow(self.log.clone(), goes);
        let (tx, rx) = mpsc::channel(EVENTS_MAX);
        let (clock, stop) = (self.clock.clone(), self.stop.clone());
        self.tasks.spawn(TaskKind::Admin, "tail", async move {
            tokio::select! {
                // The ends first; then what is shown before what is read anew, so that there is room for that.
                biased;
                () = stop.cancelled() => {}
                () = show(listening, &*clock, tx) => {}
                () = accepted => {}
            }
        });
        Ok(rx)
    }
}

/// Until nobody receives any more.
async fn show(mut listening: Listening, clock: &dyn Clock, tx: mpsc::Sender<TailEvent>) {
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            // What always is there comes last.
            biased;
            () = tx.closed() => return,
            _ = ticks.tick() => match TailEvent::not_shown(clock.now(), listening.not_shown()) {
                Some(event) => event,
                None => continue,
            },
            event = listening.next() => event.into(),
        };
        if tx.send(event).await.is_err() {
            return;
        }
    }
}
