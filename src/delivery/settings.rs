//! What a lane is told and given when it starts.

use std::{sync::Arc, time::Duration};

use plugin_api::destination::Destination;

use super::{backoff::Backoff, letters::Letters, rate::RateLimit, replay::Inbox};
use crate::{
    feed::{Routes, Tail},
    log::interface::Log,
    tap::Tap,
};

/// How a lane delivers.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    /// The destination's name.
    pub name: Arc<str>,
    /// Operations a batch, inclusive.
    pub operations_max: usize,
    /// Bytes a batch, inclusive.
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more while another is in flight.
    pub linger: Duration,
    /// Batches in flight at most.
    pub requests_max: usize,
    /// What may be sent each second.
    pub rate_limit: RateLimit,
    /// Delays after failures.
    pub backoff: Backoff,
    /// Attempts of a single record that alone fails.
    pub attempts_max: u32,
    /// How often a destination that refuses everything is asked whether that has changed.
    pub probe_interval: Duration,
    /// Bytes of the log after which the cursor is persisted before its second is over: how far the destination is
    /// behind is judged by that.
    pub commit_bytes: u64,
}

impl LaneSettings {
    /// The usual [`LaneSettings::probe_interval`]: a minute.
    pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);
}

/// What a lane is connected to.
pub struct Wiring {
    /// Where it delivers to.
    pub destination: Arc<dyn Destination>,
    /// Where it keeps its cursor.
    pub log: Arc<dyn Log>,
    /// The end of that log, which all its lanes share.
    pub tail: Arc<Tail>,
    /// Which indexes it delivers, and through which transforms.
    pub routes: Arc<Routes>,
    /// Where it leaves what the destination does not take.
    pub letters: Letters,
    /// Where it is asked to send some of that again.
    pub replays: Inbox,
    /// Where it tells whoever looks what becomes of records.
    pub tap: Arc<Tap>,
}
