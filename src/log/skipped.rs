//! The ranges of rot that an operator has given up with `log skip` (rule 7): readers go on behind them, and whoever
//! still needed what lay there hears how many records that were.
//!
//! A range names its segment by base and nonce, so that it means nothing to another segment that comes to bear the
//! same name. The file is replaced as a whole, like every small one.

use std::{cmp, path::Path};

use bytes::{Buf, BufMut};
use plugin_api::identity::{LogId, Timestamp};

use super::{
    block::Place,
    files::FileSystem,
    sections::{self, FormatError, MUST_UNDERSTAND},
    small_file::{self, Kind},
};

const TAG_RANGE: u16 = 1 | MUST_UNDERSTAND;
const RANGE_BYTES: usize = 56;

/// Bytes of a segment that are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SkippedRange {
    /// The segment, by the offset of its first record.
    pub(super) base: u64,
    pub(super) nonce: u64,
    /// The first byte that is passed over.
    pub(super) from: Place,
    /// Where reading goes on; the same offset where no record is lost, as in a rotten header.
    pub(super) to: Place,
    pub(super) skipped_at: Timestamp,
}

/// The ranges of one segment, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Skips(Vec<SkippedRange>);

impl Skips {
    /// Those of all ranges that belong to this segment.
    pub(super) fn of(ranges: &[SkippedRange], base: u64, nonce: u64) -> Self {
        let here = ranges.iter().filter(|range| range.base == base && range.nonce == nonce);
        let mut here: Vec<_> = here.copied().collect();
        here.sort_by_key(|range| range.from.at);
        Self(here)
    }

    /// The range in which a byte lies.
    pub(super) fn covering(&self, at: u64) -> Option<&SkippedRange> {
        self.0.iter().find(|range| range.from.at <= at && at < range.to.at)
    }

    /// Whether a record, or the header at this offset, was given up.
    pub(super) fn names(&self, offset: u64) -> bool {
        let holds = |SkippedRange { from, to, .. }: &SkippedRange| {
            (from.offset..to.offset.max(from.offset + 1)).contains(&offset)
        };
        self.0.iter().any(holds)
    }

    /// The byte at which the next range begins, or `limit`: no frame reaches beyond it.
    pub(super) fn limit(&self, at: u64, limit: u64) -> u64 {
        let next = self.0.iter().map(|range| range.from.at).find(|from| *from > at);
        next.map_or(limit, |next| cmp::min(next, limit))
    }
}

/// Reads a log's skipped ranges; the inner error says why they cannot be used.
pub(super) fn read(
    files: &dyn FileSystem,
    path: &Path,
    log_id: LogId,
) -> std::io::Result<Result<Vec<SkippedRange>, FormatError>> {
    let bytes = files.read_small(path)?;
    Ok(bytes.map_or(Ok(Vec::new()), |bytes| decode(log_id, &bytes)))
}

pub(super) fn encode(log_id: LogId, ranges: &[SkippedRange]) -> Vec<u8> {
    small_file::encode(Kind::Skipped, log_id, |out| {
        for SkippedRange { base, nonce, from, to, skipped_at } in ranges {
            sections::put_with(out, TAG_RANGE, |out| {
                for number in [*base, *nonce, from.at, to.at, from.offset, to.offset, skipped_at.0] {
                    out.put_u64_le(number);
                }
            });
        }
    })
}

pub(super) fn decode(log_id: LogId, bytes: &[u8]) -> Result<Vec<SkippedRange>, FormatError> {
    let (found_id, body) = small_file::decode(Kind::Skipped, bytes)?;
    if found_id != log_id {
        return Err(FormatError::broken(format!("it belongs to log {found_id}, this is log {log_id}")));
    }
    let mut ranges = Vec::new();
    sections::for_each(body, |tag, value| {
        if tag == TAG_RANGE {
            ranges.push(decode_range(value)?);
        }
        Ok(tag == TAG_RANGE)
    })?;
    Ok(ranges)
}

fn decode_range(mut value: &[u8]) -> Result<SkippedRange, FormatError> {
    if value.len() < RANGE_BYTES {
        return Err(FormatError::broken("a skipped range is cut off"));
    }
    let (base, nonce) = (value.get_u64_le(), value.get_u64_le());
    let (from_at, to_at) = (value.get_u64_le(), value.get_u64_le());
    let (first, after) = (value.get_u64_le(), value.get_u64_le());
    if to_at <= from_at || after < first {
        let what = format!("a skipped range from byte {from_at} to {to_at}, offset {first} to {after}");
        return Err(FormatError::broken(what));
    }
    let (from, to) = (Place { at: from_at, offset: first }, Place { at: to_at, offset: after });
    Ok(SkippedRange { base, nonce, from, to, skipped_at: Timestamp(value.get_u64_le()) })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(3));

    fn range(from: u64, to: u64) -> SkippedRange {
        SkippedRange {
            base: 10,
            nonce: 7,
            from: Place { at: from, offset: 12 },
            to: Place { at: to, offset: 14 },
            skipped_at: Timestamp(9),
        }
    }

    /// What goes in comes out, for this log only; every flipped bit and cut is found, and so is a range that ends
    /// before it begins.
    #[test]
    fn round_trip_and_damage() {
        let ranges = [range(5000, 6000), range(4096, 4500)];
        let bytes = encode(LOG, &ranges);
        assert_eq!(decode(LOG, &bytes).unwrap(), ranges);
        assert!(decode(LogId(Uuid::from_u128(4)), &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(LOG, &damaged), Err(FormatError::Broken(_))), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(LOG, &bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(LOG, &encode(LOG, &[range(5000, 5000)])).is_err());
    }

    /// A range counts for the segment that it names, from its first byte to before its last.
    #[test]
    fn ranges_of_a_segment() {
        let all = [range(5000, 6000), range(4096, 4500), SkippedRange { nonce: 8, ..range(4500, 5000) }];
        let skips = Skips::of(&all, 10, 7);
        let covering = |at| skips.covering(at).map(|range| range.to.at);
        assert_eq!(
            [4095, 4096, 4499, 4500, 5000, 6000].map(covering),
            [None, Some(4500), Some(4500), None, Some(6000), None]
        );
        assert_eq!([0, 4096, 4500, 5000].map(|at| skips.limit(at, 9000)), [4096, 5000, 5000, 9000]);
        assert!(Skips::of(&all, 11, 7).covering(4096).is_none());
    }
}
