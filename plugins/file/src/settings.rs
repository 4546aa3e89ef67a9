//! What an operator decides about the journal. Checked values only: parsing and defaults of names are the config's.

use std::{path::PathBuf, time::Duration};

/// Where the journal lies and when its files are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; created (0700) with its missing parents.
    pub dir: PathBuf,
    /// The size in bytes, inclusive, up to which an active file grows; 256 MiB by default. A batch of one index is
    /// never split, so a single batch that is larger makes a larger file.
    pub rotate_bytes: u64,
    /// The age at which an active file is rotated, when the next operation of its index comes; 24 hours by default.
    pub rotate_age: Duration,
    /// Files held open at once; 64 by default, at least 1.
    pub open_files_max: usize,
}

impl Settings {
    /// The defaults, in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            rotate_bytes: 256 * 1024 * 1024,
            rotate_age: Duration::from_secs(24 * 60 * 60),
            open_files_max: 64,
        }
    }
}
