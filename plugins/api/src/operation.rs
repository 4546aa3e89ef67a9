//! One change of one object at a destination, and the batch of them that one request carries.

use std::sync::Arc;

use bytes::Bytes;

use crate::identity::{LogId, Position, RequestId, Timestamp, Version};

/// What to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Replace the whole object, create it if it is missing.
    Save,
    /// Replace the given first-level attributes, create the object if it is missing.
    PartialUpdate,
    /// Replace the given first-level attributes, do nothing if the object is missing.
    PartialUpdateNoCreate,
    /// Remove the object.
    Delete,
}

impl Action {
    /// Every action, in the order of the contract's numbers.
    pub const ALL: [Self; 4] = [Self::PartialUpdate, Self::Save, Self::PartialUpdateNoCreate, Self::Delete];

    /// The action's name in files, logs and letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::PartialUpdate => "partial_update",
            Self::PartialUpdateNoCreate => "partial_update_no_create",
            Self::Delete => "delete",
        }
    }
}

/// The object that an operation changes: operations of one key reach a destination in log order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The destination's index.
    pub index: Arc<str>,
    /// The object's id in that index.
    pub object_id: Arc<str>,
}

/// Where an operation comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Source {
    /// The log that holds the record.
    pub log_id: LogId,
    /// The record's position there.
    pub position: Position,
    /// The operation's number among those of its record, from 0.
    pub number: u32,
    /// The request that brought the record.
    pub request_id: RequestId,
    /// When that request was accepted.
    pub accepted_at: Timestamp,
    /// Who sent it, where that is known.
    pub caller: Option<Arc<str>>,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What to do.
    pub action: Action,
    /// To which object.
    pub key: Key,
    /// The attributes: one JSON object as UTF-8 text, without `objectID`; empty for a delete.
    pub body: Bytes,
    /// Orders this operation among those of its key, at destinations that check versions.
    pub version: Version,
    /// The index that the record was sent to, which the destination may call otherwise.
    pub record_index: Arc<str>,
    /// What a transform made it from; `None` if it is what the producer sent.
    pub origin: Option<Arc<Origin>>,
    /// The record that it comes from.
    pub source: Source,
}

/// A record as it was accepted, before a transform made something else of it.
#[derive(Debug)]
pub struct Origin {
    /// What the producer asked for.
    pub action: Action,
    /// For which object.
    pub object_id: Arc<str>,
    /// The attributes, as in [`Operation::body`].
    pub body: Bytes,
    /// The SHA-256 of the module that ran on it.
    pub module: Option<[u8; 32]>,
}

impl Operation {
    /// Bytes that this operation takes in a batch: body and names, plus a flat sum for what an encoding adds.
    #[must_use]
    pub fn size(&self) -> usize {
        const ENCODING: usize = 64;
        self.body.len() + self.key.index.len() + self.key.object_id.len() + ENCODING
    }
}

/// The operations of one request to a destination, in log order. A key may come several times.
#[derive(Debug, Default)]
pub struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
}

impl Batch {
    /// Adds an operation at the end.
    pub fn push(&mut self, operation: Operation) {
        self.bytes += operation.size();
        self.operations.push(operation);
    }

    /// The operations in the order in which they are to be applied.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The sum of [`Operation::size`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the operations back.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

impl From<Vec<Operation>> for Batch {
    fn from(operations: Vec<Operation>) -> Self {
        let bytes = operations.iter().map(Operation::size).sum();
        Self { operations, bytes }
    }
}

impl FromIterator<Operation> for Batch {
    fn from_iter<T: IntoIterator<Item = Operation>>(operations: T) -> Self {
        let mut batch = Self::default();
        operations.into_iter().for_each(|operation| batch.push(operation));
        batch
    }
}
