//! What a fake remembers of what it was asked: requests, applied operations, counts and violations.

use std::collections::BTreeMap;

use bytes::Bytes;

/// How much the fake keeps of what it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Objects, the journal with every body, and every request with its bytes.
    Bodies,
    /// Objects, and the journal with the value of this first-level attribute.
    Attribute(String),
    /// Numbers only: cheap enough for benches. No objects, and nothing that takes a look into bodies.
    Counts,
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

/// Everything that is remembered; what an applied operation is, each service says.
pub(crate) struct Journal<A> {
    pub(crate) detail: Detail,
    pub(crate) applied: Vec<A>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) violations: Vec<String>,
    pub(crate) operations: BTreeMap<String, u64>,
    pub(crate) requests: u64,
    pub(crate) writes: u64,
}

impl<A> Journal<A> {
    pub(crate) fn new(detail: Detail) -> Self {
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
    pub(crate) fn request(&mut self, mut seen: Seen, is_write: bool) -> u64 {
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
    pub(crate) fn count(&mut self, index: &str) {
        match self.operations.get_mut(index) {
            Some(count) => *count += 1,
            None => {
                self.operations.insert(index.to_owned(), 1);
            }
        }
    }
}
