//! What an operator decides about the journal. Checked values only: parsing and defaults of names are the config's.

use std::{path::PathBuf, time::Duration};

use plugin_api::settings::{Bounds, Form, GIB, HOUR, KIB, Key, MIB, SECOND, Text, Type};

const ROTATE_BYTES: u64 = 128 * MIB;
const ROTATE_AGE: u64 = HOUR;

/// `type = "file"` in the config file.
pub const TYPE: Type = Type {
    name: "file",
    meaning: "A journal of operations: one JSON object a line, one file for each index.",
    batch_operations: 5_000,
    keys: &[
        Key::new(
            "dir",
            Form::Text(Text::PATH),
            "Where the files go: a directory that no other destination has, outside the log's.",
        )
        .required(),
        Key::new("rotate", Form::Table(ROTATE), "When a file ends and the next one begins."),
    ],
};

const ROTATE: &[Key] = &[
    Key::new(
        "bytes",
        Form::Size(Bounds::fixed(ROTATE_BYTES, 64 * KIB, 64 * GIB)),
        "A file of this size is rotated.",
    ),
    Key::new(
        "age",
        Form::Duration(Bounds::fixed(ROTATE_AGE, SECOND, 30 * 24 * HOUR)),
        "A file of this age is rotated, when the next operation of its index comes.",
    ),
];

/// Where the journal lies and when its files are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; created (0700) with its missing parents.
    pub dir: PathBuf,
    /// The size in bytes, inclusive, up to which an active file grows; 128 MiB by default. A batch of one index is
    /// never split, so a single batch that is larger makes a larger file.
    pub rotate_bytes: u64,
    /// The age at which an active file is rotated, when the next operation of its index comes; an hour by default.
    pub rotate_age: Duration,
    /// Files held open at once; 64 by default, at least 1.
    pub open_files_max: usize,
}

impl Settings {
    /// The defaults, in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            rotate_bytes: ROTATE_BYTES,
            rotate_age: Duration::from_nanos(ROTATE_AGE),
            open_files_max: 64,
        }
    }
}
