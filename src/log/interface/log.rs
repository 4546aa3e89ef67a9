//! What a log can do.

use std::path::PathBuf;

use async_trait::async_trait;
use plugin_api::identity::{LogId, Position, RequestId, Timestamp};
use thiserror::Error;

use super::{
    append::{Append, AppendError, Appended},
    backlog::{Gap, LogBounds},
    progress::{AtTime, From, Progress, Rewound, Subscription},
    read::{Located, ReadError, Reader},
    status::LogStatus,
};

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

    /// Other bounds from now on, with every destination that is configured. What a new one wants is kept until it has
    /// subscribed; one that is configured no longer is kept for until it leaves.
    ///
    /// # Errors
    /// If the agent is going down.
    async fn configure(&self, bounds: LogBounds) -> Result<(), LogError>;

    /// Nothing is kept any longer for a destination that was subscribed; its cursor stays.
    ///
    /// # Errors
    /// If the agent is going down.
    async fn leave(&self, destination: &str) -> Result<(), LogError>;

    /// Forgets a destination that is not configured, with its cursor and its gaps: under its name another one may begin.
    ///
    /// # Errors
    /// If it is configured, or was never served.
    async fn forget(&self, destination: &str) -> Result<(), LogError>;

    /// Sets the cursor of a subscribed destination, whose totals begin anew if it moves back; what lies between if it
    /// moves on becomes a recorded gap. Its lane must not run. With `dry_run` nothing is changed.
    ///
    /// # Errors
    /// If it is detached, or the cursor cannot be written.
    async fn rewind(&self, destination: &str, from: From, dry_run: bool) -> Result<Rewound, LogError>;

    /// Every destination that this log has served, by name ascending, with its persisted progress if that is sound.
    ///
    /// # Errors
    /// If the cursors cannot be read.
    async fn served(&self) -> Result<Vec<(String, Option<Progress>)>, LogError>;

    /// Where the records of a time begin.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn at_time(&self, time: Timestamp) -> Result<AtTime, ReadError>;

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
    /// It must be let go on first.
    #[error(
        "destination {destination:?} is detached: let it go on with `sync-agent destination resume {destination}`"
    )]
    Detached {
        /// Its name.
        destination: String,
    },
    /// A destination that is configured cannot be forgotten.
    #[error("destination {destination:?} is configured: take it out of the config first")]
    InUse {
        /// Its name.
        destination: String,
    },
    /// This log knows no such destination.
    #[error("the log has never served a destination {destination:?}")]
    Unknown {
        /// Its name.
        destination: String,
    },
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}
