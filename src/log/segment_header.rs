//! The first 4096 bytes of a segment: which log it belongs to, where it begins, and which segment comes before it.
//!
//! The header fills a page of its own: it is never written again, so that no torn write can reach it.

use bytes::{Buf, BufMut};
use plugin_api::identity::{LogId, Timestamp};
use uuid::Uuid;

use super::sections::FormatError;

/// Where the first frame begins.
pub(super) const HEADER_BYTES: usize = 4096;

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"SYNCSEG\n";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log_id: LogId,
    /// The offset of the first record.
    pub(super) base: u64,
    /// Random, never 0; begins the checksum of everything in this segment.
    pub(super) nonce: u64,
    /// What the segment before it ended with.
    pub(super) previous: Previous,
    pub(super) created_at: Timestamp,
}

/// How a segment ends, as the next one's header records it: the link of the chain (rule 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Previous {
    /// The offset after its last record.
    pub(super) end: u64,
    /// The version of its last record; 0 in the log's first segment.
    pub(super) last_version: u64,
    /// 0 in the log's first segment.
    pub(super) nonce: u64,
}

pub(super) fn encode(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.put_slice(MAGIC);
    out.put_u32_le(FORMAT);
    out.put_u32_le(0); // The checksum comes last.
    out.put_slice(header.log_id.0.as_bytes());
    out.put_u64_le(header.base);
    out.put_u64_le(header.nonce);
    out.put_u64_le(header.previous.end);
    out.put_u64_le(header.previous.last_version);
    out.put_u64_le(header.previous.nonce);
    out.put_u64_le(header.created_at.0);
    out.resize(HEADER_BYTES, 0);
    let checksum = checksum(&out);
    out[12..16].copy_from_slice(&checksum.to_le_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Header, FormatError> {
    if bytes.len() != HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return Err(FormatError::broken("no segment header"));
    }
    let mut rest = &bytes[MAGIC.len()..];
    let (format, stored) = (rest.get_u32_le(), rest.get_u32_le());
    let computed = checksum(bytes);
    if stored != computed {
        return Err(FormatError::broken(format!(
            "header checksum {computed:#010x}, stored is {stored:#010x}"
        )));
    }
    if format != FORMAT {
        return Err(FormatError::newer(format_args!("the segment has format {format}, known is {FORMAT}")));
    }
    Ok(Header {
        log_id: LogId(Uuid::from_u128(rest.get_u128())),
        base: rest.get_u64_le(),
        nonce: rest.get_u64_le(),
        previous: Previous {
            end: rest.get_u64_le(),
            last_version: rest.get_u64_le(),
            nonce: rest.get_u64_le(),
        },
        created_at: Timestamp(rest.get_u64_le()),
    })
}

fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            log_id: LogId(Uuid::from_u128(0x1234)),
            base: 100,
            nonce: 42,
            previous: Previous { end: 100, last_version: 77, nonce: 41 },
            created_at: Timestamp(5),
        }
    }

    /// What goes in comes out; every flipped bit of the whole page and every cut is found.
    #[test]
    fn round_trip_and_damage() {
        let bytes = encode(&sample());
        assert_eq!(decode(&bytes).unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&damaged), Err(FormatError::Broken(_))), "bit {bit}");
        }
        assert!(decode(&bytes[..HEADER_BYTES - 1]).is_err());
    }

    /// A sound header of a newer format is told from rot.
    #[test]
    fn newer_format() {
        let mut bytes = encode(&sample());
        bytes[8] = 2;
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(decode(&bytes), Err(FormatError::Unusable(_))));
    }
}
