//! What must be true of the log: what it has acknowledged, what it may have kept beside, and how far each destination
//! is.

use std::collections::BTreeMap;

use plugin_api::identity::{RequestId, Version};

use super::tally::{Event, Tally};
use crate::log::{
    interface::{Appended, Frame, From, LogStatus, Progress, Subscription},
    tests::{position, request},
};

pub(super) const DESTINATIONS: [&str; 3] = ["archive", "mirror", "search"];

/// A request that was handed to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) records: u32,
    pub(super) bytes: usize,
}

/// A request that is in the log for good: it was acknowledged, or read.
#[derive(Clone, Copy, Debug)]
struct Kept {
    asked: Asked,
    version: Version,
    request_id: RequestId,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// By offset.
    kept: BTreeMap<u64, Kept>,
    /// The offset after the last one.
    pub(super) end: u64,
    /// Handed over and not answered with OK, nor refused; by number.
    unanswered: BTreeMap<u64, Asked>,
    pub(super) destinations: [Destination; DESTINATIONS.len()],
    next_number: u64,
}

/// How far a destination is.
#[derive(Clone, Debug, Default)]
pub(super) struct Destination {
    /// The cursor that was acknowledged or found last; `None` before the first one.
    acknowledged: Option<Progress>,
    /// Cursors that were asked for since, without an answer.
    in_doubt: Vec<Progress>,
}

impl Model {
    /// The next request.
    pub(super) fn ask(&mut self, records: u32, bytes: usize) -> Asked {
        let asked = Asked { number: self.next_number, records, bytes };
        self.next_number += 1;
        self.unanswered.insert(asked.number, asked);
        asked
    }

    /// A request was acknowledged, at this time of the clock.
    pub(super) fn acknowledge(&mut self, asked: Asked, appended: &Appended, now: u64) {
        self.unanswered.remove(&asked.number);
        let due = now.max(self.last_version() + 1);
        assert_eq!((appended.position, appended.version.0), (position(self.end), due), "{asked:?}");
        self.keep(Kept { asked, version: appended.version, request_id: appended.request_id });
    }

    /// A request was refused for good.
    pub(super) fn refuse(&mut self, asked: Asked) {
        self.unanswered.remove(&asked.number);
    }

    /// Frames that were read while the log is open: nothing but what was acknowledged, without a hole.
    pub(super) fn check_read(&self, frames: &[Frame], from: u64) -> u64 {
        let mut offset = from;
        for frame in frames {
            let Some(kept) = self.kept.get(&frame.position.offset) else {
                panic!("read what nobody was told of: {:?}", frame.position);
            };
            check_frame(kept, frame);
            let end = frame.position.offset + u64::from(frame.records);
            assert!(frame.position.offset <= offset && offset < end, "{:?} for {offset}", frame.position);
            offset = end;
        }
        offset
    }

    /// Everything that was found in a log that was just opened: what is kept, byte for byte, and perhaps requests that
    /// were not answered, whole and in order. From now on these are kept; others never come.
    pub(super) fn check_opened(&mut self, frames: &[Frame], start: u64, end: u64, tally: &mut Tally) {
        assert!(end >= self.end, "ends at {end}, acknowledged or read was everything before {}", self.end);
        let known = frames.partition_point(|frame| frame.position.offset < self.end);
        assert_eq!(self.check_read(&frames[..known], start), self.end.max(start), "kept");
        for frame in &frames[known..] {
            assert_eq!(frame.position, position(self.end), "offsets are dense");
            assert!(
                frame.version.0 > self.last_version(),
                "{:?} after {}",
                frame.version,
                self.last_version()
            );
            let number = u64::from_le_bytes(frame.payload[..8].try_into().unwrap());
            let Some(asked) = self.unanswered.remove(&number) else {
                panic!("request {number} was not asked for, or refused, or there already");
            };
            assert!(self.kept.values().next_back().is_none_or(|kept| kept.asked.number < number), "order");
            let kept = Kept { asked, version: frame.version, request_id: frame.request_id };
            check_frame(&kept, frame);
            self.keep(kept);
            tally.count(Event::UnansweredFound);
        }
        assert_eq!(end, self.end, "the log ends after its last frame");
        tally.count_many(Event::UnansweredGone, self.unanswered.len() as u64);
        self.unanswered.clear();
    }

    /// Segments are gone only where every destination is, or may be, beyond them.
    pub(super) fn check_start(&self, start: u64) {
        let lowest = self.destinations.iter().map(Destination::furthest).min().unwrap_or(0);
        assert!(start <= lowest, "the log starts at {start}, the slowest destination is at {lowest}");
    }

    /// What is published is what was acknowledged.
    pub(super) fn check_status(&self, status: &LogStatus) {
        assert_eq!(status.end, position(self.end), "published is what nobody has an answer for");
        assert!(status.disk_bytes <= status.disk_bytes_max, "{status:?}");
        self.check_start(status.start.offset);
    }

    fn last_version(&self) -> u64 {
        let newest = self.kept.values().next_back();
        newest.map_or(0, |kept| kept.version.0 + u64::from(kept.asked.records) - 1)
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.insert(self.end, kept);
        self.end += u64::from(kept.asked.records);
    }
}

impl Destination {
    /// The furthest that the cursor may be.
    pub(super) fn furthest(&self) -> u64 {
        let asked = self.in_doubt.iter().chain(&self.acknowledged);
        asked.map(|progress| progress.next.offset).max().unwrap_or(0)
    }

    /// Where the destination is for certain.
    pub(super) fn offset(&self) -> u64 {
        self.acknowledged.as_ref().map_or(0, |progress| progress.next.offset)
    }

    /// Whether the log has told it where it starts.
    pub(super) fn is_served(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// A cursor that is asked for.
    pub(super) fn ask(&mut self, progress: Progress) {
        self.in_doubt.push(progress);
    }

    /// The cursor that was asked for last is acknowledged.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = self.in_doubt.pop();
        self.in_doubt.clear();
    }

    /// The cursor that a subscription found: the one that was acknowledged or one that was asked for since, and where
    /// there is none the place to start.
    pub(super) fn check_found(&mut self, found: Subscription, from: u64, tally: &mut Tally) {
        let Subscription { progress, alert, detached } = found;
        assert_eq!((alert, *detached.borrow()), (None, false));
        if self.acknowledged.as_ref() != Some(&progress) {
            let fresh = self.acknowledged.is_none() && progress == at_first(from);
            assert!(fresh || self.in_doubt.contains(&progress), "{progress:?} in {self:?}");
            tally.count_many(Event::CommitInDoubtFound, u64::from(!fresh));
        }
        self.acknowledged = Some(progress);
        self.in_doubt.clear();
    }
}

/// The cursor of a destination that starts there.
pub(super) fn at_first(offset: u64) -> Progress {
    Progress { next: position(offset), ..Progress::default() }
}

/// Where a destination that was never served starts.
pub(super) fn first_offset(from: From, status: &LogStatus) -> u64 {
    match from {
        From::Now => status.end.offset,
        From::Oldest => status.start.offset,
    }
}

fn check_frame(kept: &Kept, frame: &Frame) {
    let Asked { number, records, bytes } = kept.asked;
    let due = request(number, records, bytes);
    assert_eq!((frame.records, frame.version, frame.request_id), (records, kept.version, kept.request_id));
    assert_eq!(frame.attributes, due.attributes, "request {number}");
    assert!(frame.payload == due.payload, "request {number} has other bytes");
}
