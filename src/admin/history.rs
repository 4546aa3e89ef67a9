//! What was, as `GET /v1/history` tells it: an hour of samples of the log and of every destination.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{status::DestinationState, time::Time};

/// The last hour, oldest first. Every list has one entry for each sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Seconds from one sample to the next.
    pub step_seconds: u64,
    /// When each sample was taken; at most an hour of them.
    pub at: Vec<Time>,
    /// Records accepted each second, in the step before each sample.
    pub accepted_per_second: Vec<f64>,
    /// Every configured destination, by name.
    pub destinations: BTreeMap<String, DestinationHistory>,
}

/// The last hour of one destination; null where nothing was seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationHistory {
    /// What it is doing.
    pub state: DestinationState,
    /// Since when, as far as the agent has seen it.
    pub since: Time,
    /// Records that were accepted and not settled.
    pub lag: Vec<Option<u64>>,
    /// Records settled each second, in the step before each sample.
    pub records_per_second: Vec<Option<f64>>,
}
