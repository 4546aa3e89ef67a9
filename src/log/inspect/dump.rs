//! The frames of a stopped log in order, from a position or a time on; what cannot be read is told in its place.

use std::{collections::VecDeque, io, path::PathBuf};

use plugin_api::identity::{Position, Timestamp};

use super::{
    stopped::StoppedLog,
    walk::{Rot, Step, Walk},
};
use crate::log::interface::{Frame, ReadError};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest position.
    Oldest,
    /// With the frame that holds this position, or the first one behind it.
    Position(Position),
    /// With the first frame that was accepted at this time or later.
    Time(Timestamp),
}

/// What lies next in the log.
#[derive(Clone, Debug)]
pub enum Dumped {
    /// A request.
    Frame(Frame),
    /// Records that cannot be read.
    Missing(Missing),
}

/// Records that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The segment.
    pub path: PathBuf,
    /// The first byte that is broken.
    pub at: u64,
    /// The first record that is missing.
    pub from: Position,
    /// The position after the last one.
    pub to: Position,
    /// An operator has given them up; else they are rotten and nobody has decided.
    pub given_up: bool,
    /// What is wrong.
    pub what: String,
}

/// Iterates over a stopped log. After an error it has ended.
#[derive(Debug)]
pub struct Frames<'a> {
    log: &'a StoppedLog,
    /// The segment that comes after the one that is walked.
    segment: usize,
    walk: Option<Walk<'a>>,
    /// Where the segment before it ended.
    reached: Option<u64>,
    /// Frames that end at or before this offset are passed over.
    from: u64,
    /// Until the first frame that is not older.
    since: Timestamp,
    found: VecDeque<Frame>,
}

impl StoppedLog {
    /// The log's frames from `start` on, read as they are asked for. Footers spare reading what lies before.
    #[must_use]
    pub fn frames(&self, start: Start) -> Frames<'_> {
        let segments = &self.segments;
        let (segment, from, since) = match start {
            Start::Oldest => (0, 0, Timestamp(0)),
            Start::Position(position) => {
                let after = segments.partition_point(|segment| segment.base <= position.offset);
                (after.saturating_sub(1), position.offset, Timestamp(0))
            }
            Start::Time(since) => {
                let ends_before = |footer: &super::stopped::Sighted| {
                    footer.footer.as_ref().is_ok_and(|footer| footer.summary.last_time < since.0)
                };
                // The clock may have been set back: the first segment that reaches the time counts.
                let first = segments.iter().position(|segment| !ends_before(segment));
                (first.unwrap_or(segments.len()), 0, since)
            }
        };
        let mut frames =
            Frames { log: self, segment, walk: None, reached: None, from, since, found: VecDeque::new() };
        frames.begin_at_time();
        frames
    }
}

impl Frames<'_> {
    /// Turns the time to begin at into an offset, as near as the index knows.
    fn begin_at_time(&mut self) {
        let Some(segment) = self.log.segments.get(self.segment) else { return };
        let Ok(footer) = &segment.footer else { return };
        let entries = footer.places.iter().take_while(|entry| entry.time < self.since.0);
        if let Some(entry) = entries.last() {
            self.from = self.from.max(entry.offset);
        }
    }

    fn step(&mut self) -> Result<Option<Dumped>, ReadError> {
        loop {
            if let Some(frame) = self.found.pop_front() {
                return Ok(Some(Dumped::Frame(frame)));
            }
            let Some(walk) = &mut self.walk else {
                let Some(segment) = self.log.segments.get(self.segment) else { return Ok(None) };
                if let Some(reached) = self.reached.take().map(|reached| reached.max(self.from))
                    && reached < segment.base
                {
                    let (from, to) = (position(reached), position(segment.base));
                    let what = "the segment before this one is missing".to_owned();
                    let path = segment.path.clone();
                    return Ok(Some(Dumped::Missing(Missing {
                        path,
                        at: 0,
                        from,
                        to,
                        given_up: false,
                        what,
                    })));
                }
                self.segment += 1;
                self.walk = Walk::from(segment, self.log.log_id, self.from);
                if self.walk.is_none() {
                    let (path, at) = (segment.path.clone(), 0);
                    let what =
                        "its header is rotten, and without it nothing in this segment can be read".to_owned();
                    return Err(ReadError::Rotten { path, at, what });
                }
                continue;
            };
            let segment = &self.log.segments[self.segment - 1];
            let cannot_read =
                |error: io::Error| ReadError::Io { path: segment.path.clone(), cause: error.to_string() };
            let missing = |from, to, at, given_up, what| {
                let (from, to) = (position(from), position(to));
                Missing { path: segment.path.clone(), at, from, to, given_up, what }
            };
            match walk.next().map_err(cannot_read)? {
                None => {
                    self.reached = Some(walk.place().offset);
                    self.walk = None;
                }
                Some(Step::Frames(found)) => {
                    let wanted = found.into_iter().map(|found| found.frame).filter(|frame| {
                        let is_reached = frame.accepted_at >= self.since;
                        if is_reached {
                            self.since = Timestamp(0);
                        }
                        is_reached && frame.position.offset + u64::from(frame.records) > self.from
                    });
                    self.found.extend(wanted);
                }
                Some(Step::Skipped(range)) if range.to.offset > self.from.max(range.from.offset) => {
                    let what = "an operator has given it up".to_owned();
                    let (from, to) = (range.from.offset, range.to.offset);
                    return Ok(Some(Dumped::Missing(missing(from, to, range.from.at, true, what))));
                }
                Some(Step::Rot(Rot { from, to, what })) if to.offset > self.from => {
                    return Ok(Some(Dumped::Missing(missing(from.offset, to.offset, from.at, false, what))));
                }
                Some(Step::Skipped(_) | Step::Rot(_) | Step::Torn { .. }) => {}
                Some(Step::Unusable { at, what }) => {
                    return Err(ReadError::Rotten { path: segment.path.clone(), at, what });
                }
            }
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Dumped, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.is_err() {
            (self.walk, self.segment) = (None, self.log.segments.len());
        }
        next.transpose()
    }
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}
