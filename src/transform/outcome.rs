//! What a transform makes of records, checked: every body is one JSON object, every object id may be sent.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use plugin_api::{operation::Action, verdict::Reason};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// The SHA-256 of a module's bytes, by which it is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of a module's bytes.
    #[must_use]
    pub fn of(wasm: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, wasm).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is delivered as it came.
    Unchanged,
    /// The same action and object id, with this body.
    Replace(Bytes),
    /// These operations instead, in this order.
    Emit(Vec<Product>),
    /// Nothing is delivered.
    Skip,
    /// It could not be processed, and why: a letter.
    Failed(Reason),
}

/// One operation that a transform produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// What to do.
    pub action: Action,
    /// To which object of the record's index.
    pub object_id: Arc<str>,
    /// One JSON object as UTF-8 text, without `objectID`; empty for a delete.
    pub body: Bytes,
}

impl Transformed {
    /// Bytes of the bodies that were made.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |outcome: &Outcome| match outcome {
            Outcome::Replace(body) => body.len(),
            Outcome::Emit(products) => products.iter().map(|product| product.body.len()).sum(),
            Outcome::Unchanged | Outcome::Skip | Outcome::Failed(_) => 0,
        };
        self.outcomes.iter().map(of).sum()
    }
}

/// What became of some records of one index.
#[derive(Clone, Debug)]
pub struct Transformed {
    /// One for each record, in order.
    pub outcomes: Vec<Outcome>,
    /// The module that ran on them; `None` if there is none that serves.
    pub module: Option<Digest>,
}
