//! Where a log stands.

use std::time::Duration;

use plugin_api::identity::{Position, Version};

use super::backlog::BacklogLimit;

/// Sizes and ends of a log, for status and for the equation of accepted and settled records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// The oldest position that can be read.
    pub start: Position,
    /// The position after the last durable record.
    pub end: Position,
    /// The newest record's version; 0 if there has been none.
    pub last_version: Version,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Those of them that a destination still needs, in whole segments; the others are kept for retention, and are given
    /// up first.
    pub held_bytes: u64,
    /// The limit, from `data.disk_bytes_max`.
    pub disk_bytes_max: u64,
    /// Every destination that has subscribed, by name ascending.
    pub backlogs: Vec<Backlog>,
    /// How many requests are remembered by their idempotency keys.
    pub keys: usize,
    /// How far back a repeat is recognised for certain.
    pub keys_reach: Duration,
    /// How many files the log lies in.
    pub segments: usize,
    /// What was written since it was opened.
    pub written: Written,
    /// Why nothing is accepted any more until the agent is restarted: a write or a sync failed.
    pub poisoned: Option<String>,
}

/// What a log has written since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Requests.
    pub requests: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Write groups, each with one sync.
    pub groups: u64,
}

/// How far a destination is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Its name.
    pub destination: String,
    /// Bytes of frames that it has not received, as far as its persisted cursor tells.
    pub bytes: u64,
    /// How many they may be, and what happens then.
    pub limit: BacklogLimit,
    /// It was left behind.
    pub detached: bool,
}
