//! What a checked config means to each part of the agent.

use crate::{
    config::{self, Config, OnBacklogFull},
    dead_letter::{Bounds, IndexFull},
    delivery::{Backoff, LaneSettings, RateLimit},
    log::{
        Retention, Settings as LogSettings,
        interface::{BacklogLimit, WhenFull},
    },
};

pub(super) fn log_settings(config: &Config) -> LogSettings {
    LogSettings {
        dir: config.data.dir.join("logs").join("default"),
        disk_bytes_max: config.data.disk_bytes_max,
        segment_bytes: config.data.segment_bytes,
        retention: retention(config),
        destinations: config.destinations.iter().map(backlog_limit).collect(),
    }
}

pub(super) fn retention(config: &Config) -> Retention {
    Retention { age: config.data.retention.age, bytes_max: config.data.retention.bytes_max }
}

pub(super) fn backlog_limit(destination: &config::Destination) -> (String, BacklogLimit) {
    let when_full = match destination.on_backlog_full {
        OnBacklogFull::Refuse => WhenFull::Refuse,
        OnBacklogFull::Detach => WhenFull::Detach,
    };
    (destination.name.to_string(), BacklogLimit { bytes_max: destination.backlog_bytes_max, when_full })
}

/// What a destination's dead letters may take.
pub(super) fn bounds(destination: &config::Destination) -> Bounds {
    Bounds {
        bytes_max: destination.dead_letters.bytes_max,
        age_max: destination.dead_letters.age_max,
        index_full: match destination.on_backlog_full {
            OnBacklogFull::Refuse => IndexFull::Refuse,
            OnBacklogFull::Detach => IndexFull::Gap,
        },
    }
}

/// A cursor is persisted so many times at least while a destination passes as much as it may be behind.
const COMMITS_WITHIN_BACKLOG: u64 = 8;

pub(super) fn lane_settings(destination: &config::Destination) -> LaneSettings {
    LaneSettings {
        name: destination.name.clone(),
        operations_max: destination.batch.operations_max,
        bytes_max: destination.batch.bytes_max,
        linger: destination.batch.linger,
        requests_max: destination.requests_max,
        rate_limit: RateLimit {
            operations_per_second: destination.rate_limit.operations_per_second,
            bytes_per_second: destination.rate_limit.bytes_per_second,
        },
        backoff: Backoff { min: destination.backoff.min, max: destination.backoff.max },
        attempts_max: destination.attempts_max,
        probe_interval: LaneSettings::PROBE_INTERVAL,
        commit_bytes: destination.backlog_bytes_max / COMMITS_WITHIN_BACKLOG,
    }
}
