//! What is told of one record.

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::{
    identity::Timestamp,
    operation::{Action, Key, Operation, Source},
    verdict::Reason,
};

use crate::{
    dead_letter::{Change, Letter},
    log::interface::Frame,
    record::Record,
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is durable in the log.
    Accepted,
    /// A destination has applied it.
    Delivered,
    /// A destination had, or was given, something newer of its object.
    Superseded,
    /// Its transform leaves it out.
    Skipped,
    /// It lies in a destination's dead letters now.
    DeadLettered,
    /// A destination refused it, and there was no room to keep it.
    Gap,
}

impl Kind {
    /// How many there are: `Gap` is the last one.
    pub(super) const COUNT: usize = Self::Gap as usize + 1;
}

/// What happened to one record, or to one of the operations that it became. Bodies are cut to
/// [`Event::BODY_BYTES_MAX`].
#[derive(Clone, Debug)]
pub struct Event {
    /// When: by the log's clock for what was accepted, by the agent's for what became of it.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// Where; `None` for what was accepted.
    pub destination: Option<Arc<str>>,
    /// Where the record comes from.
    pub source: Source,
    /// The record as it was accepted.
    pub record: Shown,
    /// What it became; `None` if there is nothing, or it is the record itself.
    pub operation: Option<Shown>,
    /// Why it was not delivered.
    pub reason: Option<Reason>,
}

/// A change whose body may have been cut.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The change, with a body of its own: it keeps nothing else in memory.
    pub change: Change,
    /// Bytes of the whole body.
    pub body_bytes: usize,
}

impl Event {
    /// Bytes of a body, inclusive; of a longer one this much is kept.
    pub const BODY_BYTES_MAX: usize = 8 << 10;

    pub(super) fn accepted(frame: &Frame, number: u64, record: Record) -> Self {
        let Record { action, index, object_id, body } = record;
        let source = Source {
            log_id: frame.log_id,
            position: frame.position.plus(number),
            number: 0,
            request_id: frame.request_id,
            accepted_at: frame.accepted_at,
            caller: frame.attributes.caller.clone(),
        };
        Self {
            at: frame.accepted_at,
            kind: Kind::Accepted,
            destination: None,
            source,
            record: Shown::new(action, Key { index, object_id }, &body),
            operation: None,
            reason: None,
        }
    }

    pub(super) fn of_operation(
        kind: Kind,
        at: Timestamp,
        destination: &Arc<str>,
        operation: &Operation,
    ) -> Self {
        let (record, made) = (Change::of_record(operation), Change::of_operation(operation));
        // A destination may have a name of its own for the index: that is told, too.
        let made = (kind != Kind::Skipped && made != record).then(|| Shown::of(&made));
        Self {
            at,
            kind,
            destination: Some(destination.clone()),
            source: operation.source.clone(),
            record: Shown::of(&record),
            operation: made,
            reason: None,
        }
    }

    pub(super) fn of_letter(kind: Kind, at: Timestamp, destination: &Arc<str>, letter: &Letter) -> Self {
        Self {
            at,
            kind,
            destination: Some(destination.clone()),
            source: letter.source.clone(),
            record: Shown::of(&letter.record),
            operation: letter.operation.as_ref().map(Shown::of),
            reason: Some(letter.reason.clone()),
        }
    }
}

impl Shown {
    fn of(Change { action, key, body }: &Change) -> Self {
        Self::new(*action, key.clone(), body)
    }

    fn new(action: Action, key: Key, body: &[u8]) -> Self {
        let kept = Bytes::copy_from_slice(&body[..body.len().min(Event::BODY_BYTES_MAX)]);
        Self { change: Change { action, key, body: kept }, body_bytes: body.len() }
    }

    /// Whether the body is not there whole.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.change.body.len() < self.body_bytes
    }
}
