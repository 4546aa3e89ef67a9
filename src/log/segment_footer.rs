//! What ends a sealed segment: sections that sum it up and index it, then a trailer of fixed size at the file's end.
//!
//! The footer only makes reading faster: the frames and the next segment's header say the same. Later versions may add
//! sections.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use super::{
    idempotency,
    sections::{self, FormatError, SECTION_BYTES},
};

/// Bytes at the end of the file.
pub(super) const TRAILER_BYTES: usize = 24;

/// A footer's length is bounded before anything is allocated.
pub(super) const FOOTER_BYTES_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"SYNCEND\n";

const TAG_SUMMARY: u16 = 1;
const TAG_INDEX: u16 = 2;
const TAG_KEYS: u16 = 3;
const TAG_COUNTS: u16 = 4;

const SUMMARY_BYTES: usize = 56;
const INDEX_ENTRY_BYTES: usize = 32;
const KEYS_BYTES: usize = 16;

/// Where a frame lies; one about every MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) offset: u64,
    pub(super) version: u64,
    pub(super) time: u64,
    /// The frame's first byte in the file.
    pub(super) at: u64,
}

/// Counts and ends of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) frames: u64,
    /// The offset after the last record.
    pub(super) end: u64,
    pub(super) first_version: u64,
    /// The version of the last record.
    pub(super) last_version: u64,
    pub(super) first_time: u64,
    pub(super) last_time: u64,
    /// Where the last write group begins in the file: what rule 13 writes again.
    pub(super) last_group_at: u64,
}

/// A footer, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Its first byte in the file. Between the last frame and it there is nothing but the keys.
    pub(super) at: u64,
    pub(super) summary: Summary,
    pub(super) places: Vec<IndexEntry>,
    pub(super) counts: Counts,
    /// Where the segment's idempotency keys lie, if they are anywhere but in the frames.
    pub(super) keys: Option<idempotency::Place>,
}

impl Footer {
    /// The byte after the last frame.
    pub(super) fn frames_end(&self) -> u64 {
        self.keys.map_or(self.at, |keys| keys.at)
    }
}

/// Records by the index that they are for.
pub(super) type Counts = BTreeMap<Box<str>, u64>;

/// Where a footer lies, as the trailer says; checked against the file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Its first byte in the file.
    pub(super) at: u64,
    /// Its length without the trailer, in bytes.
    pub(super) length: usize,
}

/// Bytes that a footer with so many places of frames and bytes of counts takes, trailer included.
pub(super) fn size_with(places: usize, counts_bytes: usize) -> usize {
    let sections = 4 * SECTION_BYTES + SUMMARY_BYTES + places * INDEX_ENTRY_BYTES + KEYS_BYTES;
    sections + counts_bytes + TRAILER_BYTES
}

/// Bytes that the count of an index takes whose name has so many.
pub(super) fn count_bytes(name_bytes: usize) -> usize {
    SECTION_BYTES + 8 + name_bytes
}

/// The footer with its trailer, to be written where it says.
pub(super) fn encode(nonce: u64, footer: &Footer) -> Vec<u8> {
    let Footer { at, summary, places, counts, keys } = footer;
    let counts_bytes = counts.keys().map(|name| count_bytes(name.len())).sum();
    let mut out = Vec::with_capacity(size_with(places.len(), counts_bytes));
    sections::put_with(&mut out, TAG_SUMMARY, |out| {
        out.put_u64_le(summary.frames);
        out.put_u64_le(summary.end);
        out.put_u64_le(summary.first_version);
        out.put_u64_le(summary.last_version);
        out.put_u64_le(summary.first_time);
        out.put_u64_le(summary.last_time);
        out.put_u64_le(summary.last_group_at);
    });
    sections::put_with(&mut out, TAG_INDEX, |out| {
        for entry in places {
            out.put_u64_le(entry.offset);
            out.put_u64_le(entry.version);
            out.put_u64_le(entry.time);
            out.put_u64_le(entry.at);
        }
    });
    if let Some(idempotency::Place { length, checksum, elapsed, .. }) = keys {
        sections::put_with(&mut out, TAG_KEYS, |out| {
            out.put_u32_le(u32::try_from(*length).expect("keys are bounded far below 4 GiB"));
            out.put_u32_le(*checksum);
            out.put_u64_le(*elapsed);
        });
    }
    sections::put_with(&mut out, TAG_COUNTS, |out| put_counts(out, counts));
    let length = u32::try_from(out.len()).expect("an entry a MiB stays far below 4 GiB");
    out.put_u64_le(*at);
    out.put_u32_le(length);
    let checksum = checksum(nonce, &out);
    out.put_u32_le(checksum);
    out.put_slice(MAGIC);
    out
}

/// Reads the file's last [`TRAILER_BYTES`]; says where the footer should be.
pub(super) fn decode_trailer(bytes: &[u8], file_bytes: u64) -> Result<Trailer, FormatError> {
    if bytes.len() != TRAILER_BYTES || !bytes.ends_with(MAGIC) {
        return Err(FormatError::broken("no trailer at the end"));
    }
    let mut rest = bytes;
    let (at, length) = (rest.get_u64_le(), rest.get_u32_le() as usize);
    if length > FOOTER_BYTES_MAX || at.checked_add((length + TRAILER_BYTES) as u64) != Some(file_bytes) {
        return Err(FormatError::broken(format!(
            "a footer of {length} bytes at byte {at} of {file_bytes} bytes"
        )));
    }
    Ok(Trailer { at, length })
}

/// Reads a footer with its trailer.
pub(super) fn decode(nonce: u64, bytes: &[u8]) -> Result<Footer, FormatError> {
    let Some(checksum_at) = bytes.len().checked_sub(TRAILER_BYTES).map(|at| at + 12) else {
        return Err(FormatError::broken("a footer is cut off"));
    };
    let (stored, computed) = ((&bytes[checksum_at..]).get_u32_le(), checksum(nonce, &bytes[..checksum_at]));
    if stored != computed {
        return Err(FormatError::broken(format!(
            "footer checksum {computed:#010x}, stored is {stored:#010x}"
        )));
    }
    let at = (&bytes[checksum_at - 12..]).get_u64_le();
    let (mut summary, mut places, mut counts, mut keys) = (None, Vec::new(), Counts::new(), None);
    sections::for_each(&bytes[..bytes.len() - TRAILER_BYTES], |tag, value| {
        match tag {
            TAG_SUMMARY => summary = Some(decode_summary(value)?),
            TAG_INDEX => places = value.chunks_exact(INDEX_ENTRY_BYTES).map(decode_entry).collect(),
            TAG_KEYS => keys = Some(decode_keys(value, at)?),
            TAG_COUNTS => counts = decode_counts(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let summary = summary.ok_or_else(|| FormatError::broken("a footer without a summary"))?;
    Ok(Footer { at, summary, places, counts, keys })
}

/// Appends counts: a section with tag 0 for each index, with the count (8 bytes) and the name.
pub(super) fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    for (name, count) in counts {
        sections::put_with(out, 0, |out| {
            out.put_u64_le(*count);
            out.put_slice(name.as_bytes());
        });
    }
}

/// Reads what [`put_counts`] has written.
pub(super) fn decode_counts(bytes: &[u8]) -> Result<Counts, FormatError> {
    let mut counts = Counts::new();
    sections::for_each(bytes, |tag, mut value| {
        let count = value.try_get_u64_le().map_err(|_| FormatError::broken("a count is cut off"))?;
        *counts.entry(sections::text(value)?.into()).or_default() += count;
        Ok(tag == 0)
    })?;
    Ok(counts)
}

fn decode_summary(mut value: &[u8]) -> Result<Summary, FormatError> {
    if value.len() < SUMMARY_BYTES {
        return Err(FormatError::broken("a summary is cut off"));
    }
    Ok(Summary {
        frames: value.get_u64_le(),
        end: value.get_u64_le(),
        first_version: value.get_u64_le(),
        last_version: value.get_u64_le(),
        first_time: value.get_u64_le(),
        last_time: value.get_u64_le(),
        last_group_at: value.get_u64_le(),
    })
}

/// The keys end where the footer begins.
fn decode_keys(mut value: &[u8], footer_at: u64) -> Result<idempotency::Place, FormatError> {
    if value.len() < KEYS_BYTES {
        return Err(FormatError::broken("the place of the keys is cut off"));
    }
    let length = value.get_u32_le();
    let at = footer_at.checked_sub(length.into());
    let at =
        at.ok_or_else(|| FormatError::broken(format!("{length} bytes of keys before byte {footer_at}")))?;
    let (checksum, elapsed) = (value.get_u32_le(), value.get_u64_le());
    Ok(idempotency::Place { at, length: length as usize, checksum, elapsed })
}

fn decode_entry(mut entry: &[u8]) -> IndexEntry {
    IndexEntry {
        offset: entry.get_u64_le(),
        version: entry.get_u64_le(),
        time: entry.get_u64_le(),
        at: entry.get_u64_le(),
    }
}

fn checksum(nonce: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Footer {
        let summary = Summary {
            frames: 1,
            end: 20,
            first_version: 30,
            last_version: 40,
            first_time: 50,
            last_time: 60,
            last_group_at: 70,
        };
        let entry = IndexEntry { offset: 1, version: 2, time: 3, at: 4 };
        let counts = [("products".into(), 19), ("".into(), 1)].into();
        let places = vec![entry, IndexEntry { offset: 9, ..entry }];
        let keys = Some(idempotency::Place { at: 4888, length: 112, checksum: 7, elapsed: 8 });
        Footer { at: 5000, summary, places, counts, keys }
    }

    fn read(bytes: &[u8]) -> Result<Footer, FormatError> {
        let trailer_at = bytes.len().saturating_sub(TRAILER_BYTES);
        decode_trailer(&bytes[trailer_at..], 5000 + bytes.len() as u64)?;
        decode(42, bytes)
    }

    /// What goes in comes out; every flipped bit and every cut is found, and another segment's footer is none.
    #[test]
    fn round_trip_and_damage() {
        let bytes = encode(42, &sample());
        assert_eq!(bytes.len(), size_with(2, count_bytes(8) + count_bytes(0)));
        assert_eq!(read(&bytes).unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&damaged), Err(FormatError::Broken(_))), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(43, &bytes).is_err());
    }
}
