//! Every metric of the agent: its name, what it counts and in what, and by which labels. What is not here is not served.
//!
//! Labels are bounded: destinations and transforms are named by the config, everything else by the agent itself. Nothing
//! is labelled by index, object or caller.

/// A metric, with a sample for each combination of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// As it is served; a counter's ends in `_total`.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// The unit, with which the name ends; empty where things are counted.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// What may become of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the agent's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Values by how large they are.
    Histogram,
}

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal $unit:literal [$($label:literal)*] $help:literal)*) => {
        /// The metrics by their names in the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric { $(#[doc = $help] $id,)* }

        /// All of them, in the order in which they are served.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help,
        },)*];
    };
}

metrics! {
    IngestRequests Counter "sync_agent_ingest_requests_total" "" ["code"]
        "Requests by the gRPC status that they were answered."
    IngestRecords Counter "sync_agent_ingest_records_total" "" ["code"]
        "Records of the requests that could be read, by the gRPC status that these were answered."
    IngestHeld Gauge "sync_agent_ingest_held_bytes" "bytes" []
        "Bytes of requests that are being received, decoded and appended; limits.decoding_bytes_max bounds them."
    AcceptDurable Histogram "sync_agent_accept_durable_seconds" "seconds" []
        "Time from when a request is there whole until it is safe on disk."
    Draining Gauge "sync_agent_draining" "" []
        "1 while an operator has requests refused with `sync-agent drain`."

    LogAppends Counter "sync_agent_log_appends_total" "" []
        "Requests that were appended to the log."
    LogAppended Counter "sync_agent_log_appended_bytes_total" "bytes" []
        "Bytes that they take in the log."
    LogSyncs Counter "sync_agent_log_syncs_total" "" []
        "Write groups, each made durable by one fdatasync."
    LogSegments Gauge "sync_agent_log_segments" "" []
        "Files in which the log lies."
    LogPoisoned Gauge "sync_agent_log_poisoned" "" []
        "1 after a write or sync has failed: nothing is accepted until the agent is restarted."
    DiskUsed Gauge "sync_agent_disk_used_bytes" "bytes" []
        "Bytes of the log on disk."
    DiskHeld Gauge "sync_agent_disk_held_bytes" "bytes" []
        "Those that a destination still needs; the others are kept for retention and given up first."
    DiskMax Gauge "sync_agent_disk_max_bytes" "bytes" []
        "The log's budget, data.disk_bytes_max."
    DiskFull Gauge "sync_agent_disk_full_seconds" "seconds" []
        "Time until the budget is used up if it goes on as in the last minute; +Inf if that is never."
    IdempotencyKeys Gauge "sync_agent_idempotency_keys" "" []
        "Requests that are remembered by their idempotency keys."
    IdempotencyWindow Gauge "sync_agent_idempotency_window_seconds" "seconds" []
        "How far back a repeat is recognised for certain."
    VersionsAhead Gauge "sync_agent_versions_ahead_seconds" "seconds" []
        "How far the versions of records run ahead of the clock; 0 with a right clock."

    DestinationState Gauge "sync_agent_destination_state" "" ["destination" "state"]
        "1 for what the destination is doing, 0 for the other states."
    BreakerState Gauge "sync_agent_breaker_state" "" ["destination" "state"]
        "1 for where its circuit breaker stands, 0 for the other states."
    LagRecords Gauge "sync_agent_lag_records" "" ["destination"]
        "Records that are accepted and not settled."
    LagBytes Gauge "sync_agent_lag_bytes" "bytes" ["destination"]
        "Bytes of the log from the destination's persisted cursor on."
    LagMax Gauge "sync_agent_lag_max_bytes" "bytes" ["destination"]
        "What they may be, backlog_bytes_max: then on_backlog_full decides."
    OldestPending Gauge "sync_agent_oldest_pending_seconds" "seconds" ["destination"]
        "Age of the oldest record that is not settled; 0 if there is none."
    InFlight Gauge "sync_agent_in_flight_operations" "" ["destination"]
        "Operations that are sent and not answered."
    Records Counter "sync_agent_records_total" "" ["destination" "outcome"]
        "Records that were settled, by what became of them; gap is what a destination will never receive."
    Retries Counter "sync_agent_retries_total" "" ["destination" "cause"]
        "Requests to the destination after which something had to be sent again, by why."
    AcceptDelivered Histogram "sync_agent_accept_delivered_seconds" "seconds" ["destination"]
        "Time from accept until the destination has taken an operation, replays apart."
    BatchOperations Histogram "sync_agent_batch_operations" "" ["destination"]
        "Operations of a request to the destination."
    BatchBytes Histogram "sync_agent_batch_bytes" "bytes" ["destination"]
        "Bytes of a request to the destination, before compression."
    DeadLettersFiled Counter "sync_agent_dead_letters_filed_total" "" ["destination" "reason"]
        "Dead letters that were filed, by reason."
    DeadLetters Gauge "sync_agent_dead_letters" "" ["destination" "reason"]
        "Dead letters that are there now, by reason."
    DeadLettersUsed Gauge "sync_agent_dead_letters_bytes" "bytes" ["destination"]
        "Bytes that they take."
    DeadLettersMax Gauge "sync_agent_dead_letters_max_bytes" "bytes" ["destination"]
        "What they may take, dead_letters.bytes_max."

    TransformRecords Counter "sync_agent_transform_records_total" "" ["transform" "outcome"]
        "Records that passed the transform, by what it made of them."
    TransformCall Histogram "sync_agent_transform_call_seconds" "seconds" ["transform"]
        "CPU time of a call, which takes up to 256 records."
    TransformSuspended Gauge "sync_agent_transform_suspended_indexes" "" ["transform"]
        "Indexes on which it does not run for now, since it spent too much time there."
    TransformRefused Gauge "sync_agent_transform_refused" "" ["transform"]
        "1 while another module lies at its path that was refused."

    ConfigGeneration Gauge "sync_agent_config_generation" "" []
        "The how-manieth config since the start serves; 1 is the first."
    ConfigLoaded Gauge "sync_agent_config_loaded_timestamp_seconds" "seconds" []
        "Since when it serves, in unix time."
    ConfigRefused Gauge "sync_agent_config_refused" "" []
        "1 while the config's file is refused and the one before serves on."
    ConfigLastRefused Gauge "sync_agent_config_last_refused_timestamp_seconds" "seconds" []
        "When a config was last refused, in unix time; 0 if none was since the start."
    Reloads Counter "sync_agent_reloads_total" "" ["outcome"]
        "Reloads of the config by what became of them."

    SpansDropped Counter "sync_agent_spans_dropped_total" "" []
        "Spans that were not told to telemetry.otlp, since there was no room or it refused them."
    BuildInfo Gauge "sync_agent_build_info" "" ["version"]
        "1, with the agent's version."
    ProcessCpu Counter "process_cpu_seconds_total" "seconds" []
        "CPU time of the process."
    ProcessResident Gauge "process_resident_memory_bytes" "bytes" []
        "Resident memory of the process."
    ProcessStart Gauge "process_start_time_seconds" "seconds" []
        "When it started, in unix time."
}

impl Metric {
    /// Its row.
    #[must_use]
    pub fn family(self) -> &'static Family {
        // One row for each, in the same order.
        &FAMILIES[self as usize]
    }
}

impl Kind {
    /// As both formats name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rules of Prometheus for names, and those of this table (<https://prometheus.io/docs/practices/naming/>): a
    /// prefix, the unit at the end, `_total` of counters alone; what the process itself is called is its convention.
    #[test]
    fn names_follow_the_rules() {
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "none twice");
        for Family { name, kind, unit, labels, help } in FAMILIES {
            assert!(name.starts_with("sync_agent_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
            let stem = name.strip_suffix("_total");
            assert_eq!(stem.is_some(), *kind == Kind::Counter, "{name}");
            assert!(
                stem.unwrap_or(name).ends_with(unit) && ["", "bytes", "seconds"].contains(unit),
                "{name}"
            );
            for reserved in ["_bucket", "_count", "_sum", "_created"] {
                assert!(!name.ends_with(reserved), "{name}");
            }
            let known =
                ["destination", "transform", "state", "outcome", "cause", "reason", "code", "version"];
            assert!(labels.iter().all(|label| known.contains(label)), "{name}: {labels:?}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
        assert_eq!(
            Metric::ProcessStart.family().name,
            "process_start_time_seconds",
            "the last row is the last name's"
        );
    }
}
