//! Newtypes that say where an operation comes from and how it is ordered.
//!
//! Versions order writes at destinations; positions order the log. They are never mixed.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identifies one log for good: a random UUID written when the log's directory is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record lies in its log: the partition and the record's dense number within it, from 0.
///
/// Positions of different partitions are ordered for sorting only; between partitions the log has no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Always 0 in the embedded log.
    pub partition: u32,
    /// The record's number within its partition.
    pub offset: u64,
}

impl Position {
    /// The position `records` further on in the same partition.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self { offset: self.offset + records, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// Orders the writes of one object at its destinations: strictly increasing along the log, near the unix time in
/// microseconds at which the record was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: microseconds since the unix epoch, by the agent's clock. For ages, never for order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

/// The id that a producer got for its request (a UUIDv8 that only the log reads).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
