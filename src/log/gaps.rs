//! The gaps of a destination and the bytes of their file: what it will never receive, because it left the log before.
//!
//! At most the last gap is open: it grows with every segment that goes, and ends when the destination goes on. It is
//! durable before the segment goes, and counts only what the frozen cursor does not cover.

use bytes::{Buf, BufMut};
use plugin_api::identity::{LogId, Position, Timestamp};

use super::{
    census,
    interface::{Gap, GapCause, Progress, Totals},
    sections::{self, FormatError, MUST_UNDERSTAND},
    segment_footer::{Counts, decode_counts, put_counts},
    small_file::{self, Kind},
};

const TAG_DESTINATION: u16 = 1 | MUST_UNDERSTAND;
const TAG_GAP: u16 = 2;

const CAUSE_BACKLOG_FULL: u8 = 1;
const CAUSE_REMOVED: u8 = 2;
const CAUSE_RESET: u8 = 3;

/// The gap that is still growing.
pub(super) fn open_gap(gaps: &mut [Gap]) -> Option<&mut Gap> {
    gaps.last_mut().filter(|gap| gap.closed_at.is_none())
}

/// Whether the destination receives nothing until an operator lets it go on.
pub(super) fn is_detached(gaps: &[Gap]) -> bool {
    gaps.last().is_some_and(|gap| gap.closed_at.is_none() && gap.cause == GapCause::BacklogFull)
}

/// An empty gap that begins at `from`.
pub(super) fn opened(from: u64, cause: GapCause, now: Timestamp) -> Gap {
    let from = Position { partition: 0, offset: from };
    Gap { from, to: from, records: 0, by_index: Counts::new(), cause, opened_at: now, closed_at: None }
}

/// Adds what lies between the gap's end and `to`.
pub(super) fn extend(gap: &mut Gap, to: u64, counts: Counts) {
    gap.to.offset = gap.to.offset.max(to);
    for (index, count) in counts {
        gap.records += count;
        *gap.by_index.entry(index).or_default() += count;
    }
}

/// Goes on at a later position: what lies before and is not settled becomes a gap, and is counted as one.
pub(super) fn skip_to(progress: Progress, to: Position) -> Progress {
    let missed = census::missed(&progress, progress.next.offset, to.offset);
    let Progress { mut completed, totals, .. } = progress;
    completed.retain(|(_, end)| *end > to.offset);
    let mut next = to;
    if let Some((_, end)) = completed.first().copied().filter(|(begin, _)| *begin <= to.offset) {
        next.offset = end;
        completed.remove(0);
    }
    Progress { next, completed, totals: Totals { gap: totals.gap + missed, ..totals }, ..progress }
}

/// Where a destination goes on whose gap was closed, though its cursor may not have followed: the gap's end counts.
pub(super) fn pass(progress: Progress, gaps: &[Gap]) -> Progress {
    let closed = gaps.iter().rev().find(|gap| gap.closed_at.is_some());
    match closed.filter(|gap| progress.next < gap.to) {
        Some(gap) => skip_to(progress, gap.to),
        None => progress,
    }
}

pub(super) fn encode(log_id: LogId, destination: &str, gaps: &[Gap]) -> Vec<u8> {
    small_file::encode(Kind::Gaps, log_id, |out| {
        sections::put(out, TAG_DESTINATION, destination.as_bytes());
        for Gap { from, to, records, by_index, cause, opened_at, closed_at } in gaps {
            sections::put_with(out, TAG_GAP, |out| {
                out.put_u32_le(from.partition);
                out.put_u64_le(from.offset);
                out.put_u64_le(to.offset);
                out.put_u64_le(*records);
                out.put_u64_le(opened_at.0);
                out.put_u64_le(closed_at.map_or(0, |time| time.0));
                out.put_u8(match cause {
                    GapCause::BacklogFull => CAUSE_BACKLOG_FULL,
                    GapCause::Removed => CAUSE_REMOVED,
                    GapCause::Reset => CAUSE_RESET,
                });
                put_counts(out, by_index);
            });
        }
    })
}

/// Reads the gaps of a destination; they must be this log's and this destination's.
pub(super) fn decode(log_id: LogId, destination: &str, bytes: &[u8]) -> Result<Vec<Gap>, FormatError> {
    let (found_id, body) = small_file::decode(Kind::Gaps, bytes)?;
    if found_id != log_id {
        return Err(FormatError::broken(format!("it belongs to log {found_id}, this is log {log_id}")));
    }
    let mut gaps = Vec::new();
    sections::for_each(body, |tag, value| {
        match tag {
            TAG_DESTINATION if value != destination.as_bytes() => {
                let name = String::from_utf8_lossy(value);
                return Err(FormatError::broken(format!("it belongs to destination {name:?}")));
            }
            TAG_DESTINATION => {}
            TAG_GAP => gaps.push(decode_gap(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(gaps)
}

fn decode_gap(mut value: &[u8]) -> Result<Gap, FormatError> {
    let cut = |_| FormatError::broken("a gap is cut off");
    let partition = value.try_get_u32_le().map_err(cut)?;
    let mut number = || value.try_get_u64_le().map_err(cut);
    let (from, to, records) = (number()?, number()?, number()?);
    let (opened_at, closed_at) = (Timestamp(number()?), number()?);
    let cause = match value.try_get_u8().map_err(cut)? {
        CAUSE_BACKLOG_FULL => GapCause::BacklogFull,
        CAUSE_REMOVED => GapCause::Removed,
        CAUSE_RESET => GapCause::Reset,
        other => return Err(FormatError::newer(format_args!("a gap has the cause {other}"))),
    };
    Ok(Gap {
        from: Position { partition, offset: from },
        to: Position { partition, offset: to },
        records,
        by_index: decode_counts(value)?,
        cause,
        opened_at,
        closed_at: (closed_at > 0).then_some(Timestamp(closed_at)),
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(3));

    /// What goes in comes out, for this log and this destination only; every flipped bit and cut is found.
    #[test]
    fn round_trip_and_damage() {
        let mut closed = opened(10, GapCause::BacklogFull, Timestamp(7));
        extend(&mut closed, 30, [("products".into(), 12), ("".into(), 3)].into());
        extend(&mut closed, 40, [("products".into(), 5)].into());
        assert_eq!((closed.records, closed.by_index["products"], closed.to.offset), (20, 17, 40));
        closed.closed_at = Some(Timestamp(9));
        let gaps = vec![closed, opened(50, GapCause::Removed, Timestamp(11))];
        let bytes = encode(LOG, "search", &gaps);
        assert_eq!(decode(LOG, "search", &bytes).unwrap(), gaps);
        assert!(decode(LogId(Uuid::from_u128(4)), "search", &bytes).is_err());
        assert!(decode(LOG, "mirror", &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(LOG, "search", &damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(LOG, "search", &bytes[..length]).is_err(), "{length}");
        }
    }
}
