//! How everything is doing, as `GET /v1/status` and `sync-agent status --json` tell it.
//!
//! Bytes are bytes, seconds are seconds, counts are of records unless they say otherwise; whatever is null is not known
//! or does not apply.

use std::collections::BTreeMap;

use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};

use super::{error::ConfigRefused, time::Time};

/// The agent at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The moment, by the agent's clock.
    pub at: Time,
    /// The agent's version.
    pub agent_version: String,
    /// Since when it runs.
    pub started_at: Time,
    /// Intake is refused, by an operator's `drain`.
    pub draining: bool,
    /// The config.
    pub config: ConfigStatus,
    /// The log.
    pub log: LogStatus,
    /// Every destination that is configured or of which a cursor is kept, by name ascending.
    pub destinations: Vec<DestinationStatus>,
    /// Every transform of the config, by name ascending.
    pub transforms: Vec<TransformStatus>,
}

/// The config that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Which one it is; 1 is the one that the agent started with.
    pub generation: u64,
    /// Its file; null for the built-in config.
    pub source: Option<String>,
    /// Since when it serves.
    pub loaded_at: Time,
    /// The agent started on a broken file and serves the last config that it had accepted.
    pub serving_last_accepted: bool,
    /// What is in the file and does not serve, if its last version was refused.
    pub refused: Option<RefusedConfigStatus>,
    /// What differs from the file by an operator's command, one sentence each: "destination mirror is paused".
    pub drift: Vec<String>,
}

/// A config that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConfigStatus {
    /// When.
    pub at: Time,
    /// Why.
    pub config: ConfigRefused,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its id.
    pub id: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Those of them that a destination still needs, in whole segments; the others are kept for retention.
    pub held_bytes: u64,
    /// The budget: `data.disk_bytes_max`.
    pub bytes_max: u64,
    /// The oldest record that is there; null while the log is empty.
    pub oldest: Option<Oldest>,
    /// The position after the last durable record.
    pub end: Position,
    /// Records accepted each second, lately.
    pub records_per_second: f64,
    /// When the budget is used up if it goes on as in the last minute; null if that is never.
    pub disk_full_in_seconds: Option<u64>,
    /// Why the log refuses every request now: it is poisoned, or a destination is behind by as much as it may be; null
    /// if it does not.
    pub refusing: Option<String>,
    /// How far versions run ahead of the clock; 0 with a right clock.
    pub versions_ahead_seconds: f64,
}

/// The oldest record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oldest {
    /// Where it lies.
    pub position: Position,
    /// When it was accepted.
    pub accepted_at: Time,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name.
    pub name: String,
    /// Its type: `algolia`, `elasticsearch`, `file`; null if it is not configured any more.
    pub kind: Option<String>,
    /// What it is doing.
    pub state: DestinationState,
    /// With `backing_off` and `open`: when it is tried again.
    pub until: Option<Time>,
    /// With `paused`, `detached` and `halted`: why, and what to do about it.
    pub why: Option<String>,
    /// Every record before this one is settled.
    pub delivered: Position,
    /// Every record before this one is settled and visible to searches.
    pub visible: Position,
    /// How far it is behind.
    pub lag: Lag,
    /// Records settled each second, lately.
    pub records_per_second: f64,
    /// Operations that are sent and not answered.
    pub in_flight: u64,
    /// The last failure, until a request succeeds.
    pub last_error: Option<String>,
    /// What became of its records.
    pub outcomes: Outcomes,
    /// What it did not take.
    pub dead_letters: DeadLetterStatus,
}

/// What a destination is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// Delivering, or waiting for records.
    Running,
    /// Waiting after a failure.
    BackingOff,
    /// Its circuit breaker is open: a probe now and then looks whether it serves again.
    Open,
    /// It receives nothing: an operator wants it so, or it refuses everything (401, 403).
    Paused,
    /// It fell too far behind: it holds nothing back and receives nothing until an operator lets it go on.
    Detached,
    /// It cannot go on without an operator.
    Halted,
    /// It is not configured any more; cursor and dead letters are kept until it is forgotten.
    NotConfigured,
}

/// How far a destination is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Records that are accepted and not settled.
    pub records: u64,
    /// Bytes of the log from its persisted cursor on.
    pub bytes: u64,
    /// What they may be: `backlog_bytes_max`.
    pub bytes_max: Option<u64>,
    /// Age of the oldest record that is not settled; 0 if there is none.
    pub seconds: f64,
}

/// What became of every record that was accepted since a destination's first one: always
/// `accepted = written + superseded + skipped + dead_lettered + gap + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// All of them.
    pub accepted: u64,
    /// Applied by the destination.
    pub written: u64,
    /// The destination had, or was given, something newer of the object.
    pub superseded: u64,
    /// Left out on purpose, by a transform or the index rules.
    pub skipped: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// In a recorded gap.
    pub gap: u64,
    /// Not settled yet.
    pub pending: u64,
}

impl Outcomes {
    /// Whether the equation holds.
    #[must_use]
    pub fn add_up(&self) -> bool {
        let Self { accepted, written, superseded, skipped, dead_lettered, gap, pending } = self;
        *accepted == written + superseded + skipped + dead_lettered + gap + pending
    }
}

/// Dead letters of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterStatus {
    /// How many there are now; a letter is a record or an operation.
    pub letters: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// What they may take: `dead_letters.bytes_max`.
    pub bytes_max: u64,
    /// The letters by reason.
    pub by_reason: BTreeMap<String, u64>,
}

/// One transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransformStatus {
    /// Its name.
    pub name: String,
    /// The SHA-256 of the module that serves, in hex.
    pub module: String,
    /// The how-manieth module it is since the start.
    pub generation: u64,
    /// Since when that one serves.
    pub since: Time,
    /// Records that came to an outcome, since the start.
    pub records: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// CPU time of all calls.
    pub cpu_seconds: f64,
    /// Indexes on which it does not run for now, since it spent too much time there; by name ascending.
    pub suspended: Vec<String>,
    /// What lies at its path and does not serve, if it is another module.
    pub refused: Option<RefusedModule>,
}

/// A module that does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedModule {
    /// Its SHA-256 in hex; null if the file could not be read.
    pub module: Option<String>,
    /// Since when it is known.
    pub since: Time,
    /// Why, for its author.
    pub why: String,
}
