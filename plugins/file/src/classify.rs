//! I/O error -> [`WriteError`].
//!
//! No error of a file system is about a record: a full disk, a lost mount and a wrong owner all end when an operator
//! or time mends them. So everything is `Unavailable`, waits in the log and is probed, and nothing is dead-lettered.

use std::{io, path::PathBuf};

use plugin_api::verdict::{Reason, ReasonCode, WriteError};
use thiserror::Error;

/// What kept the journal from writing.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error("could not {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another file destination or agent", path.display())]
    InUse { path: PathBuf },
    /// The blocking task panicked, or the runtime is shutting down.
    #[error("the journal's task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl JournalError {
    /// Says what was being done to which path.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

impl From<JournalError> for WriteError {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Io { .. } | JournalError::InUse { .. } | JournalError::Task(_) => {
                Self::Unavailable {
                    retry_after: None,
                    reason: Reason::new(ReasonCode::Unavailable, error.to_string()),
                }
            }
        }
    }
}
