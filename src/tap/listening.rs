//! One who looks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_api::identity::Position;
use tokio::{sync::mpsc, task::yield_now, time::sleep};

use super::{
    event::{Event, Kind},
    listener::{Listener, NotShown},
    open::Tap,
};
use crate::{
    log::interface::{Frame, Log, ReadError},
    record::{payload_index, read_payload},
};

/// One who looks, until it is dropped.
#[derive(Debug)]
pub struct Listening {
    tap: Arc<Tap>,
    listener: Arc<Listener>,
    events: mpsc::Receiver<Event>,
}

/// After an error the log is read on from where it ends by then.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Listening {
    pub(super) fn new(tap: Arc<Tap>, listener: Arc<Listener>, events: mpsc::Receiver<Event>) -> Self {
        Self { tap, listener, events }
    }

    /// The next event; waits for it. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The sender is the listener's, which lives as long as this does.
            None => std::future::pending().await,
        }
    }

    /// What was not shown since this was asked last.
    #[must_use]
    pub fn not_shown(&self) -> NotShown {
        self.listener.not_shown()
    }

    /// Shows what a log accepts from now on, of the indexes that `goes` lets through, too. Reads the log by a reader of its
    /// own, so that nobody who writes to it notices; returns with the log's end.
    pub fn follow<F>(&self, log: Arc<dyn Log>, goes: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Fn(&str) -> bool + Send + Sync,
    {
        let (listener, mut from) = (self.listener.clone(), log.status().end);
        async move {
            while let Err(error) = read_on(&*log, from, &listener, &goes).await {
                if matches!(error, ReadError::Closed) {
                    return;
                }
                tracing::debug!(%error, "the log cannot be read by whoever looks at it");
                sleep(READ_AGAIN_AFTER).await;
                from = log.status().end;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tap.leave(&self.listener);
    }
}

/// Until it cannot be read.
async fn read_on(
    log: &dyn Log,
    from: Position,
    listener: &Listener,
    goes: &(impl Fn(&str) -> bool + Sync),
) -> Result<(), ReadError> {
    let mut reader = log.read_from(from).await?;
    loop {
        for frame in reader.next().await? {
            accepted(listener, &frame, goes);
        }
        // Where much is there to be read, it is read without a wait.
        yield_now().await;
    }
}

/// All records of a frame are of one index. They are decoded only if some are shown.
fn accepted(listener: &Listener, frame: &Frame, goes: &impl Fn(&str) -> bool) {
    let Ok(index) = payload_index(&frame.payload) else { return };
    if !listener.filter().lets_index([index]) || !goes(index) {
        return;
    }
    let admitted = listener.admit(Kind::Accepted, frame.records, Instant::now());
    if admitted == 0 {
        return;
    }
    let Ok(records) = read_payload(&frame.payload, frame.records) else { return };
    for (number, record) in (0..).zip(records).take(admitted as usize) {
        listener.show(|| Event::accepted(frame, number, record));
    }
}
