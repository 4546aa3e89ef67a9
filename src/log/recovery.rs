//! Opening the segments that are there: checks the chain, finds where the log ends, cuts what a crash tore, and makes
//! the last write group durable again before anybody reads it. `FORMAT.md` states the rules by number.
//!
//! [`examine`] only looks, so that cursors can be compared with what it found before [`Recovered::settle`] changes
//! anything. Sealed segments are not scanned: headers, footers and the newest segment say all there is to know.
//! Recovery never cuts what was durable once: whatever cannot be told from that halts.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use plugin_api::identity::Timestamp;

use super::{
    block::{self, BLOCK_BYTES, Place, Source},
    catalogue::Durable,
    directory::{Directory, at, halted},
    files::{self, Access, File},
    idempotency::{self, Accepted},
    interface::LogError,
    rot,
    sections::FormatError,
    segment::{self, Active, Entry, Sealed, Segment},
    segment_footer::{Footer, Summary},
    segment_header::{self, HEADER_BYTES, Header, Previous},
    skipped::{self, SkippedRange, Skips},
};
use crate::record::payload_index;

/// The log as it was left.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Every segment with its size in bytes, oldest first.
    pub(super) segments: Vec<(Arc<Segment>, u64)>,
    /// How the newest segment ends.
    pub(super) last: Previous,
    /// What will be durable once this is settled.
    pub(super) durable: Durable,
    /// Bytes that a crash tore, to be cut.
    pub(super) torn_bytes: u64,
    pub(super) alerts: Vec<String>,
    /// The sealed segments, for their idempotency keys, oldest first.
    pub(super) keys: Vec<idempotency::Source>,
    newest: Option<Newest>,
}

/// The newest segment, as far as it is to be written.
#[derive(Debug)]
enum Newest {
    Unsealed(Active),
    Sealed { segment: Arc<Segment>, file: Arc<dyn File>, summary: Summary },
}

/// Looks at the log and changes nothing.
pub(super) fn examine(directory: &Directory) -> Result<Recovered, LogError> {
    let mut alerts = Vec::new();
    let skipped = read_skipped(directory, &mut alerts)?;
    let headers = read_headers(directory, &skipped)?;
    let mut recovered = Recovered {
        segments: Vec::with_capacity(headers.len()),
        last: Previous::default(),
        durable: Durable::default(),
        torn_bytes: 0,
        alerts,
        keys: Vec::new(),
        newest: None,
    };
    for ((path, header), (next_path, next)) in headers.iter().zip(headers.iter().skip(1)) {
        check_chain(header, next_path, next)?;
        let (bytes, sealed, footer) = check_sealed(directory, path, header, next)?;
        let skips = Skips::of(&skipped, header.base, header.nonce);
        let segment = Arc::new(Segment::new(path.clone(), header).with_skips(skips));
        segment.seal(sealed);
        recovered.keys.push(idempotency::Source::new(segment.clone(), footer.as_ref().ok()));
        recovered.alerts.extend(footer.err());
        recovered.segments.push((segment, bytes));
    }
    if let Some((path, header)) = headers.into_iter().next_back() {
        recovered.examine_newest(directory, path, &header, &skipped)?;
    }
    Ok(recovered)
}

impl Recovered {
    /// Makes the newest segment ready to be read and appended to, with `segment_bytes` of space; returns it, unless it
    /// is sealed or there is none.
    pub(super) fn settle(self, segment_bytes: u64) -> Result<Option<Active>, LogError> {
        match self.newest {
            None => Ok(None),
            Some(Newest::Sealed { segment, file, summary }) => {
                rewrite_sealed(&*file, &summary).map_err(at(&segment.path))?;
                Ok(None)
            }
            Some(Newest::Unsealed(mut active)) => {
                let path = active.segment.path.clone();
                settle_unsealed(&mut active, self.torn_bytes > 0, segment_bytes).map_err(at(&path))?;
                Ok(Some(active))
            }
        }
    }

    fn examine_newest(
        &mut self,
        directory: &Directory,
        path: PathBuf,
        header: &Header,
        skipped: &[SkippedRange],
    ) -> Result<(), LogError> {
        let file = directory.files.open(&path, Access::Write).map_err(at(&path))?;
        let size = file.size().map_err(at(&path))?;
        let footer = segment::read_footer(&*file, header.nonce).map_err(at(&path))?;
        let skips = Skips::of(skipped, header.base, header.nonce);
        let segment = Arc::new(Segment::new(path, header).with_skips(skips));
        self.segments.push((segment.clone(), size));
        let end_at = match footer {
            Ok(footer) => {
                segment.seal(footer.sealed());
                self.keys.push(idempotency::Source::new(segment.clone(), Some(&footer)));
                let summary = footer.summary;
                let (end, last_version) = (summary.end, summary.last_version);
                self.last = Previous { end, last_version, nonce: header.nonce };
                self.newest = Some(Newest::Sealed { segment, file, summary });
                size
            }
            Err(FormatError::Unusable(what)) => return Err(halted(&segment.path, what)),
            Err(FormatError::Broken(_)) => {
                let mut active = Active::new(segment, file, size, header.previous.last_version);
                self.torn_bytes = find_end(directory, &mut active)?;
                self.last = active.as_previous();
                let end_at = active.at;
                self.newest = Some(Newest::Unsealed(active));
                end_at
            }
        };
        let Previous { end, last_version, .. } = self.last;
        self.durable = Durable { end, last_version, segment: header.base, at: end_at };
        Ok(())
    }
}

/// What an operator has given up. Without the list, readers halt at the rot again.
fn read_skipped(directory: &Directory, alerts: &mut Vec<String>) -> Result<Vec<SkippedRange>, LogError> {
    let path = directory.skipped();
    match skipped::read(&*directory.files, &path, directory.log_id).map_err(at(&path))? {
        Ok(ranges) => Ok(ranges),
        Err(FormatError::Unusable(what)) => Err(halted(&path, what)),
        Err(FormatError::Broken(what)) => {
            alerts.push(format!("{}: {what}; what was given up with `log skip` halts again", path.display()));
            Ok(Vec::new())
        }
    }
}

/// Reads the header of every segment, in order. One that is rotten may have been passed over: then its name and the
/// next header say what it held.
fn read_headers(directory: &Directory, skipped: &[SkippedRange]) -> Result<Vec<(PathBuf, Header)>, LogError> {
    let names = directory.files.list_sorted(&directory.path).map_err(at(&directory.path))?;
    let mut headers = Vec::new();
    let bases: Vec<u64> = names.iter().filter_map(|name| segment::base_of(name.as_ref())).collect();
    for &base in &bases {
        let path = segment::path_of(&directory.path, base);
        let file = directory.files.open(&path, Access::Read).map_err(at(&path))?;
        let bytes = file.read_at(0, HEADER_BYTES).map_err(at(&path))?;
        let header = match segment_header::decode(&bytes) {
            Ok(header) => header,
            Err(FormatError::Unusable(what)) => return Err(halted(&path, what)),
            Err(FormatError::Broken(what)) => {
                let range = skipped.iter().find(|range| range.base == base && range.from.at == 0);
                let Some(range) = range else {
                    let advice =
                        if bases.last() == Some(&base) { NEWEST_LOST.to_owned() } else { or_skip(base) };
                    let what = format!("rotten: {what}. {advice}");
                    return Err(halted(&path, what));
                };
                let before = headers.last().map_or(0, |(_, header): &(_, Header)| header.nonce);
                let previous = Previous { end: base, nonce: before, ..Previous::default() };
                let (log_id, created_at) = (directory.log_id, Timestamp::default());
                Header { log_id, base, nonce: range.nonce, previous, created_at }
            }
        };
        if header.log_id != directory.log_id || header.base != base {
            let what = format!(
                "this is the segment of log {} that begins at {}, and has no place in log {}: take it away; or, if every \
                 segment is of that other log, restore the file `identity`",
                header.log_id, header.base, directory.log_id
            );
            return Err(halted(&path, what));
        }
        headers.push((path, header));
    }
    Ok(headers)
}

/// Rule 10.
fn check_chain(header: &Header, next_path: &Path, next: &Header) -> Result<(), LogError> {
    if next.previous.nonce == header.nonce && next.previous.end == next.base {
        return Ok(());
    }
    let what = format!(
        "the segment before this one is missing: segment {} was found, which is not it. Restore what is missing from \
         a copy of the log",
        header.base
    );
    Err(halted(next_path, what))
}

/// Looks at the footer of a segment that has a successor; returns the file's size and the footer, or what to tell
/// the operator: a footer that cannot be used makes reading slower and no more.
fn check_sealed(
    directory: &Directory,
    path: &Path,
    header: &Header,
    next: &Header,
) -> Result<(u64, Sealed, Result<Footer, String>), LogError> {
    let file = directory.files.open(path, Access::Read).map_err(at(path))?;
    let bytes = file.size().map_err(at(path))?;
    let frames_bytes = bytes.saturating_sub(HEADER_BYTES as u64);
    let mut sealed = Sealed { end: next.base, frames_bytes, last_time: next.created_at.0 };
    let footer = match segment::read_footer(&*file, header.nonce).map_err(at(path))? {
        Ok(footer) if footer.summary.end == next.base => {
            sealed = footer.sealed();
            Ok(footer)
        }
        Ok(footer) => {
            let what = format!(
                "it ends at {} and the next segment begins at {}: restore the log from a copy",
                footer.summary.end, next.base
            );
            return Err(halted(path, what));
        }
        Err(error) => Err(format!("{}: reading without an index: {error}", path.display())),
    };
    Ok((bytes, sealed, footer))
}

/// Leaves `active` at the end of its last whole frame; returns how many bytes behind it are torn.
fn find_end(directory: &Directory, active: &mut Active) -> Result<u64, LogError> {
    let path = active.segment.path.clone();
    match scan(directory, active).map_err(at(&path))? {
        None => Ok(0),
        Some(FormatError::Unusable(what)) => Err(halted(&path, format!("at byte {}: {what}", active.at))),
        Some(FormatError::Broken(what)) => {
            let tail = rot::examine_tail(&*active.file, active.segment.nonce, active.at, active.limit);
            let tail = tail.map_err(at(&path))?;
            let Some(later) = tail.later_group else {
                return Ok(tail.end - active.at);
            };
            let what = format!(
                "rotten at byte {}: {what}; but the frame at byte {later} was written after it was durable. {}",
                active.at,
                or_skip(active.as_previous().end)
            );
            Err(halted(&path, what))
        }
    }
}

/// Reads every frame from the start; leaves `active` at the first byte that is none, and says why, unless the file
/// ends there.
fn scan(directory: &Directory, active: &mut Active) -> io::Result<Option<FormatError>> {
    let mut place = Place { at: active.at, offset: active.segment.base };
    loop {
        while let Some(range) = active.segment.skips.covering(place.at) {
            place = range.to;
            active.pass(place);
        }
        let source = Source {
            file: &*active.file,
            nonce: active.segment.nonce,
            log_id: directory.log_id,
            limit: active.segment.skips.limit(place.at, active.limit),
            until: u64::MAX,
        };
        let block = block::read(source, place)?;
        for found in &block.found {
            let (frame, offset) = (&found.frame, found.frame.position.offset);
            let (version, time) = (frame.version.0, frame.accepted_at.0);
            let index = payload_index(&frame.payload).unwrap_or_default();
            let entry = Entry { offset, version, time, records: frame.records, index };
            active.note(found.at, found.group_at, entry);
            if let Some(accepted) = Accepted::of(frame) {
                active.keys.push(&accepted);
            }
        }
        place = block.next;
        active.at = place.at;
        if block.fault.is_some() || block.found.is_empty() {
            return Ok(block.fault);
        }
    }
}

/// What to do about a newest segment without a header: no other one tells what its frames look like.
const NEWEST_LOST: &str = "Restore this segment from a copy of the log; where there is none, what it held is lost, and \
                           the agent goes on without it once the file is taken away";

/// What to do about rot.
pub(super) fn or_skip(offset: u64) -> String {
    format!(
        "Restore this segment from a copy of the log, or give up what cannot be read: stop the agent and see \
         `sync-agent log skip 0:{offset}`"
    )
}

/// Cuts what is torn, reserves the segment's space, and makes the last write group durable again (rules 5 and 13).
fn settle_unsealed(active: &mut Active, torn: bool, segment_bytes: u64) -> io::Result<()> {
    let segment_bytes = segment_bytes.max(active.limit);
    if torn {
        active.file.truncate(active.at)?;
    }
    match active.file.allocate(segment_bytes) {
        Ok(()) => active.limit = segment_bytes,
        // Nothing fits any more, so that the first append asks for space again.
        Err(error) if files::is_no_space(&error) => active.limit = active.at,
        Err(error) => return Err(error),
    }
    rewrite(&*active.file, active.last_group_at(), active.at)?;
    active.file.sync_all()
}

/// The last sync of a sealed segment may have failed, too: its last group and its footer are written again.
fn rewrite_sealed(file: &dyn File, summary: &Summary) -> io::Result<()> {
    let bytes = file.size()?;
    rewrite(file, summary.last_group_at.clamp(HEADER_BYTES as u64, bytes), bytes)?;
    file.sync_all()
}

/// Writes bytes over themselves: after a failed sync the page cache may hold what the disk does not, and believe that
/// it is clean.
fn rewrite(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let length = usize::try_from(to - position).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let bytes = file.read_at(position, length)?;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        file.write_at(&bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}
