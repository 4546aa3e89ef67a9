//! What a log is to the rest of the agent: nothing above it may know which kind it runs on.
//!
//! A log appends requests durably, hands their frames to readers in order, keeps a cursor for each destination, and
//! gives space back once every cursor is past it.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    verdict::Confirmation,
};
use thiserror::Error;
use tokio::sync::watch;

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
    pub caller: Option<String>,
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
    /// The records' bytes; a slice of the block that was read.
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
    /// The next frames, at least one, at most about 1 MiB (or one frame that is larger). Waits at the log's end until
    /// there is more. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// The reader stays where it is; after an error it may be asked again.
    async fn next(&mut self) -> Result<Vec<Frame>, ReadError>;
}

/// Counts records by what became of them, since the destination's first subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Applied by the destination.
    pub written: u64,
    /// The destination had, or was given, something newer of the object.
    pub superseded: u64,
    /// Left out on purpose by a transform or by the routing rules.
    pub skipped: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// In a recorded gap.
    pub gap: u64,
}

impl Totals {
    /// Records settled in any way.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.written + self.superseded + self.skipped + self.dead_lettered + self.gap
    }
}

/// How far a destination is: what a cursor's file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every record before this one is settled.
    pub next: Position,
    /// Settled ranges beyond `next`: first offset and the offset after the last, ascending, apart from each other.
    pub completed: Vec<(u64, u64)>,
    /// What became of the settled records.
    pub totals: Totals,
    /// The newest confirmation of each index that is not visible yet.
    pub confirmations: Vec<Confirmation>,
    /// Every record before this one is visible, too; `None` where that is `next`.
    pub visible: Option<Position>,
}

/// Where a destination that this log has never served begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the log's end.
    #[default]
    Now,
    /// At the log's start.
    Oldest,
}

/// A destination's cursor as the log found it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where to go on.
    pub progress: Progress,
    /// What an operator must know: a cursor that was missing or bad (it restarts at the oldest), or a gap.
    pub alert: Option<String>,
    /// Turns true for good when the log keeps nothing for this destination any more ([`WhenFull::Detach`]): it
    /// receives nothing more until an operator lets it go on, and its cursor stays where it is.
    pub detached: watch::Receiver<bool>,
}

/// How far a destination may fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimit {
    /// Bytes of frames that it has not received, as far as its persisted cursor tells.
    pub bytes_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
}

impl BacklogLimit {
    /// As far as the disk budget allows.
    pub const UNLIMITED: Self = Self { bytes_max: u64::MAX, when_full: WhenFull::Refuse };
}

/// What happens when a destination is behind by more than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Appends are refused until it has caught up.
    Refuse,
    /// It is left behind: what it misses becomes a gap.
    Detach,
}

/// Records that a destination will never receive, because they left the log before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first one.
    pub from: Position,
    /// The position after the last one. It moves on as long as the gap is open.
    pub to: Position,
    /// How many of them it had not received.
    pub records: u64,
    /// The same by index, with `""` for what does not tell its index.
    pub by_index: BTreeMap<Box<str>, u64>,
    /// Why.
    pub cause: GapCause,
    /// When it began, by the clock.
    pub opened_at: Timestamp,
    /// When the destination went on; `None` while it does not.
    pub closed_at: Option<Timestamp>,
}

/// Why a destination misses records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// It was behind by more than it may be ([`WhenFull::Detach`]).
    BacklogFull,
    /// It was not configured while they were given back.
    Removed,
}

/// What went wrong with a cursor, or while opening a log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Somebody must look: rot, a missing segment, acknowledged data that is gone, another agent, a newer format. The
    /// text says what was found and what to do.
    #[error("{path}: {what}")]
    Halted {
        /// The file or directory.
        path: PathBuf,
        /// What was found, and what to do about it.
        what: String,
    },
    /// There is nothing to resume.
    #[error("destination {destination:?} is not detached, there is nothing to resume")]
    NotDetached {
        /// Its name.
        destination: String,
    },
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}

/// Sizes and ends of a log, for status and for the equation of accepted and settled records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// The oldest position that can be read.
    pub start: Position,
    /// The position after the last durable record.
    pub end: Position,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Those of them that a destination still needs; the others are kept for retention, and are given up first.
    pub held_bytes: u64,
    /// The limit, from `data.disk_bytes_max`.
    pub disk_bytes_max: u64,
    /// Every destination that has subscribed, by name ascending.
    pub backlogs: Vec<Backlog>,
    /// How many requests are remembered by their idempotency keys.
    pub keys: usize,
    /// How far back a repeat is recognised for certain.
    pub keys_reach: Duration,
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

/// A durable log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Which log this is.
    fn id(&self) -> LogId;

    /// Returns once the request is safe on disk. Cancel-safe in the sense of G1: a dropped call may have been
    /// accepted.
    ///
    /// A request with the idempotency key of one that was accepted lately, for the same index and from the same caller,
    /// is a repeat: it is answered as that one was, whatever the state of the log, and nothing is appended. If that one
    /// is still on its way, its repeat waits for it.
    ///
    /// # Errors
    /// See [`AppendError`].
    async fn append(&self, request: Append) -> Result<Appended, AppendError>;

    /// The append that this request repeats; waits for one on its way. `None` if there is none, or no key. Appends
    /// nothing: for a request that would not be appended anyway.
    ///
    /// # Errors
    /// [`AppendError::KeyReused`].
    async fn recall(&self, request: &Append) -> Result<Option<Appended>, AppendError>;

    /// A reader that begins with the frame that holds `from`, or waits for it at the log's end.
    ///
    /// The first frame may begin before `from`: the caller passes over the records that it does not want.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn read_from(&self, from: Position) -> Result<Box<dyn Reader>, ReadError>;

    /// Finds the cursor of a destination, or makes one. From now on the log keeps what lies beyond it.
    ///
    /// # Errors
    /// If the cursor can be neither read nor written, or lies beyond the log's end.
    async fn subscribe(&self, destination: &str, from: From) -> Result<Subscription, LogError>;

    /// Persists how far a destination is; what every destination has passed may be given back to the disk.
    ///
    /// # Errors
    /// If the cursor could not be made durable; the earlier one is then still whole.
    async fn commit(&self, destination: &str, progress: &Progress) -> Result<(), LogError>;

    /// Lets a detached destination go on: at the oldest position that is left, or at the log's end. What lies between
    /// its cursor and there becomes a recorded gap.
    ///
    /// # Errors
    /// If it is not detached, or the gap cannot be recorded.
    async fn resume(&self, destination: &str, from: From) -> Result<Gap, LogError>;

    /// Every gap of a destination, oldest first; an open one at the end.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn gaps(&self, destination: &str) -> Result<Vec<Gap>, LogError>;

    /// Gives back what retention does not keep any longer; to be called now and then.
    ///
    /// # Errors
    /// If the disk refuses.
    async fn give_back(&self) -> Result<(), LogError>;

    /// Which request an id names.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn locate(&self, request_id: RequestId) -> Result<Located, ReadError>;

    /// Where the log stands.
    fn status(&self) -> LogStatus;

    /// Finishes the appends that were taken and stops; later appends get [`AppendError::Closed`]. Readers go on
    /// to the end and then get [`ReadError::Closed`].
    async fn close(&self);
}
