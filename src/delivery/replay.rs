//! What an operator asks of a lane: to send dead letters again. `lane/replay.rs` carries it out.
//!
//! Letters are counted here and nowhere else: a replay moves neither a cursor nor the totals of what was accepted.

use plugin_api::operation::Key;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::dead_letter::{Filter, LetterId};

/// Which letters are sent again, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which letters, of those that are there when it begins.
    pub filter: Filter,
    /// Stale ones, too. Where the destination checks versions it still refuses them; elsewhere they replace what is newer.
    pub force: bool,
    /// Nothing is sent or changed: it is only counted what would be.
    pub dry_run: bool,
}

/// How far a replay is. Numbers are of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether it goes on.
    pub state: State,
    /// How many it is about.
    pub total: u64,
    /// Delivered, and deleted from the dead letters; in a dry run: those that would be sent.
    pub replayed: u64,
    /// Deleted, since the destination has something newer.
    pub superseded: u64,
    /// Deleted, since today's transform makes nothing of them.
    pub skipped: u64,
    /// Left alone, since something newer of their object was delivered.
    pub stale: u64,
    /// Left alone, since their data is gone: their object was deleted.
    pub purged: u64,
    /// Left alone, since their index does not go to the destination any more.
    pub unrouted: u64,
    /// Rejected again, and kept with the new reason.
    pub failed: u64,
    /// The first [`Progress::LISTED_MAX`] of those that are left.
    pub left: Vec<Left>,
}

/// Whether a replay goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Another replay is before it, or the lane is busy with something else.
    #[default]
    Waiting,
    /// It goes on.
    Running,
    /// It came to its end.
    Done,
    /// The lane ended, or nobody watches any more. What is left is as it was; it may be asked for again.
    Interrupted,
    /// The dead letters could not be read or changed, and why. It may be asked for again.
    Failed(String),
}

/// A letter that is left after a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its id.
    pub id: LetterId,
    /// Its record's object.
    pub object: Key,
    /// Why.
    pub why: Why,
}

/// Why a letter is left after a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// See [`Progress::stale`].
    Stale,
    /// See [`Progress::purged`].
    Purged,
    /// See [`Progress::unrouted`].
    Unrouted,
    /// See [`Progress::failed`], with the new reason.
    Failed(String),
}

/// A lane carries out one replay at a time, and one may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There are two already.
    #[error("a replay of this destination is under way and another one waits: try again later")]
    Busy,
    /// The lane has ended.
    #[error("this destination is not delivered to")]
    Ended,
}

/// Asks a lane for replays. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replays(mpsc::Sender<Replay>);

/// Where a lane is asked for replays.
#[derive(Debug)]
pub struct Inbox(pub(super) mpsc::Receiver<Replay>);

/// A replay that was asked for.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) request: Request,
    pub(super) progress: watch::Sender<Progress>,
}

impl Replays {
    /// For one lane.
    #[must_use]
    pub fn channel() -> (Self, Inbox) {
        let (tx, rx) = mpsc::channel(1);
        (Self(tx), Inbox(rx))
    }

    /// Asks for a replay. It goes on until it is done or the receiver is dropped; what was sent then is still seen
    /// through.
    ///
    /// # Errors
    /// If the lane can take no more.
    pub fn start(&self, request: Request) -> Result<watch::Receiver<Progress>, Refused> {
        let (progress, watched) = watch::channel(Progress::default());
        self.0.try_send(Replay { request, progress }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => Refused::Ended,
        })?;
        Ok(watched)
    }
}

impl Progress {
    /// How many letters are listed by name.
    pub const LISTED_MAX: usize = 1_000;

    /// How many have come to an end.
    #[must_use]
    pub fn done(&self) -> u64 {
        let Self { replayed, superseded, skipped, stale, purged, unrouted, failed, .. } = self;
        replayed + superseded + skipped + stale + purged + unrouted + failed
    }
}

impl State {
    /// Whether it goes on, or will.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Waiting | Self::Running => true,
            Self::Done | Self::Interrupted | Self::Failed(_) => false,
        }
    }
}
