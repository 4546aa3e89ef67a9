//! The checker's input.

use std::sync::Arc;

use crate::contract::Action;

/// One request of a producer.
#[derive(Clone, Debug)]
pub struct Request {
    /// The index of all its operations.
    pub index: Arc<str>,
    /// The action of all its operations.
    pub action: Action,
    /// In the order in which they are to be applied.
    pub operations: Vec<Sent>,
    /// What the producer was told.
    pub outcome: Outcome,
}

/// One operation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The object's id in the request's index.
    pub object_id: String,
    /// Rises with every operation of a key.
    pub sequence: u64,
}

/// What a producer was told about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted for good.
    Acknowledged {
        /// The agent's id of the request.
        request_id: String,
    },
    /// Certainly not accepted.
    Refused {
        /// The status with its message.
        status: String,
    },
    /// Perhaps accepted, wholly or not at all.
    Unknown {
        /// What came instead of an answer.
        reason: String,
    },
}

/// What one destination did.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    /// Whether waiting operations of a key may be replaced by a later save or delete.
    pub coalesces: bool,
    /// In the order in which they happened; between operations of different keys the order does not matter.
    pub events: Vec<Event>,
    /// Dead-lettered operations, in no order.
    pub dead_letters: Vec<Applied>,
}

/// Something that happened at a destination.
#[derive(Clone, Debug)]
pub enum Event {
    /// One request to the destination applied these operations, in this order.
    Batch {
        /// In order.
        operations: Vec<Applied>,
        /// Whether the agent could learn that they were applied; else it must send them again.
        answered: bool,
    },
    /// The agent was killed or ended, and started again.
    Restart,
}

/// An operation as a destination (or a dead letter) shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The index.
    pub index: Arc<str>,
    /// The object's id.
    pub object_id: String,
    /// The operation's sequence number; `None` for a delete, which carries no data.
    pub sequence: Option<u64>,
    /// The agent's id of the request, where the destination keeps it.
    pub request_id: Option<String>,
    /// What tells a repeat from a new operation, where the destination keeps it.
    pub identity: Option<Identity>,
    /// What orders the operations of an object, where the destination keeps it.
    pub version: Option<u64>,
}

/// The identity of an operation: readers of a file drop repeats by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The log's id.
    pub log_id: String,
    /// The partition.
    pub partition: u64,
    /// The record's offset in the partition.
    pub position: u64,
    /// The operation's number within the record.
    pub number: u64,
}
