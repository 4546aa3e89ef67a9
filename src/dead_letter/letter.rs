//! What a letter keeps: enough to understand the failure, and to replay the record or the operation.

use std::fmt;

use bytes::Bytes;
use plugin_api::{
    identity::{Timestamp, Version},
    operation::{Action, Key, Operation, Origin, Source},
    verdict::Reason,
};

/// Identifies a letter within its destination's store; never given out twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a record came before it was dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its transform failed: there is no operation.
    Transform,
    /// The destination's rules exclude the operation; it was never sent.
    Admit,
    /// The destination refused it.
    Delivery,
}

impl Stage {
    /// Every stage, in the order in which a record passes them.
    pub const ALL: [Self; 3] = [Self::Transform, Self::Admit, Self::Delivery];

    /// The stage's name in the store and in what operators see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Admit => "admit",
            Self::Delivery => "delivery",
        }
    }
}

/// One change of one object, as a record asks for it or as an operation carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub action: Action,
    /// To which object.
    pub key: Key,
    /// One JSON object as UTF-8 text; empty for a delete, and once it was purged.
    pub body: Bytes,
}

impl Change {
    /// What an operation's record asks for.
    #[must_use]
    pub fn of_record(operation: &Operation) -> Self {
        let Operation { action, record_index, key, body, origin, .. } = operation;
        let (action, object_id, body) = match origin.as_deref() {
            Some(Origin { action, object_id, body, .. }) => (action, object_id, body),
            None => (action, &key.object_id, body),
        };
        let key = Key { index: record_index.clone(), object_id: object_id.clone() };
        Self { action: *action, key, body: body.clone() }
    }

    /// What an operation does.
    #[must_use]
    pub fn of_operation(operation: &Operation) -> Self {
        Self { action: operation.action, key: operation.key.clone(), body: operation.body.clone() }
    }
}

/// A record, or one operation made from it, that one destination did not take. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it comes from. Log id, position and number make it unique in its store.
    pub source: Source,
    /// Its record's version.
    pub version: Version,
    /// The record as it was accepted.
    pub record: Change,
    /// The operation that was made from it: none if there is none or it is the record itself.
    pub operation: Option<Change>,
    /// The SHA-256 of the transform's module that failed on the record or made the operation.
    pub module: Option<[u8; 32]>,
    /// How far it came.
    pub stage: Stage,
    /// Why it went no further.
    pub reason: Reason,
    /// How often it was sent in vain.
    pub attempts: u32,
    /// When it was dead-lettered.
    pub dead_lettered_at: Timestamp,
}

impl Letter {
    /// Bytes that it counts for in its store: its bodies, words and caller, names twice since they are in an index,
    /// too, and a flat sum for the rest of its row. `FORMAT.md` has the same sum in SQL.
    #[must_use]
    pub fn size(&self) -> u64 {
        const ROW: usize = 256;
        let of = |Change { key, body, .. }: &Change| body.len() + 2 * (key.index.len() + key.object_id.len());
        let operation = self.operation.as_ref().map_or(0, of);
        let caller = self.source.caller.as_ref().map_or(0, |caller| caller.len());
        (ROW + of(&self.record) + operation + self.reason.message.len() + caller) as u64
    }
}

/// A letter in the store.
#[derive(Clone, Debug)]
pub struct Filed {
    /// Its id there.
    pub id: LetterId,
    /// Whether something newer of its object has been delivered since: a replay leaves it out.
    pub stale: bool,
    /// Whether its data is gone, since a delete of its object was delivered: it cannot be replayed.
    pub purged: bool,
    /// The letter.
    pub letter: Letter,
}
