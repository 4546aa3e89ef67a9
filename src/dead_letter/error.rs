//! What can go wrong with a store. Each error names the file and says what an operator can do about it.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a store could not be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file or its directory could not be made or opened.
    #[error("could not open the dead letters {}: {source}", path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file was written by a newer agent.
    #[error(
        "the dead letters {} have format {found}, this agent reads up to {supported}: run the agent that wrote them",
        path.display()
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The newest that this agent reads.
        supported: i64,
    },
    /// A SQLite database that is not ours.
    #[error("{} is a SQLite database, but not of dead letters: move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "the dead letters {} are damaged ({source}): stop the agent, save what is left with \
         `sqlite3 FILE .recover`, move the file and its -wal and -shm away, and start again with an empty store",
        path.display()
    )]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// There is no space left. Nothing of the call was kept; it succeeds once there is space.
    #[error("no space left for the dead letters {}: {source}", path.display())]
    NoSpace {
        /// The store's file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The letters would take more than their budget. Nothing of the call was kept; it succeeds once there is room.
    #[error(
        "dead letters of destination {destination} use {used} bytes of their budget of {budget} bytes: delete some \
         with `sync-agent dead-letters drop`, or raise destinations.{destination}.dead_letters.bytes_max"
    )]
    Full {
        /// Whose letters.
        destination: String,
        /// Bytes in use, by [`super::Letter::size`].
        used: u64,
        /// The limit, from `dead_letters.bytes_max`.
        budget: u64,
    },
    /// Anything else that SQLite answers. Nothing of the call was kept.
    #[error("the dead letters {}: {source}", path.display())]
    Sqlite {
        /// The store's file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The store's thread has ended.
    #[error("the dead letters {} are closed", path.display())]
    Closed {
        /// The store's file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Sorts SQLite's answers into those that an operator deals with differently.
    pub(super) fn sqlite(path: impl Into<PathBuf>) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.into();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, source },
            Some(ErrorCode::DiskFull) => Self::NoSpace { path, source },
            _ => Self::Sqlite { path, source },
        }
    }
}
