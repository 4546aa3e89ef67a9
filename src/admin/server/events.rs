//! The status as a stream: one event now, and one every second.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{answer, changes::Api};
use crate::runtime::TaskKind;

const EVERY: Duration = Duration::from_secs(1);

/// Ends with the client, or with the agent.
pub(super) fn status(api: Arc<Api>) -> Response {
    let (tx, rx) = mpsc::channel(1);
    let tasks = api.tasks.clone();
    tasks.spawn(TaskKind::Admin, "events", async move {
        let mut ticks = interval(EVERY);
        // A client that reads slowly gets fewer, not old ones in a row.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The ends first: nobody waits for another status then.
                biased;
                () = api.stop.cancelled() => return,
                () = tx.closed() => return,
                _ = ticks.tick() => {}
            }
            let status = answer::event("status", &api.control.status().await);
            tokio::select! {
                biased;
                () = api.stop.cancelled() => return,
                sent = tx.send(status) => if sent.is_err() { return },
            }
        }
    });
    answer::events(ReceiverStream::new(rx))
}
