//! The keys of a segment on disk: collected while it is written, and laid between its last frame and its footer, where
//! nobody reads them but an opening log for which the segment lies within the window.

use std::io;

use bytes::{Buf, BufMut};
use plugin_api::identity::Timestamp;

use super::key::{Accepted, Fingerprint, Key, Owner, ShortDigest};
use crate::log::{files::File, sections::FormatError};

/// What a key takes on disk.
pub(in crate::log) const KEY_BYTES: usize = 60;

/// What the keys of a segment may take, on disk and in memory while it is written. A segment with more (280,000) has
/// no block, and is scanned when a log is opened.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Where a segment's keys lie, as its footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Place {
    /// The first byte in the file.
    pub(in crate::log) at: u64,
    pub(in crate::log) length: usize,
    /// Of the segment's nonce and the block.
    pub(in crate::log) checksum: u32,
}

/// The keys of the segment that is written to.
#[derive(Debug)]
pub(in crate::log) struct Collected {
    base: u64,
    /// `None` once there are too many.
    bytes: Option<Vec<u8>>,
}

impl Collected {
    /// None yet, in the segment whose first record has the offset `base`.
    pub(in crate::log) fn new(base: u64) -> Self {
        Self { base, bytes: Some(Vec::new()) }
    }

    /// Takes note of a frame's key.
    pub(in crate::log) fn push(&mut self, accepted: &Accepted) {
        let Some(bytes) = &mut self.bytes else { return };
        if bytes.len() + KEY_BYTES > BLOCK_BYTES_MAX {
            self.bytes = None;
            return;
        }
        let Accepted { key: Key { fingerprint, owner }, digest, offset, version, time } = accepted;
        bytes.put_slice(&fingerprint.0);
        bytes.put_u64_le(owner.0);
        bytes.put_slice(&digest.0);
        bytes.put_u32_le(u32::try_from(offset - self.base).expect("a segment holds fewer records"));
        bytes.put_u64_le(*version);
        bytes.put_u64_le(time.0);
    }

    /// The block as it stands; `None` if there are too many keys.
    pub(in crate::log) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The block, or nothing if there are too many keys.
    pub(in crate::log) fn into_bytes(self) -> Vec<u8> {
        self.bytes.unwrap_or_default()
    }

    /// How many bytes the block has.
    pub(in crate::log) fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

impl Place {
    /// Where this block goes.
    pub(in crate::log) fn of(block: &[u8], at: u64, nonce: u64) -> Self {
        Self { at, length: block.len(), checksum: checksum(nonce, block) }
    }

    /// Reads the block; the inner error says why there is no sound one.
    pub(super) fn read(&self, file: &dyn File, nonce: u64) -> io::Result<Result<Vec<u8>, FormatError>> {
        if self.length > BLOCK_BYTES_MAX || !self.length.is_multiple_of(KEY_BYTES) {
            return Ok(Err(FormatError::broken(format!("{} bytes of keys", self.length))));
        }
        let bytes = file.read_at(self.at, self.length)?;
        if bytes.len() != self.length || checksum(nonce, &bytes) != self.checksum {
            return Ok(Err(FormatError::broken("the keys' checksum is wrong")));
        }
        Ok(Ok(bytes))
    }
}

/// The keys of a block of the segment that begins at `base`, in log order.
pub(super) fn decode(base: u64, bytes: &[u8]) -> impl Iterator<Item = Accepted> {
    bytes.chunks_exact(KEY_BYTES).map(move |mut key| {
        let (mut fingerprint, mut digest) = ([0; 16], [0; 16]);
        key.copy_to_slice(&mut fingerprint);
        let owner = Owner(key.get_u64_le());
        key.copy_to_slice(&mut digest);
        Accepted {
            key: Key { fingerprint: Fingerprint(fingerprint), owner },
            digest: ShortDigest(digest),
            offset: base + u64::from(key.get_u32_le()),
            version: key.get_u64_le(),
            time: Timestamp(key.get_u64_le()),
        }
    })
}

fn checksum(nonce: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), bytes)
}
