//! The container of the log's small files: identity, list of destinations, cursors, gaps, skipped ranges. Each is
//! written whole under a temporary name and renamed, and has its own magic, a format number, a checksum and the log's id
//! inside.

use bytes::{Buf, BufMut};
use plugin_api::identity::LogId;
use uuid::Uuid;

use super::sections::FormatError;

const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 32;

/// What a small file holds; its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identity,
    Destinations,
    Cursor,
    Gaps,
    Skipped,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Identity => b"SYNCLOG\n",
            Self::Destinations => b"SYNCDST\n",
            Self::Cursor => b"SYNCCUR\n",
            Self::Gaps => b"SYNCGAP\n",
            Self::Skipped => b"SYNCSKP\n",
        }
    }
}

/// A small file whose sections `write` appends.
pub(super) fn encode(kind: Kind, log_id: LogId, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.put_slice(kind.magic());
    out.put_u32_le(FORMAT);
    out.put_u32_le(0); // The checksum comes last.
    out.put_slice(log_id.0.as_bytes());
    write(&mut out);
    let checksum = checksum(&out);
    out[12..16].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Checks a small file; returns its log's id and its sections.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Result<(LogId, &[u8]), FormatError> {
    if bytes.len() < HEAD_BYTES || !bytes.starts_with(kind.magic()) {
        return Err(FormatError::broken("its magic is missing"));
    }
    let mut rest = &bytes[8..];
    let (format, stored) = (rest.get_u32_le(), rest.get_u32_le());
    let computed = checksum(bytes);
    if stored != computed {
        return Err(FormatError::broken(format!("checksum {computed:#010x}, stored is {stored:#010x}")));
    }
    if format != FORMAT {
        return Err(FormatError::newer(format_args!("the file has format {format}, known is {FORMAT}")));
    }
    Ok((LogId(Uuid::from_u128(rest.get_u128())), rest))
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes in comes out; every flipped bit is found, and one kind is not taken for another.
    #[test]
    fn round_trip_and_damage() {
        let id = LogId(Uuid::from_u128(9));
        let bytes = encode(Kind::Cursor, id, |out| out.put_slice(b"sections"));
        assert_eq!(decode(Kind::Cursor, &bytes).unwrap(), (id, &b"sections"[..]));
        assert!(decode(Kind::Destinations, &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(Kind::Cursor, &damaged), Err(FormatError::Broken(_))), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(Kind::Cursor, &bytes[..length]).is_err(), "{length}");
        }
    }
}
