//! How far a destination may fall behind, and what it misses once nothing is kept for it.

use std::{collections::BTreeMap, time::Duration};

use plugin_api::identity::{Position, Timestamp};

/// How far a destination may fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimit {
    /// Bytes of frames that it has not received, as far as its persisted cursor tells.
    pub bytes_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
}

impl BacklogLimit {
    /// As far as the disk budget allows.
    pub const UNLIMITED: Self = Self { bytes_max: u64::MAX, when_full: WhenFull::Refuse };
}

/// How long delivered segments are kept; pressure on the disk overrules it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// From their last frame on.
    pub age: Duration,
    /// Bytes of delivered segments, the oldest of which go first.
    pub bytes_max: u64,
}

/// What a log may use, and how far each of its destinations may fall behind; may change while it is open.
#[derive(Clone, Debug)]
pub struct LogBounds {
    /// Bytes on disk.
    pub disk_bytes_max: u64,
    /// What is kept of what everyone has received.
    pub retention: Retention,
    /// Every configured destination.
    pub destinations: BTreeMap<String, BacklogLimit>,
}

/// What happens when a destination is behind by more than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Appends are refused until it has caught up.
    Refuse,
    /// It is left behind: what it misses becomes a gap.
    Detach,
}

/// Records that a destination will never receive, because they left the log before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first one.
    pub from: Position,
    /// The position after the last one. It moves on as long as the gap is open.
    pub to: Position,
    /// How many of them it had not received.
    pub records: u64,
    /// The same by index, with `""` for what does not tell its index.
    pub by_index: BTreeMap<Box<str>, u64>,
    /// Why.
    pub cause: GapCause,
    /// When it began, by the clock.
    pub opened_at: Timestamp,
    /// When the destination went on; `None` while it does not.
    pub closed_at: Option<Timestamp>,
}

/// Why a destination misses records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// It was behind by more than it may be ([`WhenFull::Detach`]).
    BacklogFull,
    /// It was not configured while they were given back.
    Removed,
    /// An operator set its cursor beyond them.
    Reset,
}
