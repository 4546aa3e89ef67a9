//! Dead letters, as whoever looks at them over the wire is shown them: some of a destination's, newest first, and one with
//! everything that is known of it.

use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};

use super::{requests::LetterFilter, time::Time};

/// Asks for some letters of a destination, without their data: the newest that the filter lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListLetters {
    /// Whose letters, also if it is not configured any more.
    pub destination: String,
    /// Which of them; `last` goes on where the answer before ended.
    #[serde(default)]
    pub filter: LetterFilter,
    /// At most so many; never more than [`ListLetters::LIMIT_MAX`].
    #[serde(default = "ListLetters::limit_default")]
    pub limit: u64,
}

impl ListLetters {
    /// The longest list.
    pub const LIMIT_MAX: u64 = 200;

    fn limit_default() -> u64 {
        50
    }
}

/// Asks for one letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowLetter {
    /// Whose letter.
    pub destination: String,
    /// Its id there.
    pub id: u64,
}

/// Some letters of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersReport {
    /// Whose.
    pub destination: String,
    /// The newest first.
    pub letters: Vec<LetterHead>,
    /// There are older ones that the filter lets through.
    pub more: bool,
    /// Records that are neither delivered nor kept as letters, the newest first and at most as many as letters; none where
    /// the filter asks for more than an index and a time.
    pub ranges: Vec<LetterRange>,
}

/// A letter without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterHead {
    /// Its id at its destination.
    pub id: u64,
    /// The index that its record was sent to.
    pub index: String,
    /// The object that its record is about.
    pub object_id: String,
    /// Something newer of the object was delivered since.
    pub stale: bool,
    /// Its data is gone, since its object was deleted.
    pub purged: bool,
    /// How far it came: `transform`, `admit` or `delivery`.
    pub stage: String,
    /// Why it went no further.
    pub reason: LetterReason,
    /// How often it was sent in vain.
    pub attempts: u32,
    /// When its record was accepted.
    pub accepted_at: Time,
    /// Since when it is a letter.
    pub dead_lettered_at: Time,
}

/// Why a letter is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterReason {
    /// A reason's code, such as `rejected`.
    pub code: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The destination's own words, or ours.
    pub message: String,
}

/// Everything that is known of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterReport {
    /// Whose letter.
    pub destination: String,
    /// What a list tells of it.
    pub letter: LetterHead,
    /// The request that brought its record.
    pub request_id: String,
    /// Who sent it; null where that is not known.
    pub caller: Option<String>,
    /// The log that its record lies, or lay, in.
    pub log_id: String,
    /// Where there.
    pub position: Position,
    /// Which of its record's operations it is, from 0.
    pub number: u32,
    /// Its record's version.
    pub version: u64,
    /// The SHA-256, in hex, of the transform's module that failed on the record or made the operation.
    pub module: Option<String>,
    /// The record as it was accepted.
    pub record: LetterChange,
    /// The operation that was made from it: null if there is none or it is the record itself.
    pub operation: Option<LetterChange>,
}

/// A record or an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterChange {
    /// `save`, `partial_update`, `partial_update_no_create` or `delete`.
    pub action: String,
    /// Its index.
    pub index: String,
    /// Its object.
    pub object_id: String,
    /// Its data as it was accepted or made, as text; empty for a delete, and once it was purged.
    pub data: String,
    /// How many bytes of the data are left out at its end, since it is longer than 256 KiB.
    pub data_bytes_left_out: u64,
}

/// Records that no letter keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRange {
    /// The first one.
    pub from: Position,
    /// The position after the last one.
    pub to: Position,
    /// How many: others between them may have been delivered.
    pub records: u64,
    /// Whose records they are; null if that is not known.
    pub index: Option<String>,
    /// `dead_letters_full` or `rotten`.
    pub cause: String,
    /// The same in words.
    pub message: String,
    /// When it was recorded.
    pub recorded_at: Time,
}
