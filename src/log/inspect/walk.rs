//! Goes through the frames of a segment from a place on, and on behind what is broken.

use std::io;

use plugin_api::identity::LogId;

use super::stopped::Sighted;
use crate::log::{
    block::{self, Found, Place, Source},
    rot,
    sections::FormatError,
    segment_header::HEADER_BYTES,
    skipped::SkippedRange,
};

/// What lies next in a segment.
#[derive(Debug)]
pub(super) enum Step {
    /// Sound frames, about 1 MiB of them.
    Frames(Vec<Found>),
    /// A range that an operator has given up.
    Skipped(SkippedRange),
    /// Bytes that were durable once and are no frames.
    Rot(Rot),
    /// The end of the newest segment: what a crash tore, up to the last byte that is not zero.
    Torn { at: u64, to: u64 },
    /// Sound bytes that this version cannot go on from.
    Unusable { at: u64, what: String },
}

/// Broken bytes, from the first frame that is none to the next sound one, or to the segment's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rot {
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) what: String,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    segment: &'a Sighted,
    log_id: LogId,
    nonce: u64,
    place: Place,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// A walk that begins at the last indexed frame at or before `offset`; `None` if nothing tells the segment's
    /// frames from other bytes.
    pub(super) fn from(segment: &'a Sighted, log_id: LogId, offset: u64) -> Option<Self> {
        let mut place = Place { at: HEADER_BYTES as u64, offset: segment.base };
        if let Ok(footer) = &segment.footer {
            let before = footer.places.partition_point(|entry| entry.offset <= offset);
            let entry = before.checked_sub(1).map(|last| footer.places[last]);
            place = entry.map_or(place, |entry| Place { at: entry.at, offset: entry.offset });
        }
        Some(Self { segment, log_id, nonce: segment.nonce?, place, ended: false })
    }

    /// A walk through the whole segment.
    pub(super) fn whole(segment: &'a Sighted, log_id: LogId) -> Option<Self> {
        let place = Place { at: HEADER_BYTES as u64, offset: segment.base };
        Some(Self { segment, log_id, nonce: segment.nonce?, place, ended: false })
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// What lies next; `None` at the segment's end.
    ///
    /// # Errors
    /// Those of reading; it stays where it is.
    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        let segment = self.segment;
        let until = segment.end().unwrap_or(u64::MAX);
        if self.ended || self.place.offset >= until {
            return Ok(None);
        }
        if let Some(range) = segment.skips.covering(self.place.at) {
            self.place = range.to;
            return Ok(Some(Step::Skipped(*range)));
        }
        let limit = segment.skips.limit(self.place.at, segment.limit);
        let (file, nonce, log_id) = (&*segment.file, self.nonce, self.log_id);
        let block = block::read(Source { file, nonce, log_id, limit, until }, self.place)?;
        let at = self.place.at;
        match block.fault {
            // A fault behind these frames is met by the next call.
            _ if !block.found.is_empty() => {
                self.place = block.next;
                Ok(Some(Step::Frames(block.found)))
            }
            Some(FormatError::Unusable(what)) => {
                self.ended = true;
                Ok(Some(Step::Unusable { at, what }))
            }
            Some(FormatError::Broken(what)) => self.broken(limit, what),
            None if segment.is_sealed() => self.broken(limit, "the segment ends too early".to_owned()),
            None => Ok(None),
        }
    }

    fn broken(&mut self, limit: u64, what: String) -> io::Result<Option<Step>> {
        let (segment, from) = (self.segment, self.place);
        let file = &*segment.file;
        if matches!(segment.footer, Err(FormatError::Unusable(_))) && !segment.is_sealed() {
            // A footer begins somewhere here that only its own version reads.
            self.ended = true;
            return Ok(None);
        }
        if !segment.is_sealed() {
            let tail = rot::examine_tail(file, self.nonce, from.at, segment.limit)?;
            if tail.later_group.is_none() {
                self.ended = true;
                let torn = Step::Torn { at: from.at, to: tail.end };
                return Ok((tail.end > from.at).then_some(torn));
            }
        }
        let until = segment.end().unwrap_or(u64::MAX);
        let belongs = |sound: &rot::Sound| (from.offset..until).contains(&sound.place.offset);
        let next = rot::find_sound(file, self.nonce, from.at + 1, limit, belongs)?.map(|sound| sound.place);
        let skipped = || segment.skips.covering(limit).map(|range| range.from);
        let end = || Place { at: limit.max(from.at + 1), offset: segment.end().unwrap_or(from.offset) };
        let to = next.or_else(skipped).unwrap_or_else(end);
        self.place = to;
        Ok(Some(Step::Rot(Rot { from, to, what })))
    }
}
