//! What is read, and why there may be nothing to read.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::identity::{LogId, Position, RequestId, Timestamp, Version};
use thiserror::Error;

use super::append::Attributes;

/// One request as it lies in the log.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The log that holds it.
    pub log_id: LogId,
    /// Its first record's position; record i has `position.plus(i)`.
    pub position: Position,
    /// Its first record's version; record i has version + i.
    pub version: Version,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// How many records it holds.
    pub records: u32,
    /// What the producer got.
    pub request_id: RequestId,
    /// What it carries beside its records.
    pub attributes: Attributes,
    /// The records' bytes; perhaps a slice of a block that was read.
    pub payload: Bytes,
}

/// Why a reader cannot go on.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// Frames before `start` are gone.
    #[error("position {wanted} lies before the log's start {start}")]
    BelowStart {
        /// Where the reader wanted to be.
        wanted: Position,
        /// The oldest position that is there.
        start: Position,
    },
    /// Bytes that were written and synced read back differently: see rule 7 in `FORMAT.md`.
    #[error("{path}: rotten at byte {at}: {what}. Restore this segment from a copy of the log")]
    Rotten {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// An operator has given up what was rotten here: it is not delivered to anybody. Reading goes on at `to`.
    #[error("{path}: rotten at byte {at}, an operator has given up {from} to before {to}")]
    GivenUp {
        /// The segment.
        path: PathBuf,
        /// Where the rot begins in it.
        at: u64,
        /// The first record that is lost, of those that were wanted.
        from: Position,
        /// The position after the last one.
        to: Position,
    },
    /// The operating system could not read.
    #[error("{path}: {cause}")]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}

/// Reads frames in order from a position; sees only what is durable.
#[async_trait]
pub trait Reader: Send {
    /// The next frames, at least one, at most about 3 MiB (or one frame that is larger). Waits at the log's end until
    /// there is more. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// The reader stays where it is; after an error it may be asked again.
    async fn next(&mut self) -> Result<Vec<Frame>, ReadError>;
}

/// What a request id leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// The request's first position.
    Found(Position),
    /// It lay before the log's start, or where an operator gave up what was rotten: nothing is left to check it against.
    Expired,
    /// Another log's id, or a made-up one.
    NotFound,
}
