//! What a log is opened with, what opening it reports, and how large segments and frames may be.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use plugin_api::identity::{LogId, Position};

use super::{
    directory::halted,
    frame::FRAME_BYTES_MAX,
    idempotency,
    interface::{BacklogLimit, LogError, Retention},
    segment_footer,
    segment_header::HEADER_BYTES,
};

/// At least so many segments fit into the disk budget.
const SEGMENTS_MIN: u64 = 4;

/// The smallest segment, in bytes.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;

/// Where a log lies and how much it may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The log's own directory; created if it is missing.
    pub dir: PathBuf,
    /// The most that segments take on disk, in bytes; at least 64 KiB.
    pub disk_bytes_max: u64,
    /// Size of a segment in bytes, made smaller where fewer than four would fit into the budget. A frame is at most
    /// as large as a segment's content.
    pub segment_bytes: u64,
    /// How long what was delivered is kept.
    pub retention: Retention,
    /// The configured destinations, and how far each may fall behind: nothing is given back to the disk before each of
    /// them has subscribed, nor as long as nobody has.
    pub destinations: BTreeMap<String, BacklogLimit>,
}

impl Settings {
    /// For whoever repairs a stopped agent's log: nothing grows beyond what is there, and nothing is given back.
    #[must_use]
    pub fn repair(dir: PathBuf) -> Self {
        Self {
            dir,
            disk_bytes_max: u64::MAX,
            segment_bytes: SEGMENT_BYTES_MIN,
            retention: Retention { age: Duration::MAX, bytes_max: u64::MAX },
            destinations: BTreeMap::new(),
        }
    }
}

/// What opening a log found and did; for the agent's log and for status.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// Which log it is.
    pub log_id: LogId,
    /// The directory was new.
    pub created: bool,
    /// Segments that were there.
    pub segments: usize,
    /// The oldest position.
    pub start: Position,
    /// The position after the last durable record.
    pub end: Position,
    /// Bytes of a torn write that were cut; nobody had an answer for them.
    pub torn_bytes: u64,
    /// Half-made files that a crash left and that were removed.
    pub temporary_files: usize,
    /// How far versions are ahead of the clock; more than a minute means that the clock was wrong.
    pub versions_ahead: Duration,
    /// How many requests are remembered by their idempotency keys.
    pub keys: usize,
    /// How far back a repeat is recognised for certain.
    pub keys_reach: Duration,
    /// What an operator must know.
    pub alerts: Vec<String>,
}

/// The size of new segments: as asked for, made smaller so that enough of them fit into the budget.
pub(super) fn fit_segments(dir: &Path, segment_bytes: u64, disk_bytes_max: u64) -> Result<u64, LogError> {
    let bytes = segment_bytes.min(disk_bytes_max / SEGMENTS_MIN) / 4096 * 4096;
    if bytes >= SEGMENT_BYTES_MIN {
        return Ok(bytes);
    }
    let what = format!(
        "a disk budget of {disk_bytes_max} bytes makes segments of {bytes} bytes, the least is {SEGMENT_BYTES_MIN} \
         for a budget of {}",
        SEGMENT_BYTES_MIN * SEGMENTS_MIN
    );
    Err(halted(dir, what))
}

/// What a frame may take so that it fits into an empty segment.
pub(super) fn frame_bytes_max(segment_bytes: u64) -> usize {
    let footer = segment_footer::size_with(1, segment_footer::count_bytes(256));
    let around = HEADER_BYTES + idempotency::KEY_BYTES + footer;
    usize::try_from(segment_bytes).map_or(FRAME_BYTES_MAX, |bytes| FRAME_BYTES_MAX.min(bytes - around))
}
