//! The keys of a segment on disk: collected while it is written, and laid between its last frame and its footer, where
//! nobody reads them but an opening log for which the segment lies within the window.

use std::io;

use bytes::{Buf, BufMut};

use super::key::{Accepted, Fingerprint, Key, Owner, ShortDigest};
use crate::log::{files::File, sections::FormatError};

/// What a key takes on disk.
pub(in crate::log) const KEY_BYTES: usize = 56;

/// What the keys of a segment may take, on disk and in memory while it is written. A segment with more (300,000) has
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
    /// How far the clock advanced from the segment's first frame to its last, in microseconds.
    pub(in crate::log) elapsed: u64,
}

/// The keys of the segment that is written to.
#[derive(Debug)]
pub(in crate::log) struct Collected {
    base: u64,
    /// What the clock said at the last frame.
    seen: Option<u64>,
    /// How far it has advanced since the first one, in microseconds; what it was set back counts for nothing.
    elapsed: u64,
    /// `None` once there are too many.
    bytes: Option<Vec<u8>>,
}

impl Collected {
    /// None yet, in the segment whose first record has the offset `base`.
    pub(in crate::log) fn new(base: u64) -> Self {
        Self { base, seen: None, elapsed: 0, bytes: Some(Vec::new()) }
    }

    /// Takes note of the time of a frame, with a key or without.
    pub(in crate::log) fn advance(&mut self, time: u64) {
        let seen = self.seen.replace(time).unwrap_or(time);
        self.elapsed += time.saturating_sub(seen);
    }

    /// Takes note of a key, after the time of its frame.
    pub(in crate::log) fn push(&mut self, accepted: &Accepted) {
        let Some(bytes) = &mut self.bytes else { return };
        let Accepted { key: Key { fingerprint, owner }, digest, offset, version } = accepted;
        let place = u32::try_from(offset - self.base);
        let (Ok(place), true) = (place, bytes.len() + KEY_BYTES <= BLOCK_BYTES_MAX) else {
            self.bytes = None;
            return;
        };
        bytes.put_slice(&fingerprint.0);
        bytes.put_u64_le(owner.0);
        bytes.put_slice(&digest.0);
        bytes.put_u32_le(place);
        bytes.put_u64_le(*version);
        bytes.put_u64_le(self.elapsed);
    }

    /// Where the block goes that begins at byte `at`; `None` if there are too many keys.
    pub(in crate::log) fn place(&self, at: u64, nonce: u64) -> Option<Place> {
        let Self { elapsed, bytes, .. } = self;
        let bytes = bytes.as_ref()?;
        Some(Place { at, length: bytes.len(), checksum: checksum(nonce, bytes), elapsed: *elapsed })
    }

    /// How far the clock has advanced since the first frame, in microseconds.
    pub(super) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// The block as it stands; `None` if there are too many keys.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
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
    /// Reads the block; the inner error says why there is no sound one.
    pub(in crate::log) fn read(
        &self,
        file: &dyn File,
        nonce: u64,
    ) -> io::Result<Result<Vec<u8>, FormatError>> {
        if self.length == 0 {
            return Ok(Ok(Vec::new()));
        }
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

/// The keys of a block of the segment that begins at `base`, in log order, each with how far the clock had advanced
/// since the segment's first frame.
pub(super) fn decode(base: u64, bytes: &[u8]) -> impl Iterator<Item = (Accepted, u64)> {
    bytes.chunks_exact(KEY_BYTES).map(move |mut key| {
        let (mut fingerprint, mut digest) = ([0; 16], [0; 12]);
        key.copy_to_slice(&mut fingerprint);
        let owner = Owner(key.get_u64_le());
        key.copy_to_slice(&mut digest);
        let accepted = Accepted {
            key: Key { fingerprint: Fingerprint(fingerprint), owner },
            digest: ShortDigest(digest),
            offset: base + u64::from(key.get_u32_le()),
            version: key.get_u64_le(),
        };
        (accepted, key.get_u64_le())
    })
}

fn checksum(nonce: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), bytes)
}
