//! What an operator is told of a command: the JSON bodies of the answers. Positions are objects of `partition` and
//! `offset`, and counts are of records unless they say otherwise.

use std::collections::BTreeMap;

use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};

use super::time::Time;

/// What a reload changed, or would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Nothing was changed: this is only the plan.
    pub dry_run: bool,
    /// The generation that serves now; with `dry_run` the one before.
    pub generation: u64,
    /// What changes; empty if nothing does.
    pub changes: Vec<PlannedChange>,
    /// What an operator should know and what refuses nothing, such as a changed destination that cannot be reached.
    pub warnings: Vec<String>,
}

/// One thing that a reload changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// What becomes of it.
    pub change: Planned,
    /// What it is: `destination`, `index rule`, `transform`, `default destinations`, or `setting` of the file.
    pub what: String,
    /// Its name: a destination's or transform's, a rule's pattern, a setting's key.
    pub name: String,
    /// With [`Planned::Changed`]: one line for each key, such as `batch.operations_max: 1000 -> 500`. Never a secret's
    /// value.
    pub keys: Vec<String>,
    /// What follows, where that is more than the words above: where a new destination begins, what is kept of a removed one.
    pub note: Option<String>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// A destination that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseReport {
    /// Its name.
    pub destination: String,
    /// It was paused by an operator before.
    pub was_paused: bool,
    /// What waits for it.
    pub pending: u64,
}

/// A destination that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeReport {
    /// Its name.
    pub destination: String,
    /// Where it goes on.
    pub position: Position,
    /// What waits for it from there.
    pub pending: u64,
    /// What it has missed for good: the gap that ends here. Nothing, unless it was detached.
    pub missed: Option<Missed>,
}

/// Records that a destination will never receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The first one.
    pub from: Position,
    /// The position after the last one.
    pub to: Position,
    /// How many.
    pub records: u64,
    /// The same by index; `""` for what does not tell its index.
    pub by_index: BTreeMap<String, u64>,
}

/// What a destination said to a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Its name.
    pub destination: String,
    /// It would take records.
    pub healthy: bool,
    /// What went wrong, if it would not.
    pub error: Option<String>,
    /// How long it took to answer.
    pub milliseconds: u64,
}

/// What was kept of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetReport {
    /// Its name.
    pub destination: String,
    /// Nothing was deleted.
    pub dry_run: bool,
    /// Its cursor.
    pub position: Position,
    /// Dead letters of it; a letter is a record or an operation.
    pub letters: u64,
    /// Bytes of the log that only it held back.
    pub backlog_bytes: u64,
}

/// A cursor that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetReport {
    /// Whose cursor.
    pub destination: String,
    /// Nothing was moved.
    pub dry_run: bool,
    /// Where it was.
    pub from: Position,
    /// Where it is now.
    pub to: Position,
    /// Records between the two: delivered again, or never.
    pub records: u64,
    /// Whether the destination keeps versions, so that nothing older overwrites what it has.
    pub versioned: bool,
    /// What that means, for people: whether objects pass through older states, or which records are left out.
    pub meaning: String,
}

/// A transform that runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformReport {
    /// Its name.
    pub transform: String,
    /// The indexes for which it was suspended; empty if none.
    pub indexes: Vec<String>,
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// Intake is refused.
    pub draining: bool,
    /// The destinations that are not at the log's end, by name ascending; empty when everything is delivered.
    pub remaining: Vec<Remaining>,
}

/// What a destination has not received yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Its name.
    pub destination: String,
    /// Accepted and not settled.
    pub records: u64,
    /// Why it does not go on, if it does not: it is paused, detached, halted, or its destination is down.
    pub why: Option<String>,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundReport {
    /// The index, as producers name it.
    pub index: String,
    /// The object's id, as producers name it.
    pub object_id: String,
    /// The oldest position that was looked at.
    pub oldest: Position,
    /// The position after the last one that was looked at.
    pub end: Position,
    /// How many changes of the object the log holds.
    pub changes_total: u64,
    /// The newest of them, oldest first; at most 100.
    pub changes: Vec<FoundChange>,
    /// Dead letters of the object, oldest first for each destination; at most 100 for each.
    pub letters: Vec<FoundLetter>,
    /// What could not be looked at, such as a range that is rotten; empty if nothing.
    pub unread: Vec<String>,
}

/// One change of an object, as a producer sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundChange {
    /// Where it lies.
    pub position: Position,
    /// `save`, `partial_update`, `partial_update_no_create` or `delete`.
    pub action: String,
    /// The request that brought it.
    pub request_id: String,
    /// Its version at destinations that keep versions.
    pub version: u64,
    /// When it was accepted.
    pub accepted_at: Time,
    /// What became of it, by destination.
    pub destinations: BTreeMap<String, Arrival>,
}

/// What became of a change at one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Settled: written, superseded by a newer one, skipped by its transform, or left out by the index rules.
    Delivered,
    /// Settled: it lies in the dead letters.
    DeadLettered,
    /// In a recorded gap: the destination never received it.
    Missed,
    /// Not settled yet.
    Pending,
}

/// A dead letter of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLetter {
    /// Whose letter.
    pub destination: String,
    /// Its id there.
    pub id: u64,
    /// Something newer of the object was delivered since.
    pub stale: bool,
    /// Where its record lies, or lay.
    pub position: Position,
    /// The request that brought it.
    pub request_id: String,
    /// Why, with the destination's words.
    pub reason: String,
    /// Since when it is one.
    pub dead_lettered_at: Time,
}

/// How far a replay is. Counts are of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Whether it goes on. What ended it otherwise is an error instead.
    pub state: ReplayState,
    /// How many it is about: those that the filter lets through when it begins.
    pub letters: u64,
    /// Delivered, and gone from the letters; in a dry run: those that would be sent.
    pub replayed: u64,
    /// The destination has something newer; gone from the letters.
    pub superseded: u64,
    /// Today's transform leaves the record out; gone from the letters.
    pub skipped: u64,
    /// Something newer of the object was delivered since: not sent, left as they are.
    pub stale: u64,
    /// Their data is gone, since their object was deleted: not sent, left as they are.
    pub purged: u64,
    /// Their index does not go to the destination any more: not sent, left as they are.
    pub unrouted: u64,
    /// Refused again: left, with the new reason.
    pub failed: u64,
    /// At the end: the letters that are left, but for those beyond the first 1,000.
    pub left: Vec<LeftLetter>,
}

impl ReplayProgress {
    /// How many letters are left as they are, or with a new reason.
    #[must_use]
    pub fn left_count(&self) -> u64 {
        self.stale + self.purged + self.unrouted + self.failed
    }

    /// How many have not come to an end yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        let gone = self.replayed + self.superseded + self.skipped;
        self.letters.saturating_sub(gone + self.left_count())
    }
}

/// Whether a replay goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Another one is before it, or the destination is busy.
    #[default]
    Waiting,
    /// It goes on.
    Running,
    /// It came to its end: no further progress follows.
    Done,
}

/// A letter that is left after a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftLetter {
    /// Its id.
    pub id: u64,
    /// Its record's index.
    pub index: String,
    /// Its record's object.
    pub object_id: String,
    /// Why it is left, for people: that it is stale, or with which reason it was refused again.
    pub why: String,
}

/// Letters that were deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropReport {
    /// Whose.
    pub destination: String,
    /// Nothing was deleted.
    pub dry_run: bool,
    /// How many letters.
    pub letters: u64,
    /// The same by reason.
    pub by_reason: BTreeMap<String, u64>,
}
