//! What must be true of the log: what it has acknowledged, what it may have kept beside, and which segments may go.

use std::collections::BTreeMap;

use plugin_api::identity::{RequestId, Version};

use super::{
    destination::Destination,
    settled::unsettled,
    tally::{Event, Tally},
};
use crate::log::{
    interface::{Append, Appended, Attributes, Frame, LogStatus, Progress},
    tests::position,
};

pub(super) const DESTINATIONS: [&str; 3] = ["archive", "mirror", "search"];

/// What records are for; `""` where the payload does not tell.
const INDEXES: [&str; 4] = ["products", "prices", "stock", ""];

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

/// What is in the log for good, or was before it was given back, by offset.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<u64, Kept>);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) kept: Requests,
    /// Handed over and not answered with OK, nor refused; by number.
    unanswered: BTreeMap<u64, Asked>,
    pub(super) destinations: [Destination; DESTINATIONS.len()],
    /// Where the log began when it was last looked at.
    start: u64,
    /// Whether every configured destination has subscribed in between, at a time when nothing is certain.
    were_there: bool,
    next_number: u64,
}

impl Asked {
    /// A request whose payload tells it from all others.
    pub(super) fn request(&self) -> Append {
        let number = self.number;
        let index = INDEXES[(number % 4) as usize];
        let length = if index.is_empty() { u16::MAX } else { index.len() as u16 };
        let mut payload = vec![1];
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(index.as_bytes());
        payload.resize(self.bytes.max(payload.len()), number as u8);
        payload.extend_from_slice(&number.to_le_bytes());
        let caller = number.is_multiple_of(3).then(|| format!("caller {number}").into());
        Append { records: self.records, payload, attributes: Attributes { caller, ..Attributes::default() } }
    }

    fn number_of(payload: &[u8]) -> u64 {
        let at = payload.len().checked_sub(8).expect("a payload of ours");
        u64::from_le_bytes(payload[at..].try_into().expect("8 bytes"))
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            kept: Requests::default(),
            unanswered: BTreeMap::new(),
            destinations: DESTINATIONS.map(Destination::new),
            start: 0,
            were_there: false,
            next_number: 0,
        }
    }
}

impl Model {
    /// The next request.
    pub(super) fn ask(&mut self, records: u32, bytes: usize) -> Asked {
        let asked = Asked { number: self.next_number, records, bytes };
        self.next_number += 1;
        self.unanswered.insert(asked.number, asked);
        asked
    }

    /// The offset after the last request.
    pub(super) fn end(&self) -> u64 {
        self.kept.end()
    }

    /// A request was acknowledged, at this time of the clock.
    pub(super) fn acknowledge(&mut self, asked: Asked, appended: &Appended, now: u64) {
        self.unanswered.remove(&asked.number);
        let due = now.max(self.kept.last_version() + 1);
        assert_eq!((appended.position, appended.version.0), (position(self.end()), due), "{asked:?}");
        self.kept.keep(Kept { asked, version: appended.version, request_id: appended.request_id });
    }

    /// A request was refused for good.
    pub(super) fn refuse(&mut self, asked: Asked) {
        self.unanswered.remove(&asked.number);
    }

    /// Frames that were read while the log is open: nothing but what was acknowledged, without a hole.
    pub(super) fn check_read(&self, frames: &[Frame], from: u64) -> u64 {
        let mut offset = from;
        for frame in frames {
            let Some(kept) = self.kept.0.get(&frame.position.offset) else {
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
        let before = self.end();
        assert!(end >= before, "ends at {end}, acknowledged or read was everything before {before}");
        let known = frames.partition_point(|frame| frame.position.offset < before);
        assert_eq!(self.check_read(&frames[..known], start), before.max(start), "kept");
        for frame in &frames[known..] {
            assert_eq!(frame.position, position(self.end()), "offsets are dense");
            let last = self.kept.last_version();
            assert!(frame.version.0 > last, "{:?} after {last}", frame.version);
            let number = Asked::number_of(&frame.payload);
            let Some(asked) = self.unanswered.remove(&number) else {
                panic!("request {number} was not asked for, or refused, or there already");
            };
            let newest = self.kept.0.values().next_back();
            assert!(newest.is_none_or(|kept| kept.asked.number < number), "order");
            let kept = Kept { asked, version: frame.version, request_id: frame.request_id };
            check_frame(&kept, frame);
            self.kept.keep(kept);
            tally.count(Event::UnansweredFound);
        }
        assert_eq!(end, self.end(), "the log ends after its last frame");
        tally.count_many(Event::UnansweredGone, self.unanswered.len() as u64);
        self.unanswered.clear();
    }

    /// Segments go only once every configured destination has subscribed, and what they hold is settled or counted for
    /// everybody.
    pub(super) fn check_start(&mut self, start: u64, tally: &mut Tally) {
        assert!(start >= self.start, "what was given back is there again");
        if start > self.start {
            let may_go = self.were_there || self.are_all_there();
            assert!(may_go, "segments went before everybody was there");
            tally.count(Event::GivenBack);
        }
        for destination in &self.destinations {
            let accounted = destination.accounted();
            assert!(accounted.is_none_or(|to| start <= to), "the log starts at {start}: {destination:?}");
        }
        (self.start, self.were_there) = (start, false);
    }

    /// Something was done by half. A removal may be what it was, and who was there may be told to ask again before
    /// the log's start is looked at.
    pub(super) fn note_doubt(&mut self) {
        self.were_there |= self.are_all_there();
    }

    fn are_all_there(&self) -> bool {
        let mut configured = self.destinations.iter().filter(|one| one.limit.is_some()).peekable();
        configured.peek().is_some() && configured.all(|destination| destination.subscribed)
    }

    /// Opening the log tells of those, and those only, that are not configured any more and miss something.
    pub(super) fn check_told(&self, alerts: &[String]) {
        let is_of =
            |alert: &String, name| alert.starts_with(&format!("destination {name:?} is not configured"));
        for destination in &self.destinations {
            let told = alerts.iter().any(|alert| is_of(alert, destination.name));
            let due = destination.is_told(self.end());
            assert!(due.is_none_or(|due| due == told), "{alerts:?}: {destination:?}");
        }
        let is_due = |alert| self.destinations.iter().any(|destination| is_of(alert, destination.name));
        assert!(alerts.iter().all(is_due), "{alerts:?}");
    }

    /// What is published is what was acknowledged.
    pub(super) fn check_status(&self, status: &LogStatus) {
        assert_eq!(status.end, position(self.end()), "published is what nobody has an answer for");
        assert!(status.disk_bytes <= status.disk_bytes_max, "{status:?}");
    }
}

impl Requests {
    /// The offset after the last one.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(offset, kept)| offset + u64::from(kept.asked.records))
    }

    /// Whether a request begins or the last one ends here.
    pub(super) fn is_bound(&self, offset: u64) -> bool {
        self.0.contains_key(&offset) || offset == self.end()
    }

    /// The records from a cursor up to `to` that it does not settle, by index.
    pub(super) fn missed(&self, progress: &Progress, to: u64) -> BTreeMap<Box<str>, u64> {
        let next = progress.next.offset;
        let first = self.0.range(..=next).next_back().map_or(0, |(offset, _)| *offset);
        let mut missed = BTreeMap::new();
        for (offset, kept) in self.0.range(first..to.max(first)) {
            let end = (offset + u64::from(kept.asked.records)).min(to);
            let count = unsettled(progress, *offset, end);
            if count > 0 {
                *missed.entry(INDEXES[(kept.asked.number % 4) as usize].into()).or_default() += count;
            }
        }
        missed
    }

    fn last_version(&self) -> u64 {
        let newest = self.0.values().next_back();
        newest.map_or(0, |kept| kept.version.0 + u64::from(kept.asked.records) - 1)
    }

    fn keep(&mut self, kept: Kept) {
        self.0.insert(self.end(), kept);
    }
}

fn check_frame(kept: &Kept, frame: &Frame) {
    let Asked { number, records, .. } = kept.asked;
    let due = kept.asked.request();
    assert_eq!((frame.records, frame.version, frame.request_id), (records, kept.version, kept.request_id));
    assert_eq!(frame.attributes, due.attributes, "request {number}");
    assert!(frame.payload == due.payload, "request {number} has other bytes");
}
