//! How many records of which index lie in a range of a segment: from its footer where the whole segment counts, else
//! from its frames.

use std::{io, sync::Arc};

use plugin_api::identity::LogId;

use super::{
    block::{self, Place, Source},
    files::{Access, FileSystem},
    interface::Progress,
    segment::{self, Segment},
    segment_footer::Counts,
    segment_header::HEADER_BYTES,
};
use crate::record::payload_index;

/// Counts what of a segment, from the cursor on and before `to`, is not settled. What cannot be read counts for the
/// index `""`: it is missed all the same.
pub(super) fn unsettled(
    files: &dyn FileSystem,
    log_id: LogId,
    segment: &Arc<Segment>,
    progress: &Progress,
    to: u64,
) -> io::Result<Counts> {
    let end = segment.end().map_or(to, |end| end.min(to));
    let from = progress.next.offset.max(segment.base);
    let file = files.open(&segment.path, Access::Read)?;
    let whole = from == segment.base && segment.end() == Some(end);
    if whole
        && !progress.completed.iter().any(|(first, after)| *first < end && *after > from)
        && let Ok(footer) = segment::read_footer(&*file, segment.nonce)?
        && footer.counts.values().sum::<u64>() == end - from
    {
        return Ok(footer.counts);
    }
    let mut counts = Counts::new();
    let mut place = Place { at: HEADER_BYTES as u64, offset: segment.base };
    if let Ok(sought) = segment.seek(&*file, from) {
        place = sought;
    }
    let size = file.size()?;
    while place.offset < end {
        if let Some(range) = segment.skips.covering(place.at) {
            let missed = missed(progress, place.offset.max(from), range.to.offset.min(end));
            if missed > 0 {
                *counts.entry("".into()).or_default() += missed;
            }
            place = range.to;
            continue;
        }
        let limit = segment.skips.limit(place.at, size);
        let source = Source { file: &*file, nonce: segment.nonce, log_id, limit, until: end };
        let block = block::read(source, place)?;
        for found in &block.found {
            let first = found.frame.position.offset;
            let missed = missed(progress, first.max(from), (first + u64::from(found.frame.records)).min(end));
            if missed > 0 {
                let index = payload_index(&found.frame.payload).unwrap_or_default();
                *counts.entry(index.into()).or_default() += missed;
            }
        }
        if block.found.is_empty() {
            let missed = missed(progress, place.offset.max(from), end);
            *counts.entry("".into()).or_default() += missed;
            break;
        }
        place = block.next;
    }
    Ok(counts)
}

/// Records of a range that are not settled.
pub(super) fn missed(progress: &Progress, from: u64, to: u64) -> u64 {
    let settled = |(first, after): &(u64, u64)| to.min(*after).saturating_sub(from.max(*first));
    to.saturating_sub(from).saturating_sub(progress.completed.iter().map(settled).sum())
}
