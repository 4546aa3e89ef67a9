//! Reads ahead for a lane in a task of its own, so that reading and parsing go on while a request is in flight.

use std::time::Duration;

use plugin_api::identity::Position;
use tokio::sync::mpsc;

use crate::{
    feed::{Feed, FeedBlock, FeedError},
    log::interface::ReadError,
    runtime::{Stop, TaskKind, Tasks},
};

/// What a lane takes from its feed.
#[derive(Debug)]
pub(super) enum Intake {
    /// The next records of the log.
    Block(FeedBlock),
    /// The records before a position are not in the log any more.
    Hole(Hole),
    /// The log cannot be read on; an operator must look.
    Halted(FeedError),
}

/// Records that cannot be read, from where the feed stood to before a position.
#[derive(Debug)]
pub(super) enum Hole {
    /// They were given back to the disk.
    Gone { to: Position },
    /// They were rotten and an operator has given them up.
    GivenUp { to: Position, message: String },
}

/// How often a feed that could not read tries again.
const RETRY: Duration = Duration::from_secs(10);

/// Starts reading. One block waits in the channel and one in the task, whatever the lane does.
pub(super) fn start(feed: Feed, name: &str, stop: Stop, tasks: &Tasks) -> mpsc::Receiver<Intake> {
    let (tx, rx) = mpsc::channel(1);
    tasks.spawn(TaskKind::Feed, name, async move {
        tokio::select! {
            biased;
            // Checked first: a log that is always behind would otherwise never let it end.
            () = stop.cancelled() => {}
            () = read(feed, tx) => {}
        }
    });
    rx
}

async fn read(mut feed: Feed, tx: mpsc::Sender<Intake>) {
    loop {
        let intake = match feed.next().await {
            Ok(block) => Intake::Block(block),
            Err(FeedError::Read(ReadError::Closed)) => return,
            Err(FeedError::Read(ReadError::BelowStart { start, .. })) => {
                feed.skip_to(start);
                Intake::Hole(Hole::Gone { to: start })
            }
            Err(FeedError::Read(given_up @ ReadError::GivenUp { to, .. })) => {
                feed.skip_to(to);
                Intake::Hole(Hole::GivenUp { to, message: given_up.to_string() })
            }
            Err(error) => {
                if tx.send(Intake::Halted(error)).await.is_err() {
                    return;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        if tx.send(intake).await.is_err() {
            return;
        }
    }
}
