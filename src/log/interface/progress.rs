//! How far a destination is, and where it goes on.

use plugin_api::{
    identity::{Position, Timestamp},
    verdict::Confirmation,
};
use tokio::sync::watch;

/// Counts records by what became of them, since the destination's first subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Applied by the destination.
    pub written: u64,
    /// The destination had, or was given, something newer of the object.
    pub superseded: u64,
    /// Left out on purpose by a transform or by the routing rules.
    pub skipped: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// In a recorded gap.
    pub gap: u64,
}

impl Totals {
    /// Records settled in any way.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.written + self.superseded + self.skipped + self.dead_lettered + self.gap
    }
}

/// How far a destination is: what a cursor's file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every record before this one is settled.
    pub next: Position,
    /// Settled ranges beyond `next`: first offset and the offset after the last, ascending, apart from each other.
    pub completed: Vec<(u64, u64)>,
    /// What became of the settled records.
    pub totals: Totals,
    /// The newest confirmation of each index that is not visible yet.
    pub confirmations: Vec<Confirmation>,
    /// Every record before this one is visible, too; `None` where that is `next`.
    pub visible: Option<Position>,
}

/// Where a destination that this log has never served begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the log's end.
    #[default]
    Now,
    /// At the log's start.
    Oldest,
    /// At this position, or at the nearest one that the log has.
    At(Position),
}

/// A cursor that was set elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// Where it stood.
    pub from: Position,
    /// Where it stands.
    pub to: Position,
}

/// What lies at a time in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTime {
    /// The first record that was accepted then or later; the log's end if there is none.
    Found(Position),
    /// The log begins later, with a record of this time.
    BeforeStart(Timestamp),
}

/// A destination's cursor as the log found it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where to go on.
    pub progress: Progress,
    /// What an operator must know: a cursor that was missing or bad (it restarts at the oldest), or a gap.
    pub alert: Option<String>,
    /// Turns true for good when the log keeps nothing for this destination any more ([`WhenFull::Detach`](super::WhenFull)): it
    /// receives nothing more until an operator lets it go on, and its cursor stays where it is.
    pub detached: watch::Receiver<bool>,
}
