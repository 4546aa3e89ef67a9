//! What the fake remembers of what it was asked: requests, applied operations, counts and violations.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::bulk::Action;

/// How much the fake keeps of what it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Documents, the journal with every body, and every request with its bytes.
    Bodies,
    /// Documents, and the journal with the value of this first-level attribute.
    Attribute(String),
    /// Numbers only: cheap enough for benches. No documents, no versions, no marks within bodies.
    Counts,
}

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

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which host was asked, from 0.
    pub host: usize,
    /// The method.
    pub method: String,
    /// Path and query as they were on the wire, still percent-encoded.
    pub path: String,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The body came compressed.
    pub gzip: bool,
    /// The body, uncompressed; empty unless [`Detail::Bodies`] are kept.
    pub body: Bytes,
}

/// Everything that is remembered.
pub(super) struct Journal {
    pub(super) detail: Detail,
    pub(super) applied: Vec<Applied>,
    pub(super) seen: Vec<Seen>,
    pub(super) violations: Vec<String>,
    pub(super) operations: BTreeMap<String, u64>,
    pub(super) requests: u64,
    pub(super) writes: u64,
}

impl Journal {
    pub(super) fn new(detail: Detail) -> Self {
        Self {
            detail,
            applied: Vec::new(),
            seen: Vec::new(),
            violations: Vec::new(),
            operations: BTreeMap::new(),
            requests: 0,
            writes: 0,
        }
    }

    /// Notes a request and gives it its number.
    pub(super) fn request(&mut self, mut seen: Seen, is_write: bool) -> u64 {
        self.requests += 1;
        self.writes += u64::from(is_write);
        match self.detail {
            Detail::Bodies => self.seen.push(seen),
            Detail::Attribute(_) => {
                seen.body = Bytes::new();
                self.seen.push(seen);
            }
            Detail::Counts => {}
        }
        self.requests
    }

    /// Counts one operation of an index.
    pub(super) fn count(&mut self, index: &str) {
        match self.operations.get_mut(index) {
            Some(count) => *count += 1,
            None => {
                self.operations.insert(index.to_owned(), 1);
            }
        }
    }

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
