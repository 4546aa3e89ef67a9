//! What an idempotency key names: a request among those of one caller, where that is known, for one index.

use ring::digest::{Context, SHA256};

use crate::{
    log::interface::{Attributes, Idempotency},
    record::payload_index,
};

/// A key within its scope. Keys are told apart by 128 bits of SHA-256 over caller, index and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::log) struct Key {
    pub(in crate::log) fingerprint: Fingerprint,
    pub(in crate::log) owner: Owner,
}

/// The first bytes of the SHA-256 of a key and its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::log) struct Fingerprint(pub(in crate::log) [u8; 16]);

/// Whose share of the memory a key counts to: the first bytes of the SHA-256 of the caller, else of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::log) struct Owner(pub(in crate::log) u64);

/// The first bytes of the SHA-256 of a request's content: enough to tell contents apart. The frame has it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct ShortDigest(pub(in crate::log) [u8; 12]);

/// A request with a key, as it lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Accepted {
    pub(in crate::log) key: Key,
    pub(in crate::log) digest: ShortDigest,
    pub(in crate::log) offset: u64,
    pub(in crate::log) version: u64,
}

impl Key {
    /// The key of a request with these attributes and this payload, if it has one.
    pub(in crate::log) fn of(attributes: &Attributes, payload: &[u8]) -> Option<Self> {
        let Idempotency { key, .. } = attributes.idempotency.as_ref()?;
        // Ingress makes no payload without an index.
        let index = payload_index(payload).unwrap_or_default();
        let caller = attributes.caller.as_deref();
        let mut content = Context::new(&SHA256);
        // Lengths, so that no two scopes run into the same bytes.
        for part in [caller.unwrap_or_default(), index] {
            content.update(&(part.len() as u64).to_le_bytes());
            content.update(part.as_bytes());
        }
        content.update(&[u8::from(caller.is_some())]);
        content.update(key.as_bytes());
        let fingerprint = Fingerprint(first_bytes(content.finish().as_ref()));
        Some(Self { fingerprint, owner: Owner::of(caller, index) })
    }
}

impl Owner {
    fn of(caller: Option<&str>, index: &str) -> Self {
        let (kind, name) = caller.map_or((0, index), |caller| (1, caller));
        let mut content = Context::new(&SHA256);
        content.update(&[kind]);
        content.update(name.as_bytes());
        Self(u64::from_le_bytes(first_bytes(content.finish().as_ref())))
    }
}

impl ShortDigest {
    /// Of a whole digest.
    pub(in crate::log) fn of(whole: &[u8; 32]) -> Self {
        Self(first_bytes(whole))
    }
}

fn first_bytes<const N: usize>(digest: &[u8]) -> [u8; N] {
    *digest.first_chunk().expect("a SHA-256 has 32 bytes")
}
