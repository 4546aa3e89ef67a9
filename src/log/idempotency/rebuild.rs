//! Collects the keys of a log that is opened: from the blocks of the segments that reach into the window, and from the
//! open segment, which recovery has read anyway. A segment whose block is missing or rotten is scanned; no other is.

use std::{sync::Arc, time::Duration};

use plugin_api::identity::Timestamp;

use super::{
    block::{self, KEY_BYTES, Place},
    key::{Accepted, Key, ShortDigest},
    table::{Bounds, Table},
};
use crate::log::{
    block::{self as frames, Place as Start, Source as FrameSource},
    directory::{Directory, at},
    files::Access,
    interface::{Frame, LogError},
    segment::{Active, Segment},
    segment_footer::Footer,
    segment_header::HEADER_BYTES,
};

/// A sealed segment, as much as is needed to find its keys.
#[derive(Debug)]
pub(in crate::log) struct Source {
    segment: Arc<Segment>,
    /// The times of its first and of its last frame; `None` where the footer is rotten.
    times: Option<(u64, u64)>,
    keys: Option<Place>,
}

/// A segment whose keys may be needed.
struct Candidate<'a> {
    segment: &'a Arc<Segment>,
    times: Option<(u64, u64)>,
    /// How far the clock advanced from its first frame to its last in microseconds, at least.
    elapsed: u64,
    /// How many keys it has, as far as that is known.
    keys: usize,
    from: From<'a>,
}

/// Where a segment's keys are.
enum From<'a> {
    Memory(&'a [u8]),
    Block(Place),
    /// In its frames.
    Frames,
}

struct Rebuilding<'a> {
    directory: &'a Directory,
    table: Table,
    alerts: Vec<String>,
}

impl Source {
    /// A sealed segment with its footer, if that is sound.
    pub(in crate::log) fn new(segment: Arc<Segment>, footer: Option<&Footer>) -> Self {
        let times = footer.map(|footer| (footer.summary.first_time, footer.summary.last_time));
        Self { segment, times, keys: footer.and_then(|footer| footer.keys) }
    }
}

impl Accepted {
    /// What there is to remember of a frame, if it has a key.
    pub(in crate::log) fn of(frame: &Frame) -> Option<Self> {
        let digest = &frame.attributes.idempotency.as_ref()?.digest;
        Some(Self {
            key: Key::of(&frame.attributes, &frame.payload)?,
            digest: ShortDigest::of(digest),
            offset: frame.position.offset,
            version: frame.version.0,
        })
    }
}

/// The table of a log with these sealed segments, oldest first, and this open one, at this moment; and what an operator
/// must know.
pub(in crate::log) fn rebuild(
    directory: &Directory,
    sealed: &[Source],
    active: Option<&Active>,
    bounds: Bounds,
    now: Timestamp,
) -> Result<(Table, Vec<String>), LogError> {
    let mut rebuilding = Rebuilding { directory, table: Table::new(bounds), alerts: Vec::new() };
    let (needed, is_whole) = find_needed(sealed, active, bounds, now);
    if let (Some(oldest), false) = (needed.last(), is_whole) {
        // What lies before is gone, or too much.
        if let Some((first_time, _)) = oldest.times {
            rebuilding.table.advance(Timestamp(first_time));
        }
        rebuilding.table.forget_before_now();
    }
    for candidate in needed.iter().rev() {
        rebuilding.read(candidate)?;
    }
    let Rebuilding { mut table, alerts, .. } = rebuilding;
    table.advance(now);
    Ok((table, alerts))
}

/// Goes back from the log's end as far as the window may reach, by the times in the footers; returns what is needed,
/// newest first, and whether there is nothing within the window before that.
fn find_needed<'a>(
    sealed: &'a [Source],
    active: Option<&'a Active>,
    bounds: Bounds,
    now: Timestamp,
) -> (Vec<Candidate<'a>>, bool) {
    let candidates =
        active.map(Candidate::open).into_iter().chain(sealed.iter().rev().map(Candidate::sealed));
    let (mut needed, mut keys) = (Vec::<Candidate<'a>>::new(), 0);
    // How far the clock advanced from here to the end, at least, and where it stood here. As in the table, what it was
    // set back counts for nothing.
    let (mut age, mut later) = (Duration::ZERO, now.0);
    for candidate in candidates {
        let (first, last) = candidate.times.unwrap_or((later, later));
        age += Duration::from_micros(later.saturating_sub(last));
        if age > bounds.window + Table::TICK {
            return (needed, true);
        }
        if keys >= bounds.keys_max {
            return (needed, false);
        }
        age += Duration::from_micros(candidate.elapsed);
        keys += candidate.keys;
        later = first;
        needed.push(candidate);
    }
    let is_whole = needed.last().is_none_or(|oldest| oldest.segment.base == 0);
    (needed, is_whole)
}

impl<'a> Candidate<'a> {
    fn sealed(source: &'a Source) -> Self {
        let Source { segment, times, keys } = source;
        match keys {
            Some(place) => Self {
                segment,
                times: *times,
                elapsed: place.elapsed,
                keys: place.length / KEY_BYTES,
                from: From::Block(*place),
            },
            None => {
                let elapsed = times.map_or(0, |(first, last)| last.saturating_sub(first));
                Self { segment, times: *times, elapsed, keys: 0, from: From::Frames }
            }
        }
    }

    fn open(active: &'a Active) -> Self {
        let block = active.keys.bytes();
        Self {
            segment: &active.segment,
            times: active.times(),
            elapsed: active.keys.elapsed(),
            keys: block.map_or(0, |block| block.len() / KEY_BYTES),
            from: block.map_or(From::Frames, From::Memory),
        }
    }
}

impl Rebuilding<'_> {
    fn read(&mut self, candidate: &Candidate<'_>) -> Result<(), LogError> {
        let segment = candidate.segment;
        let place = match candidate.from {
            From::Memory(block) => {
                self.take_block(candidate, block);
                return Ok(());
            }
            From::Block(place) => place,
            From::Frames => return self.scan(segment),
        };
        let file = self.directory.files.open(&segment.path, Access::Read).map_err(at(&segment.path))?;
        match place.read(&*file, segment.nonce).map_err(at(&segment.path))? {
            Ok(block) => {
                self.take_block(candidate, &block);
                Ok(())
            }
            Err(error) => {
                let path = segment.path.display();
                self.alerts.push(format!("{path}: reading idempotency keys from the frames: {error}"));
                self.scan(segment)
            }
        }
    }

    /// The clock goes as it did while the segment was written, as the block says, set back or not.
    fn take_block(&mut self, candidate: &Candidate<'_>, block: &[u8]) {
        let Some((first, last)) = candidate.times.map(|(first, last)| (Timestamp(first), Timestamp(last)))
        else {
            return;
        };
        self.table.advance(first);
        let mut before = 0;
        for (accepted, elapsed) in block::decode(candidate.segment.base, block) {
            self.table.advance_by(elapsed.saturating_sub(before), first);
            self.table.insert(&accepted);
            before = elapsed;
        }
        self.table.advance_by(candidate.elapsed.saturating_sub(before), last);
    }

    fn scan(&mut self, segment: &Segment) -> Result<(), LogError> {
        let file = self.directory.files.open(&segment.path, Access::Read).map_err(at(&segment.path))?;
        let limit = file.size().map_err(at(&segment.path))?;
        let (nonce, log_id, until) =
            (segment.nonce, self.directory.log_id, segment.end().unwrap_or(u64::MAX));
        let mut start = Start { at: HEADER_BYTES as u64, offset: segment.base };
        loop {
            if let Some(range) = segment.skips.covering(start.at) {
                // What keys lay there is not known any more.
                self.table.forget_before_now();
                start = range.to;
                continue;
            }
            let limit = segment.skips.limit(start.at, limit);
            let source = FrameSource { file: &*file, nonce, log_id, limit, until };
            let read = frames::read(source, start).map_err(at(&segment.path))?;
            for found in &read.found {
                self.table.advance(found.frame.accepted_at);
                if let Some(accepted) = Accepted::of(&found.frame) {
                    self.table.insert(&accepted);
                }
            }
            start = read.next;
            if read.found.is_empty() || read.fault.is_some() {
                if let (Some(_), Some(fault)) = (segment.end(), read.fault) {
                    let path = segment.path.display();
                    let what = "idempotency keys of the requests behind it are not known";
                    self.alerts.push(format!("{path}: rotten at byte {}: {fault}; {what}", start.at));
                    self.table.forget_before_now();
                }
                return Ok(());
            }
        }
    }
}
