//! Records that a destination missed and no letter keeps: which they were, as far as that is known, and why.

use std::sync::Arc;

use plugin_api::identity::{LogId, Position, Timestamp};

/// Why records have no letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Letters of their index fill half of the destination's budget, which keeps to `on_backlog_full = "detach"`.
    DeadLettersFull,
    /// The log was rotten there, and an operator passed over it.
    Rotten,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::DeadLettersFull, Self::Rotten];

    /// The cause's name in the store and in what operators see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLettersFull => "dead_letters_full",
            Self::Rotten => "rotten",
        }
    }
}

/// Some of the records of one stretch of a log. Unique in its store by log id, cause, index and first position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The log that holds, or held, the records.
    pub log_id: LogId,
    /// Where the first of them lies.
    pub first: Position,
    /// The position after the last, in the same partition.
    pub end: Position,
    /// Whose records they are; `None` if that is not known, as where nothing could be read.
    pub index: Option<Arc<str>>,
    /// How many: others between them may have been delivered.
    pub records: u64,
    /// Why.
    pub cause: Cause,
    /// The same in words.
    pub message: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}
