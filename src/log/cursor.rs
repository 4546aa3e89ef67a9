//! The bytes of a cursor's file: how far one destination is. The destination's name is inside, so that a file given
//! another name is found out.

use bytes::{Buf, BufMut};
use plugin_api::{
    identity::{LogId, Position},
    verdict::Confirmation,
};

use super::{
    interface::{Progress, Totals},
    sections::{self, FormatError, MUST_UNDERSTAND},
    small_file::{self, Kind},
};

const TAG_DESTINATION: u16 = 1 | MUST_UNDERSTAND;
const TAG_NEXT: u16 = 2 | MUST_UNDERSTAND;
const TAG_TOTALS: u16 = 3;
const TAG_COMPLETED: u16 = 4;
const TAG_CONFIRMATION: u16 = 5;
const TAG_VISIBLE: u16 = 6;

const RANGE_BYTES: usize = 16;

const EXTENSION: &str = ".cursor";
const GAPS_EXTENSION: &str = ".gaps";

/// The file name of a destination's cursor: everything but letters, digits, `_` and `-` percent-encoded.
pub(super) fn file_name(destination: &str) -> String {
    encoded(destination) + EXTENSION
}

/// The file name of a destination's gaps, beside its cursor.
pub(super) fn gaps_file_name(destination: &str) -> String {
    encoded(destination) + GAPS_EXTENSION
}

fn encoded(destination: &str) -> String {
    let mut name = String::with_capacity(destination.len() + EXTENSION.len());
    for byte in destination.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The destination whose cursor has this file name; `None` for other files.
pub(super) fn destination_of(file_name: &str) -> Option<String> {
    let mut rest = file_name.strip_suffix(EXTENSION)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((plain, encoded)) = rest.split_once('%') {
        name.extend_from_slice(plain.as_bytes());
        name.push(u8::from_str_radix(encoded.get(..2)?, 16).ok()?);
        rest = &encoded[2..];
    }
    name.extend_from_slice(rest.as_bytes());
    String::from_utf8(name).ok()
}

pub(super) fn encode(log_id: LogId, destination: &str, progress: &Progress) -> Vec<u8> {
    let Progress { next, completed, totals, confirmations, visible } = progress;
    small_file::encode(Kind::Cursor, log_id, |out| {
        sections::put(out, TAG_DESTINATION, destination.as_bytes());
        sections::put_with(out, TAG_NEXT, |out| put_position(out, next));
        sections::put_with(out, TAG_TOTALS, |out| {
            let Totals { written, superseded, skipped, dead_lettered, gap } = *totals;
            for total in [written, superseded, skipped, dead_lettered, gap] {
                out.put_u64_le(total);
            }
        });
        sections::put_with(out, TAG_COMPLETED, |out| {
            for (from, to) in completed {
                out.put_u64_le(*from);
                out.put_u64_le(*to);
            }
        });
        for Confirmation { index, handle } in confirmations {
            sections::put_with(out, TAG_CONFIRMATION, |out| {
                sections::put(out, 0, index.as_bytes());
                out.put_slice(handle.as_bytes());
            });
        }
        if let Some(visible) = visible {
            sections::put_with(out, TAG_VISIBLE, |out| put_position(out, visible));
        }
    })
}

/// Reads a cursor; it must be this log's and this destination's.
pub(super) fn decode(log_id: LogId, destination: &str, bytes: &[u8]) -> Result<Progress, FormatError> {
    let (found_id, body) = small_file::decode(Kind::Cursor, bytes)?;
    if found_id != log_id {
        return Err(FormatError::broken(format!("it belongs to log {found_id}, this is log {log_id}")));
    }
    let (mut progress, mut next) = (Progress::default(), None);
    sections::for_each(body, |tag, value| {
        match tag {
            TAG_DESTINATION if value != destination.as_bytes() => {
                let name = String::from_utf8_lossy(value);
                return Err(FormatError::broken(format!("it belongs to destination {name:?}")));
            }
            TAG_DESTINATION => {}
            TAG_NEXT => next = Some(decode_position(value)?),
            TAG_TOTALS => progress.totals = decode_totals(value)?,
            TAG_COMPLETED => {
                let range = |mut range: &[u8]| (range.get_u64_le(), range.get_u64_le());
                progress.completed = value.chunks_exact(RANGE_BYTES).map(range).collect();
            }
            TAG_VISIBLE => progress.visible = Some(decode_position(value)?),
            TAG_CONFIRMATION => progress.confirmations.push(decode_confirmation(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    progress.next = next.ok_or_else(|| FormatError::broken("it has no position"))?;
    match check(&progress) {
        Ok(()) => Ok(progress),
        Err(what) => Err(FormatError::Broken(what)),
    }
}

/// Ranges are not empty, ascending, apart from each other and from `next`.
pub(super) fn check(progress: &Progress) -> Result<(), String> {
    let mut after = progress.next.offset;
    for (from, to) in &progress.completed {
        if *from <= after || to <= from {
            return Err(format!("completed range {from}..{to} after {after}"));
        }
        after = *to;
    }
    Ok(())
}

fn put_position(out: &mut Vec<u8>, position: &Position) {
    out.put_u32_le(position.partition);
    out.put_u64_le(position.offset);
}

fn decode_position(mut value: &[u8]) -> Result<Position, FormatError> {
    let cut = |_| FormatError::broken("a position is cut off");
    Ok(Position {
        partition: value.try_get_u32_le().map_err(cut)?,
        offset: value.try_get_u64_le().map_err(cut)?,
    })
}

fn decode_totals(mut value: &[u8]) -> Result<Totals, FormatError> {
    let mut total = || value.try_get_u64_le().map_err(|_| FormatError::broken("its totals are cut off"));
    Ok(Totals {
        written: total()?,
        superseded: total()?,
        skipped: total()?,
        dead_lettered: total()?,
        gap: total()?,
    })
}

fn decode_confirmation(value: &[u8]) -> Result<Confirmation, FormatError> {
    let cut = || FormatError::broken("a confirmation is cut off");
    let (length, rest) = value.get(2..).and_then(|rest| rest.split_first_chunk()).ok_or_else(cut)?;
    let (index, handle) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
    Ok(Confirmation { index: sections::text(index)?.into(), handle: sections::text(handle)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(3));

    fn progress() -> impl Strategy<Value = Progress> {
        let ranges = proptest::collection::vec((1..100u64, 1..100u64), 0..5);
        let confirmations = proptest::collection::vec((".{0,10}", ".{0,10}"), 0..3);
        (any::<u32>(), any::<[u64; 5]>(), ranges, confirmations).prop_map(|(next, totals, ranges, pairs)| {
            let mut after = u64::from(next);
            let completed = ranges.into_iter().map(|(gap, length)| {
                let from = after + gap;
                after = from + length;
                (from, after)
            });
            let [written, superseded, skipped, dead_lettered, gap] = totals;
            Progress {
                next: Position { partition: 0, offset: next.into() },
                visible: written.is_multiple_of(2).then_some(Position { partition: 0, offset: written }),
                completed: completed.collect(),
                totals: Totals { written, superseded, skipped, dead_lettered, gap },
                confirmations: pairs
                    .into_iter()
                    .map(|(index, handle)| Confirmation { index: index.into(), handle })
                    .collect(),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What goes in comes out, for this log and this destination only; every flipped bit and cut is found.
        #[test]
        fn round_trip_and_damage(progress in progress()) {
            let bytes = encode(LOG, "search", &progress);
            prop_assert_eq!(decode(LOG, "search", &bytes).unwrap(), progress);
            prop_assert!(decode(LogId(Uuid::from_u128(4)), "search", &bytes).is_err());
            prop_assert!(decode(LOG, "mirror", &bytes).is_err());
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(decode(LOG, "search", &damaged).is_err(), "bit {}", bit);
            }
            for length in 0..bytes.len() {
                prop_assert!(decode(LOG, "search", &bytes[..length]).is_err());
            }
        }
    }

    /// Ranges that overlap, touch or lie before the position are no cursor.
    #[test]
    fn impossible_ranges() {
        let next = Position { partition: 0, offset: 10 };
        for completed in [vec![(9, 12)], vec![(10, 12)], vec![(12, 12)], vec![(12, 14), (14, 15)]] {
            let progress = Progress { next, completed, ..Progress::default() };
            assert!(decode(LOG, "a", &encode(LOG, "a", &progress)).is_err(), "{progress:?}");
        }
    }

    /// No name leaves the directory or collides with another one's.
    #[test]
    fn file_names() {
        assert_eq!(file_name("search-2_a"), "search-2_a.cursor");
        assert_eq!(file_name("../x.y"), "%2E%2E%2Fx%2Ey.cursor");
        assert_eq!(file_name("ä%"), "%C3%A4%25.cursor");
        for name in ["search-2_a", "../x.y", "ä%", ""] {
            assert_eq!(destination_of(&file_name(name)).as_deref(), Some(name));
        }
        for other in ["search", "%4.cursor", "%é.cursor", "%zz.cursor", "%FF.cursor"] {
            assert_eq!(destination_of(other), None, "{other}");
        }
    }
}
