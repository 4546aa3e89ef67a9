//! What a lane shows of itself. A lane publishes a snapshot whenever something of it has changed; whoever watches sees the newest.

use std::sync::Arc;

use plugin_api::identity::{Position, Timestamp};
use tokio::time::Instant;

use super::breaker::BreakerState;
use crate::log::interface::{Progress, Totals};

/// What a lane is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LaneState {
    /// Delivering, or waiting for records.
    #[default]
    Running,
    /// Waiting after a failure; the breaker tells how bad it is.
    BackingOff,
    /// It cannot go on without an operator; the text says why.
    Halted(String),
    /// It fell too far behind and receives nothing more until an operator lets it go on.
    Detached,
    /// Ended with the agent.
    Stopped,
}

/// A lane at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The destination's name.
    pub destination: Arc<str>,
    /// What the lane is doing.
    pub state: LaneState,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// Every record before this one is settled.
    pub delivered: Position,
    /// Every record before this one is settled and visible to searches.
    pub visible: Position,
    /// What became of the settled records.
    pub totals: Totals,
    /// Records that the log had accepted for this destination when its first record came; accepted = the log's end
    /// minus this.
    pub since: u64,
    /// Operations in flight.
    pub in_flight: usize,
    /// When the oldest record that was read and is not settled was accepted, to a block of the log.
    pub oldest_pending: Option<Timestamp>,
    /// Until when nothing is sent after a failure.
    pub resume_at: Option<Instant>,
    /// The last failure, until a request succeeds.
    pub last_error: Option<Arc<str>>,
}

impl Snapshot {
    /// Where a destination stands that has no lane now.
    #[must_use]
    pub fn at_rest(destination: Arc<str>, progress: &Progress) -> Self {
        let beyond: u64 = progress.completed.iter().map(|(first, end)| end - first).sum();
        Self {
            destination,
            state: LaneState::Stopped,
            breaker: BreakerState::Closed,
            delivered: progress.next,
            visible: progress.visible.unwrap_or(progress.next),
            totals: progress.totals,
            since: (progress.next.offset + beyond).saturating_sub(progress.totals.settled()),
            in_flight: 0,
            oldest_pending: None,
            resume_at: None,
            last_error: None,
        }
    }

    /// Records accepted for this destination, given the log's end.
    #[must_use]
    pub fn accepted(&self, end: Position) -> u64 {
        end.offset.saturating_sub(self.since)
    }

    /// Records accepted and not settled, given the log's end.
    #[must_use]
    pub fn pending(&self, end: Position) -> u64 {
        self.accepted(end).saturating_sub(self.totals.settled())
    }
}
