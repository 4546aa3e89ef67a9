//! One applied operation, as the fake remembers it, and how much of it is kept.

use serde_json::Value;

use super::bulk::Action;
use crate::journal::{Detail, Journal};

/// One applied operation: it changed its document, or found the deleted document that it wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The index that it changed.
    pub index: String,
    /// The document that it changed.
    pub object_id: String,
    /// What it did.
    pub action: Action,
    /// The document or the change as sent ([`Detail::Bodies`]) or the chosen attribute of it ([`Detail::Attribute`]),
    /// null where absent.
    pub body: Value,
    /// The document's version since.
    pub version: i64,
    /// The number of the request that brought it, from 1.
    pub request: u64,
    /// Whether that request was to be answered: not where a [`Fault`](super::Fault) applies it and says nothing.
    pub answered: bool,
}

impl Journal<Applied> {
    /// Notes an applied operation, as much of it as is kept.
    pub(super) fn apply(&mut self, mut applied: Applied, source: &[u8]) {
        self.count(&applied.index);
        let record = record(source);
        applied.body = match &self.detail {
            Detail::Counts => return,
            Detail::Attribute(name) => record.get(name).cloned().unwrap_or_default(),
            Detail::Bodies => record,
        };
        self.applied.push(applied);
    }
}

/// The record within a second line: an update carries it in its script's parameters or as `doc`.
fn record(source: &[u8]) -> Value {
    let mut source: Value = serde_json::from_slice(source).unwrap_or_default();
    for place in ["/script/params/d", "/doc"] {
        if let Some(record) = source.pointer_mut(place) {
            return record.take();
        }
    }
    source
}
