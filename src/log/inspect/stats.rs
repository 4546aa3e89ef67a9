//! What a stopped log holds, in numbers.

use std::{collections::BTreeMap, io, ops::AddAssign};

use plugin_api::identity::{LogId, Position, Timestamp, Version};

use super::{
    stopped::{Sighted, StoppedLog},
    walk::{Step, Walk},
};
use crate::{
    log::{
        block::Found,
        directory::at,
        interface::{Gap, LogError, Progress},
        segment_footer::Footer,
        segment_header::HEADER_BYTES,
    },
    record::payload_index,
};

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Footers, and the frames of segments without one: quick, and silent about callers.
    Footers,
    /// Every frame.
    Frames,
}

/// A log in numbers.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Which log.
    pub log_id: LogId,
    /// Where the numbers come from.
    pub source: Source,
    /// What lies on disk.
    pub segments: Segments,
    /// Requests.
    pub frames: u64,
    /// Records, those that cannot be read included.
    pub records: u64,
    /// Of these, the ones that an operator has given up.
    pub given_up: u64,
    /// Of these, the ones that are rotten; known only of the frames that were read.
    pub rotten: u64,
    /// Of these, the ones in segments that are not there.
    pub missing: u64,
    /// The oldest position.
    pub start: Position,
    /// The position after the last record.
    pub end: Position,
    /// The last record's version.
    pub last_version: Version,
    /// When the oldest request was accepted.
    pub first_time: Option<Timestamp>,
    /// When the newest request was accepted.
    pub last_time: Option<Timestamp>,
    /// By index.
    pub by_index: BTreeMap<String, Counts>,
    /// By caller, if every frame was read; under no name those that are not known.
    pub by_caller: BTreeMap<String, Counts>,
    /// Every destination that is listed or has a cursor, by name.
    pub cursors: Vec<Cursor>,
}

/// The segments' files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// How many there are.
    pub count: u64,
    /// Bytes that they take, with the space that is reserved in the newest.
    pub bytes: u64,
    /// Bytes of their frames.
    pub frame_bytes: u64,
}

/// Records, and what only their frames tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// Requests and the bytes of their payloads, if every frame was read.
    pub requests: Option<Requests>,
}

/// Requests and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// How many.
    pub count: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// How far a destination is.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Its name.
    pub destination: String,
    /// The cursor, or why it cannot be used.
    pub progress: Result<Progress, String>,
    /// Records from the cursor on that are not settled.
    pub lag_records: u64,
    /// Bytes of the frames from the cursor on.
    pub lag_bytes: u64,
    /// What it has missed; an open gap comes last.
    pub gaps: Vec<Gap>,
}

/// What was counted on the way through the segments.
struct Counted {
    source: Source,
    frames: u64,
    given_up: u64,
    rotten: u64,
    last_version: u64,
    times: Option<(u64, u64)>,
    by_index: BTreeMap<String, Counts>,
    by_caller: BTreeMap<String, Counts>,
    /// Where the frames of each segment end.
    ends: Vec<(u64, u64)>,
}

impl StoppedLog {
    /// Records between the end of each segment and the beginning of the next one.
    fn missing(&self, ends: &[(u64, u64)]) -> u64 {
        let next = self.segments.iter().skip(1).map(|segment| segment.base);
        next.zip(ends).map(|(base, (_, end))| base.saturating_sub(*end)).sum()
    }

    /// Counts what the log holds; calls `read` with the number of bytes that were read since its last call.
    ///
    /// # Errors
    /// If the operating system cannot read.
    pub fn stats(&self, source: Source, read: &mut dyn FnMut(u64)) -> Result<Stats, LogError> {
        let mut counted = Counted::new(source);
        for segment in &self.segments {
            match &segment.footer {
                Ok(footer) if source == Source::Footers && footer.counts_all(segment.base) => {
                    let summary = footer.summary;
                    counted.frames += summary.frames;
                    counted.last_version = summary.last_version;
                    counted.span(summary.first_time, summary.last_time);
                    counted.ends.push((segment.limit, summary.end));
                    for (index, records) in &footer.counts {
                        add(&mut counted.by_index, index, Counts { records: *records, requests: None });
                    }
                    read(segment.size);
                }
                _ => counted.walk(self, segment, read).map_err(at(&segment.path))?,
            }
        }
        let end = counted.ends.last().map_or(0, |(_, end)| *end);
        let frame_bytes = counted.ends.iter().map(|(at, _)| at - HEADER_BYTES as u64).sum();
        let mut cursors = Vec::with_capacity(self.cursors.len());
        for (destination, progress) in &self.cursors {
            let progress = progress.clone().map_err(|error| error.to_string());
            // Without a cursor it begins at the oldest.
            let next = progress.as_ref().map_or(self.start(), |progress| progress.next.offset);
            let beyond = progress.iter().flat_map(|progress| &progress.completed);
            let beyond: u64 = beyond.map(|(from, to)| to - from).sum();
            let lag_records = end.saturating_sub(next).saturating_sub(beyond);
            let lag_bytes = self.bytes_from(next, &counted.ends)?;
            let gaps = self.gaps.get(destination).and_then(|gaps| gaps.clone().ok()).unwrap_or_default();
            cursors.push(Cursor { destination: destination.clone(), progress, lag_records, lag_bytes, gaps });
        }
        let time = |pick: fn((u64, u64)) -> u64| counted.times.map(pick).map(Timestamp);
        let position = |offset| Position { partition: 0, offset };
        Ok(Stats {
            log_id: self.log_id,
            source,
            segments: Segments { count: self.segments.len() as u64, bytes: self.bytes(), frame_bytes },
            frames: counted.frames,
            records: end - self.start().min(end),
            given_up: counted.given_up.max(self.given_up()),
            rotten: counted.rotten,
            missing: self.missing(&counted.ends),
            start: position(self.start()),
            end: position(end),
            last_version: Version(counted.last_version),
            first_time: time(|(first, _)| first),
            last_time: time(|(_, last)| last),
            by_index: counted.by_index,
            by_caller: counted.by_caller,
            cursors,
        })
    }

    /// Records in the ranges that were given up and whose segments are there.
    fn given_up(&self) -> u64 {
        let ranges = self.skipped.iter().flatten();
        let is_here = |base: u64, nonce: u64| {
            self.segments.iter().any(|segment| segment.base == base && segment.nonce == Some(nonce))
        };
        ranges
            .filter(|range| is_here(range.base, range.nonce))
            .map(|range| range.to.offset - range.from.offset)
            .sum()
    }

    /// Bytes of the frames from the one that holds `offset` on.
    fn bytes_from(&self, offset: u64, ends: &[(u64, u64)]) -> Result<u64, LogError> {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        let index = after.saturating_sub(1);
        let Some(segment) = self.segments.get(index) else { return Ok(0) };
        let frames = |(at, _): &(u64, u64)| at - HEADER_BYTES as u64;
        let behind: u64 = ends[index + 1..].iter().map(frames).sum();
        let (end_at, end) = ends[index];
        if offset >= end {
            return Ok(behind);
        }
        let place = place_of(segment, self.log_id, offset).map_err(at(&segment.path))?;
        Ok(behind + end_at.saturating_sub(place))
    }
}

impl Counted {
    fn new(source: Source) -> Self {
        let (by_index, by_caller) = Default::default();
        let (frames, given_up, rotten, last_version) = (0, 0, 0, 0);
        Self {
            source,
            frames,
            given_up,
            rotten,
            last_version,
            times: None,
            by_index,
            by_caller,
            ends: Vec::new(),
        }
    }

    fn walk(&mut self, log: &StoppedLog, segment: &Sighted, read: &mut dyn FnMut(u64)) -> io::Result<()> {
        let (mut end, mut passed) = ((HEADER_BYTES as u64, segment.base), 0);
        if let Some(mut walk) = Walk::whole(segment, log.log_id) {
            while let Some(step) = walk.next()? {
                match step {
                    Step::Frames(found) => found.iter().for_each(|found| self.count(found)),
                    Step::Skipped(range) => self.given_up += range.to.offset - range.from.offset,
                    Step::Rot(rot) => self.rotten += rot.to.offset - rot.from.offset,
                    Step::Torn { .. } | Step::Unusable { .. } => {}
                }
                end = (walk.place().at, walk.place().offset);
                read(end.0.min(segment.size) - passed);
                passed = end.0.min(segment.size);
            }
        }
        read(segment.size - passed);
        self.ends.push((end.0, segment.end().unwrap_or(end.1)));
        Ok(())
    }

    fn count(&mut self, found: &Found) {
        let frame = &found.frame;
        let records = u64::from(frame.records);
        self.frames += 1;
        self.last_version = frame.version.0 + records - 1;
        self.span(frame.accepted_at.0, frame.accepted_at.0);
        let bytes = frame.payload.len() as u64;
        let requests = (self.source == Source::Frames).then_some(Requests { count: 1, bytes });
        let counts = Counts { records, requests };
        // What is no payload halts its readers; it is `verify`'s to tell.
        let index = payload_index(&frame.payload).unwrap_or_default();
        add(&mut self.by_index, index, counts);
        if self.source == Source::Footers {
            // A part of the frames would pass for all of them.
            return;
        }
        add(&mut self.by_caller, frame.attributes.caller.as_deref().unwrap_or_default(), counts);
    }

    fn span(&mut self, first: u64, last: u64) {
        let (oldest, newest) = self.times.get_or_insert((first, last));
        (*oldest, *newest) = (first.min(*oldest), last.max(*newest));
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        if let (Some(requests), Some(more)) = (&mut self.requests, other.requests) {
            requests.count += more.count;
            requests.bytes += more.bytes;
        }
    }
}

impl Footer {
    /// Whether it counts every record of its segment by index: one that an agent of before wrote does not.
    fn counts_all(&self, base: u64) -> bool {
        self.counts.values().sum::<u64>() == self.summary.end.saturating_sub(base)
    }
}

/// Adds to what is counted under a name, without a copy of the name unless it is new.
fn add(counts: &mut BTreeMap<String, Counts>, name: &str, more: Counts) {
    match counts.get_mut(name) {
        Some(counts) => *counts += more,
        None => _ = counts.insert(name.to_owned(), more),
    }
}

/// The byte of the frame that holds `offset`.
fn place_of(segment: &Sighted, log_id: LogId, offset: u64) -> io::Result<u64> {
    let Some(mut walk) = Walk::from(segment, log_id, offset) else { return Ok(HEADER_BYTES as u64) };
    loop {
        let before = walk.place().at;
        match walk.next()? {
            Some(Step::Frames(found)) => {
                let holds =
                    |found: &&Found| found.frame.position.offset + u64::from(found.frame.records) > offset;
                if let Some(found) = found.iter().find(holds) {
                    return Ok(found.at);
                }
            }
            Some(_) if walk.place().offset > offset => return Ok(before),
            Some(_) => {}
            None => return Ok(walk.place().at),
        }
    }
}
