//! One segment: every frame against its checksum, its place in the log and its own id; the footer against the frames.

use plugin_api::identity::RequestId;

use super::{NEWER, RESTORE, Verified};
use crate::{
    log::{
        block::Found,
        idempotency::{self, Accepted},
        inspect::{
            StoppedLog,
            stopped::Sighted,
            walk::{Rot, Step, Walk},
        },
        sections::FormatError,
        segment_footer::{Counts, Footer, Summary},
        segment_header::HEADER_BYTES,
    },
    record::{payload_index, read_payload},
};

/// How the log stands before a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// The offset after the last record.
    pub(super) end: u64,
    /// The last record's version, as far as it is known.
    pub(super) last_version: u64,
}

/// What goes through a segment sees.
struct Sight {
    summary: Summary,
    /// Something in it cannot be read: the footer says more than the frames do.
    holes: bool,
    /// Where the write group of the last frame begins; `None` behind a hole.
    group_at: Option<u64>,
    /// Entries of the footer's index that lie behind the frames that were seen.
    indexed: usize,
    counts: Counts,
    keys: idempotency::Collected,
    versions: Tally,
    groups: Tally,
    payloads: Tally,
    index: Tally,
    request_ids: Tally,
}

/// The first of several findings of one kind.
#[derive(Default)]
struct Tally {
    first: Option<(u64, String)>,
    count: u64,
}

impl Tally {
    fn add(&mut self, at: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(|| (at, what()));
    }

    fn told(self) -> Option<(u64, String)> {
        let more = match self.count {
            0 | 1 => String::new(),
            count => format!("; and {} more in this segment", count - 1),
        };
        self.first.map(|(at, what)| (at, what + &more))
    }
}

impl StoppedLog {
    /// Reads a whole segment; returns how the log stands behind it.
    pub(super) fn verify_segment(
        &self,
        segment: &Sighted,
        before: Before,
        verified: &mut Verified,
        read: &mut dyn FnMut(u64),
    ) -> Before {
        let mut sight = Sight::new(segment.base, before.last_version);
        let mut passed = 0;
        if let Some(mut walk) = Walk::whole(segment, self.log_id) {
            loop {
                let at = walk.place().at;
                match walk.next() {
                    Ok(Some(step)) => self.take(segment, step, &mut sight, verified),
                    Ok(None) => break,
                    Err(error) => {
                        let what = format!("it cannot be read: {error}");
                        let advice =
                            "look at the disk's health, and restore this segment from a copy of the log";
                        verified.grave(&segment.path, Some(at), what, advice);
                        sight.holes = true;
                        break;
                    }
                }
                read(walk.place().at.min(segment.size) - passed);
                passed = walk.place().at.min(segment.size);
            }
        } else {
            sight.holes = true;
        }
        read(segment.size - passed);
        verify_footer(segment, &mut sight, verified);
        verify_next(segment, &sight, verified);
        let end = segment.end().unwrap_or(sight.summary.end);
        let last_version = segment.next.map_or(sight.summary.last_version, |next| next.last_version);
        tell(segment, sight, verified);
        Before { end, last_version }
    }

    fn take(&self, segment: &Sighted, step: Step, sight: &mut Sight, verified: &mut Verified) {
        let path = &segment.path;
        match step {
            Step::Frames(found) => {
                for found in &found {
                    self.check(segment, found, sight);
                    verified.frames += 1;
                    verified.records += u64::from(found.frame.records);
                }
            }
            Step::Skipped(range) => {
                sight.hole(range.to.offset);
                let what = format!(
                    "an operator has given up 0:{} to before 0:{}: {} bytes, {} records",
                    range.from.offset,
                    range.to.offset,
                    range.to.at - range.from.at,
                    range.to.offset - range.from.offset
                );
                verified.harmless(
                    path,
                    Some(range.from.at),
                    what,
                    "nothing; the dead letters name the range",
                );
            }
            Step::Rot(Rot { from, to, what }) => {
                sight.hole(to.offset);
                let what = format!(
                    "rotten: {what}; what was written here cannot be read: 0:{} to before 0:{}, {} bytes, {} records",
                    from.offset,
                    to.offset,
                    to.at - from.at,
                    to.offset - from.offset
                );
                let advice = format!(
                    "restore this segment from a copy of the log, or give these records up with `sync-agent log skip \
                     0:{}`",
                    from.offset
                );
                verified.grave(path, Some(from.at), what, advice);
            }
            Step::Torn { at, to } => {
                let what = format!(
                    "{} bytes behind the last whole frame: a write that a crash tore before it was answered",
                    to - at
                );
                verified.harmless(path, Some(at), what, "nothing; the agent cuts them off when it starts");
            }
            Step::Unusable { at, what } => {
                sight.holes = true;
                verified.grave(path, Some(at), what, NEWER);
            }
        }
    }

    fn check(&self, segment: &Sighted, found: &Found, sight: &mut Sight) {
        let Found { at, group_at, frame } = found;
        let (at, records) = (*at, u64::from(frame.records));
        let (offset, version) = (frame.position.offset, frame.version.0);
        let summary = &mut sight.summary;
        if version <= summary.last_version {
            let last = summary.last_version;
            sight
                .versions
                .add(at, || format!("version {version} comes after {last}: versions must increase"));
        }
        if *group_at != at && sight.group_at.is_some_and(|known| known != *group_at) {
            let group_at = *group_at;
            sight
                .groups
                .add(at, || format!("its write group is said to begin at byte {group_at}, where none does"));
        }
        sight.group_at = Some(*group_at);
        let index = payload_index(&frame.payload).unwrap_or_default();
        match sight.counts.get_mut(index) {
            Some(count) => *count += records,
            None => _ = sight.counts.insert(index.into(), records),
        }
        if let Err(error) = read_payload(&frame.payload, frame.records) {
            sight.payloads.add(at, || format!("frame 0:{offset} has a right checksum, but its {error}"));
        }
        let made = |ids: &crate::log::request_id::RequestIds| -> RequestId { ids.make(offset, version) };
        if self.ids.as_ref().is_some_and(|ids| made(ids) != frame.request_id) {
            let id = frame.request_id;
            sight.request_ids.add(at, || format!("request id {id} was not made with this directory's key"));
        }
        if summary.frames == 0 {
            (summary.first_version, summary.first_time) = (version, frame.accepted_at.0);
        }
        summary.frames += 1;
        summary.end = offset + records;
        summary.last_version = version + records - 1;
        summary.last_time = frame.accepted_at.0;
        summary.last_group_at = *group_at;
        sight.keys.advance(frame.accepted_at.0);
        if let Some(accepted) = Accepted::of(frame) {
            sight.keys.push(&accepted);
        }
        sight.check_index(segment, at, |entry| {
            (entry.offset, entry.version, entry.time) == (offset, version, frame.accepted_at.0)
        });
    }
}

impl Sight {
    fn new(base: u64, last_version: u64) -> Self {
        Self {
            summary: Summary { end: base, last_version, ..Summary::default() },
            holes: false,
            group_at: Some(HEADER_BYTES as u64),
            indexed: 0,
            counts: Counts::new(),
            keys: idempotency::Collected::new(base),
            versions: Tally::default(),
            groups: Tally::default(),
            payloads: Tally::default(),
            index: Tally::default(),
            request_ids: Tally::default(),
        }
    }

    /// What lies up to `end` could not be read.
    fn hole(&mut self, end: u64) {
        self.holes = true;
        self.group_at = None;
        self.summary.end = end;
    }

    /// A frame lies at this byte: entries before it point at none, unless a hole swallowed theirs.
    fn check_index(
        &mut self,
        segment: &Sighted,
        at: u64,
        is_right: impl Fn(&crate::log::segment_footer::IndexEntry) -> bool,
    ) {
        let Ok(Footer { places, .. }) = &segment.footer else { return };
        while let Some(entry) = places.get(self.indexed).filter(|entry| entry.at <= at) {
            self.indexed += 1;
            if (entry.at < at && !self.holes) || (entry.at == at && !is_right(entry)) {
                let offset = entry.offset;
                self.index.add(entry.at, || format!("the footer's index has 0:{offset} here, and it is not"));
            }
        }
    }
}

fn verify_footer(segment: &Sighted, sight: &mut Sight, verified: &mut Verified) {
    let path = &segment.path;
    match &segment.footer {
        Ok(Footer { summary, places, counts, keys, .. }) => {
            if let Some(keys) = keys {
                verify_keys(segment, keys, sight, verified);
            }
            let agrees =
                if sight.holes { summary.end == sight.summary.end } else { *summary == sight.summary };
            if !agrees {
                let what = format!(
                    "the footer says {} frames up to 0:{}, the frames say {} up to 0:{}, or their versions or times differ",
                    summary.frames, summary.end, sight.summary.frames, sight.summary.end
                );
                verified.grave(path, Some(segment.limit), what, RESTORE);
            }
            // An agent of before has written none.
            if !counts.is_empty() && !sight.holes && *counts != sight.counts {
                let what = format!(
                    "the footer counts {counts:?} records by index, the frames {:?}; only a gap's counts depend on it",
                    sight.counts
                );
                verified.harmless(path, Some(segment.limit), what, "nothing");
            }
            if let (Some(entry), false) = (places.get(sight.indexed), sight.holes) {
                let (at, offset) = (entry.at, entry.offset);
                sight.index.add(at, || format!("the footer's index has 0:{offset} here, and it is not"));
            }
        }
        Err(FormatError::Unusable(what)) => verified.grave(path, Some(segment.limit), what.as_str(), NEWER),
        Err(FormatError::Broken(what)) if segment.is_sealed() && segment.nonce.is_some() => {
            let what = format!("the footer is broken: {what}; the frames say the same, reading is slower");
            verified.harmless(path, None, what, "nothing; it goes with its segment");
        }
        // The segment that is written to, or one whose header was told of.
        Err(FormatError::Broken(_)) => {}
    }
}

/// The idempotency keys that lie before the footer.
fn verify_keys(segment: &Sighted, keys: &idempotency::Place, sight: &Sight, verified: &mut Verified) {
    let Some(nonce) = segment.nonce else { return };
    let read = keys.read(&*segment.file, nonce);
    let what = match read.unwrap_or_else(|error| Err(FormatError::broken(error.to_string()))) {
        Err(error) => format!("the block of idempotency keys is broken: {error}; the frames have them, too"),
        Ok(_) if !sight.holes && sight.keys.place(keys.at, nonce) != Some(*keys) => {
            "the block of idempotency keys is not that of the frames: repeats may not be recognised"
                .to_owned()
        }
        Ok(_) => return,
    };
    verified.harmless(&segment.path, Some(keys.at), what, "nothing; it goes with its segment");
}

/// What the next segment's header says of this one.
fn verify_next(segment: &Sighted, sight: &Sight, verified: &mut Verified) {
    let Some(next) = segment.next else { return };
    let (end, last_version) = (sight.summary.end, sight.summary.last_version);
    if !sight.holes && (next.end, next.last_version) != (end, last_version) {
        let what = format!(
            "it ends at 0:{end} with version {last_version}, the next segment's header says 0:{} and {}",
            next.end, next.last_version
        );
        verified.grave(&segment.path, None, what, RESTORE);
    }
}

fn tell(segment: &Sighted, sight: Sight, verified: &mut Verified) {
    let path = &segment.path;
    for tally in [sight.versions, sight.groups, sight.payloads] {
        if let Some((at, what)) = tally.told() {
            let advice = "an agent with a defect wrote it: keep the directory, report it, and restore a copy of the log";
            verified.grave(path, Some(at), what, advice);
        }
    }
    if let Some((at, what)) = sight.index.told() {
        verified.grave(path, Some(at), format!("{what}: readers that begin there halt"), RESTORE);
    }
    if let Some((at, what)) = sight.request_ids.told() {
        let what =
            format!("{what}; a lost key was replaced, or this is another directory's; the id is still found");
        verified.harmless(path, Some(at), what, "nothing");
    }
}
