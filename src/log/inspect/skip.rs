//! The operator's way past rot: finds what is rotten and records that it is given up. Nothing of a segment is changed;
//! readers pass over what the list in `skipped` names.

use std::path::PathBuf;

use plugin_api::identity::{Position, Timestamp};

use super::{
    stopped::{Sighted, StoppedLog},
    walk::{Step, Walk},
};
use crate::log::{
    block::Place,
    census,
    directory::{self, at, halted},
    files::ReplaceError,
    interface::{LogError, ReadError},
    sections::FormatError,
    segment_header::HEADER_BYTES,
    skipped::{self, SkippedRange},
};

/// Bytes that are rotten and may be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotten {
    /// The segment.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
    /// Where, and whose nonce tells it from another segment of this name.
    range: SkippedRange,
}

/// What lies at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Rot, and a way past it: its segment's header, its records, or both.
    Rotten(Vec<Rotten>),
    /// An operator has given it up before.
    GivenUp,
    /// Nothing that could be given up; the text says what there is.
    Not(String),
}

impl Rotten {
    /// The first broken byte and the one after the last.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.range.from.at, self.range.to.at)
    }

    /// The first record that is lost and the position after the last; the same for a header, without which no record
    /// is lost.
    #[must_use]
    pub fn positions(&self) -> (Position, Position) {
        (position(self.range.from.offset), position(self.range.to.offset))
    }

    /// How many records are lost.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.range.to.offset - self.range.from.offset
    }

    fn holds(&self, offset: u64) -> bool {
        let (from, to) = (self.range.from.offset, self.range.to.offset);
        (from..to.max(from + 1)).contains(&offset)
    }
}

impl StoppedLog {
    /// Everything that is rotten and may be given up; calls `read` with the number of bytes that were read since its
    /// last call.
    ///
    /// # Errors
    /// If the operating system cannot read.
    pub fn rotten(&self, read: &mut dyn FnMut(u64)) -> Result<Vec<Rotten>, LogError> {
        let mut found = Vec::new();
        for segment in &self.segments {
            found.extend(self.rotten_in(segment).map_err(at(&segment.path))?.0);
            read(segment.size);
        }
        Ok(found)
    }

    /// What lies at a position.
    ///
    /// # Errors
    /// If the operating system cannot read.
    pub fn seek_rotten(&self, position: Position) -> Result<Sought, LogError> {
        let after = self.segments.partition_point(|segment| segment.base <= position.offset);
        let Some(segment) = after.checked_sub(1).map(|index| &self.segments[index]) else {
            let what = format!("the log begins at 0:{}, after {position}", self.start());
            return Ok(Sought::Not(what));
        };
        if segment.nonce.is_none() {
            let what = format!(
                "{}: the header is rotten, and no other segment tells what it held: restore it from a copy of the log; \
                 where there is none, the agent goes on without it once the file is taken away",
                segment.path.display()
            );
            return Ok(Sought::Not(what));
        }
        let (mut rotten, seen) = self.rotten_in(segment).map_err(at(&segment.path))?;
        rotten.retain(|rotten| rotten.holds(position.offset));
        Ok(match seen {
            _ if !rotten.is_empty() => Sought::Rotten(rotten),
            _ if segment.skips.names(position.offset) => Sought::GivenUp,
            Seen { unusable: Some(what), .. } => Sought::Not(what),
            Seen { end, .. } if position.offset < end => Sought::Not(format!("{position} is sound")),
            Seen { torn: true, end, .. } => Sought::Not(format!(
                "what lies behind the log's end, 0:{end}, was torn by a crash: the agent cuts it off when it starts"
            )),
            Seen { end, .. } => Sought::Not(format!("the log ends at 0:{end}, before {position}")),
        })
    }

    /// The destinations that still need records of a range, each with the first of them and how many. A destination
    /// whose cursor cannot be used begins at the oldest position, and needs them all.
    #[must_use]
    pub fn who_needs(&self, rotten: &Rotten) -> Vec<(String, Position, u64)> {
        let (from, to) = (rotten.range.from.offset, rotten.range.to.offset);
        let served = self.cursors.iter().filter(|(name, _)| match &self.listed {
            Ok(listed) => listed.contains(*name),
            Err(_) => true,
        });
        let needs = served.map(|(name, progress)| match progress {
            Ok(progress) => {
                let first = from.max(progress.next.offset);
                (name.clone(), position(first), census::missed(progress, first, to))
            }
            Err(_) => (name.clone(), position(from), to - from),
        });
        needs.filter(|(_, _, records)| *records > 0).collect()
    }

    /// The words under which readers, and so the dead letters, know a range that was given up.
    #[must_use]
    pub fn told(&self, rotten: &Rotten, first: Position) -> String {
        let (path, at, to) = (rotten.path.clone(), rotten.range.from.at, position(rotten.range.to.offset));
        ReadError::GivenUp { path, at, from: first, to }.to_string()
    }

    /// Records durably that what is rotten is given up. From now on readers pass over it. May be done again.
    ///
    /// # Errors
    /// If an agent uses the log, or the list cannot be written; then nothing is given up.
    pub fn give_up(&self, rotten: &[Rotten], now: Timestamp) -> Result<(), LogError> {
        let _lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => self.lock_to_change()?,
        };
        let path = self.path.join(directory::SKIPPED);
        let mut ranges = match skipped::read(&*self.files, &path, self.log_id).map_err(at(&path))? {
            Ok(ranges) => ranges,
            // What it named halts its readers again, and can be given up again.
            Err(FormatError::Broken(_)) => Vec::new(),
            Err(FormatError::Unusable(what)) => return Err(halted(&path, what)),
        };
        let is_here = |range: &SkippedRange| {
            self.segments
                .iter()
                .any(|segment| segment.base == range.base && segment.nonce == Some(range.nonce))
        };
        ranges.retain(is_here);
        for Rotten { range, .. } in rotten {
            ranges.retain(|known| (known.base, known.from) != (range.base, range.from));
            ranges.push(SkippedRange { skipped_at: now, ..*range });
        }
        let replaced = self.files.replace(&path, &skipped::encode(self.log_id, &ranges));
        replaced.map_err(|error| match error {
            ReplaceError::Clean(source) | ReplaceError::Dirty(source) => at(&path)(source),
        })
    }

    /// What is rotten in a segment, its header first, and what else was seen.
    fn rotten_in(&self, segment: &Sighted) -> std::io::Result<(Vec<Rotten>, Seen)> {
        let (mut found, mut seen) = (Vec::new(), Seen { end: segment.base, ..Seen::default() });
        let Some(nonce) = segment.nonce else { return Ok((found, seen)) };
        let rotten = |from, to, what| {
            let (base, skipped_at) = (segment.base, Timestamp::default());
            Rotten {
                path: segment.path.clone(),
                what,
                range: SkippedRange { base, nonce, from, to, skipped_at },
            }
        };
        if let (Err(FormatError::Broken(what)), None) = (&segment.header, segment.skips.covering(0)) {
            let (from, offset) = (Place { at: 0, offset: segment.base }, segment.base);
            found.push(rotten(from, Place { at: HEADER_BYTES as u64, offset }, what.clone()));
        }
        let Some(mut walk) = Walk::whole(segment, self.log_id) else { return Ok((found, seen)) };
        while let Some(step) = walk.next()? {
            match step {
                Step::Rot(rot) => found.push(rotten(rot.from, rot.to, rot.what)),
                Step::Torn { .. } => seen.torn = true,
                Step::Unusable { at, what } => {
                    seen.unusable = Some(format!("{}, byte {at}: {what}", segment.path.display()));
                }
                Step::Frames(_) | Step::Skipped(_) => {}
            }
        }
        seen.end = walk.place().offset;
        Ok((found, seen))
    }
}

/// What lies in a segment beside rot.
#[derive(Debug, Default)]
struct Seen {
    /// The offset after its last record.
    end: u64,
    torn: bool,
    unusable: Option<String>,
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}
