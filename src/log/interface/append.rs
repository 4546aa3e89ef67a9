//! What is appended, and what whoever appends is answered.

use std::{fmt, sync::Arc, time::Duration};

use plugin_api::identity::{Position, RequestId, Version};
use thiserror::Error;

/// One request to append: accepted whole or not at all.
#[derive(Debug)]
pub struct Append {
    /// How many records the payload holds; at least 1.
    pub records: u32,
    /// The records' bytes, as `crate::record` lays them out.
    pub payload: Vec<u8>,
    /// Carried in the frame beside the payload.
    pub attributes: Attributes,
}

/// What a frame carries beside its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The producer's key with a digest of the request's content, if it gave one.
    pub idempotency: Option<Idempotency>,
    /// Who sent it, where that is known.
    pub caller: Option<Arc<str>>,
    /// The producer's W3C traceparent.
    pub traceparent: Option<String>,
}

/// Recognises a repeated request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The producer's key, at most 256 bytes.
    pub key: String,
    /// SHA-256 of the request's content.
    pub digest: [u8; 32],
}

/// An append that is safe on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// What the producer gets.
    pub request_id: RequestId,
    /// The first record's position.
    pub position: Position,
    /// The first record's version.
    pub version: Version,
    /// It was accepted before: this is a repeat, of which nothing was appended.
    pub repeated: bool,
}

/// The SHA-256 of a request's content. Displayed in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentDigest {
    /// All of it.
    Whole([u8; 32]),
    /// Its first bytes, of a request that is not in the log any more. Displayed with dots at the end.
    Beginning([u8; 12]),
}

/// Why a request was not accepted. Nothing of it will ever be delivered, except after [`AppendError::Poisoned`],
/// where it may have reached the disk.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// The disk budget is used up; it frees as destinations catch up.
    #[error("log uses {used} bytes of its budget of {budget} bytes")]
    Full {
        /// Bytes in use.
        used: u64,
        /// The limit, from `data.disk_bytes_max`.
        budget: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// A destination that may hold ingest back is behind by as much as it may be.
    #[error(
        "destination {destination:?} is behind by {backlog} bytes of the log, its backlog_bytes_max is {limit} bytes"
    )]
    BacklogFull {
        /// The one that is furthest behind, for its limit.
        destination: String,
        /// Bytes that it has not received, as far as its persisted cursor tells.
        backlog: u64,
        /// The limit, from `backlog_bytes_max`.
        limit: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// The file system has no space for the next segment (ENOSPC on preallocation).
    #[error("no space left on device for the next segment")]
    NoSpace {
        /// When to try again.
        retry_after: Duration,
    },
    /// The frame would be larger than the log's format allows.
    #[error("request takes {bytes} bytes in the log, the limit is {limit}")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// A write or fsync failed; nothing is accepted until the agent is restarted and has recovered the log.
    #[error("log is poisoned by an earlier error, restart the agent: {cause}")]
    Poisoned {
        /// The error that poisoned it.
        cause: String,
    },
    /// A request with this idempotency key and other content was accepted before, or just now.
    #[error(
        "idempotency key was used for content {earlier} in request {request_id}, this content is {digest}"
    )]
    KeyReused {
        /// What the earlier request holds.
        earlier: ContentDigest,
        /// What this one holds.
        digest: ContentDigest,
        /// The earlier request.
        request_id: RequestId,
    },
    /// The log is closing.
    #[error("log is closed")]
    Closed,
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, rest): (&[u8], _) = match self {
            Self::Whole(bytes) => (bytes, ""),
            Self::Beginning(bytes) => (bytes, "..."),
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(rest)
    }
}
