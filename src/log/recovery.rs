//! Opening the segments that are there: checks the chain, finds where the log ends, cuts what a crash tore, and makes
//! the last write group durable again before anybody reads it. `FORMAT.md` states the rules by number.
//!
//! Sealed segments are not scanned: headers, trailers and the newest segment say all there is to know. Recovery never
//! cuts what was durable once: whatever cannot be told from that halts.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use memchr::memmem;

use super::{
    block::{self, BLOCK_BYTES, Place, Source},
    catalogue::Durable,
    directory::{Directory, at, halted},
    files, frame,
    interface::LogError,
    sections::FormatError,
    segment::{self, Active, Entry, Segment},
    segment_footer::Summary,
    segment_header::{self, HEADER_BYTES, Header, Previous},
};

/// The log as it was left, ready to be read and appended to.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Every segment with its size in bytes, oldest first.
    pub(super) segments: Vec<(Arc<Segment>, u64)>,
    /// The newest one, unless it is sealed or there is none.
    pub(super) active: Option<Active>,
    /// How the newest segment ends.
    pub(super) last: Previous,
    pub(super) durable: Durable,
    /// Bytes that a crash tore and recovery cut.
    pub(super) torn_bytes: u64,
    pub(super) alerts: Vec<String>,
}

/// Where the newest segment ends.
struct Newest {
    active: Option<Active>,
    last: Previous,
    at: u64,
    bytes: u64,
    torn_bytes: u64,
}

/// What lies behind the first bytes that are no frame.
struct Tail {
    /// The byte after the last one that is not zero.
    end: u64,
    /// A sound frame of a later write group.
    later_group: Option<u64>,
}

/// Recovers the log; a new segment, and the active one, have `segment_bytes`.
pub(super) fn recover(directory: &Directory, segment_bytes: u64) -> Result<Recovered, LogError> {
    let headers = read_headers(directory)?;
    let mut recovered = Recovered {
        segments: Vec::with_capacity(headers.len()),
        active: None,
        last: Previous::default(),
        durable: Durable::default(),
        torn_bytes: 0,
        alerts: Vec::new(),
    };
    for ((path, header), (next_path, next)) in headers.iter().zip(headers.iter().skip(1)) {
        check_chain(header, next_path, next)?;
        let (bytes, alert) = check_sealed(path, header, next)?;
        recovered.alerts.extend(alert);
        let segment = Segment::new(path.clone(), header);
        segment.seal(next.base);
        recovered.segments.push((Arc::new(segment), bytes));
    }
    if let Some((path, header)) = headers.into_iter().next_back() {
        let segment = Arc::new(Segment::new(path, &header));
        let newest = recover_newest(directory, &segment, &header, segment_bytes)?;
        recovered.durable = Durable { end: newest.last.end, segment: header.base, at: newest.at };
        recovered.last = newest.last;
        recovered.active = newest.active;
        recovered.torn_bytes = newest.torn_bytes;
        recovered.segments.push((segment, newest.bytes));
    }
    Ok(recovered)
}

/// Reads the header of every segment, in order.
fn read_headers(directory: &Directory) -> Result<Vec<(PathBuf, Header)>, LogError> {
    let names = files::list(&directory.path).map_err(at(&directory.path))?;
    let mut headers = Vec::new();
    for base in names.iter().filter_map(|name| segment::base_of(name.as_ref())) {
        let path = segment::path_of(&directory.path, base);
        let file = files::open(&path).map_err(at(&path))?;
        let bytes = files::read_at(&file, 0, HEADER_BYTES).map_err(at(&path))?;
        let header = segment_header::decode(&bytes).map_err(|error| match error {
            FormatError::Broken(what) => {
                halted(&path, format!("rotten: {what}. Restore this segment from a copy of the log"))
            }
            FormatError::Unusable(what) => halted(&path, what),
        })?;
        if header.log_id != directory.log_id || header.base != base {
            let what = format!(
                "this is the segment of log {} that begins at {}, and has no place in log {}: take it away",
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

/// Looks at the footer of a segment that has a successor; returns the file's size and what to tell the operator. A
/// footer that cannot be used makes reading slower and no more.
fn check_sealed(path: &Path, header: &Header, next: &Header) -> Result<(u64, Option<String>), LogError> {
    let file = files::open(path).map_err(at(path))?;
    let bytes = files::size(&file).map_err(at(path))?;
    let alert = match segment::read_footer(&file, header.nonce).map_err(at(path))? {
        Ok(footer) if footer.summary.end == next.base => None,
        Ok(footer) => {
            let what = format!(
                "it ends at {} and the next segment begins at {}: restore the log from a copy",
                footer.summary.end, next.base
            );
            return Err(halted(path, what));
        }
        Err(error) => Some(format!("{}: reading without an index: {error}", path.display())),
    };
    Ok((bytes, alert))
}

fn recover_newest(
    directory: &Directory,
    segment: &Arc<Segment>,
    header: &Header,
    segment_bytes: u64,
) -> Result<Newest, LogError> {
    let path = &segment.path;
    let file = files::open_writable(path).map_err(at(path))?;
    match segment::read_footer(&file, header.nonce).map_err(at(path))? {
        Ok(footer) => {
            let newest = rewrite_sealed(&file, header, &footer.summary).map_err(at(path))?;
            segment.seal(newest.last.end);
            Ok(newest)
        }
        Err(FormatError::Unusable(what)) => Err(halted(path, what)),
        Err(FormatError::Broken(_)) => recover_unsealed(directory, segment, header, file, segment_bytes),
    }
}

/// The last sync of a sealed segment may have failed, too: its last group and its footer are written again.
fn rewrite_sealed(file: &File, header: &Header, summary: &Summary) -> io::Result<Newest> {
    let bytes = files::size(file)?;
    let last_group_at = summary.last_group_at.clamp(HEADER_BYTES as u64, bytes);
    rewrite(file, last_group_at, bytes)?;
    files::sync_all(file)?;
    let last = Previous { end: summary.end, last_version: summary.last_version, nonce: header.nonce };
    Ok(Newest { active: None, last, at: bytes, bytes, torn_bytes: 0 })
}

fn recover_unsealed(
    directory: &Directory,
    segment: &Arc<Segment>,
    header: &Header,
    file: File,
    segment_bytes: u64,
) -> Result<Newest, LogError> {
    let path = &segment.path;
    let size = files::size(&file).map_err(at(path))?;
    let mut active = Active::new(segment.clone(), file, size, header.previous.last_version);
    let fault = scan(directory, &mut active).map_err(at(path))?;
    let mut torn_bytes = 0;
    match fault {
        None => {}
        Some(FormatError::Unusable(what)) => {
            return Err(halted(path, format!("at byte {}: {what}", active.at)));
        }
        Some(FormatError::Broken(what)) => {
            let tail = examine(&active.file, header.nonce, active.at, size).map_err(at(path))?;
            if let Some(later) = tail.later_group {
                let what = format!(
                    "rotten at byte {}: {what}; but the frame at byte {later} was written after it was durable. \
                     Restore this segment from a copy of the log",
                    active.at
                );
                return Err(halted(path, what));
            }
            torn_bytes = tail.end.saturating_sub(active.at);
        }
    }
    settle(&mut active, torn_bytes > 0, segment_bytes.max(size)).map_err(at(path))?;
    let (last, at, bytes) = (active.as_previous(), active.at, active.limit);
    Ok(Newest { active: Some(active), last, at, bytes, torn_bytes })
}

/// Reads every frame from the start; leaves `active` at the first byte that is none, and says why, unless the file
/// ends there.
fn scan(directory: &Directory, active: &mut Active) -> io::Result<Option<FormatError>> {
    let mut place = Place { at: active.at, offset: active.segment.base };
    loop {
        let source = Source {
            file: &active.file,
            nonce: active.segment.nonce,
            log_id: directory.log_id,
            limit: active.limit,
            until: u64::MAX,
        };
        let block = block::read(source, place)?;
        for found in &block.found {
            let (frame, offset) = (&found.frame, found.frame.position.offset);
            let (version, time) = (frame.version.0, frame.accepted_at.0);
            let entry = Entry { offset, version, time, records: frame.records };
            active.note(found.at, found.group_at, entry);
        }
        place = block.next;
        active.at = place.at;
        if block.fault.is_some() || block.found.is_empty() {
            return Ok(block.fault);
        }
    }
}

/// Cuts what is torn, reserves the segment's space, and makes the last write group durable again (rules 5 and 13).
fn settle(active: &mut Active, torn: bool, segment_bytes: u64) -> io::Result<()> {
    if torn {
        files::truncate(&active.file, active.at)?;
    }
    match files::allocate(&active.file, segment_bytes) {
        Ok(()) => active.limit = segment_bytes,
        // Nothing fits any more, so that the first append asks for space again.
        Err(error) if files::is_no_space(&error) => active.limit = active.at,
        Err(error) => return Err(error),
    }
    rewrite(&active.file, active.last_group_at(), active.at)?;
    files::sync_all(&active.file)
}

/// Writes bytes over themselves: after a failed sync the page cache may hold what the disk does not, and believe that
/// it is clean.
fn rewrite(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let length = usize::try_from(to - position).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let bytes = files::read_at(file, position, length)?;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        files::write_at(file, &bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

/// Looks through the rest of a segment for sound frames whose write group begins after the broken bytes at `broken`.
/// The writer begins a group only once the one before it is durable: then this is rot, not a torn write (rule 6).
fn examine(file: &File, nonce: u64, broken: u64, size: u64) -> io::Result<Tail> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut tail = Tail { end: broken, later_group: None };
    let mut position = broken;
    while position < size {
        let bytes = files::read_at(file, position, BLOCK_BYTES)?;
        // By chunks: most of a segment is zeros, and comparing them is many times as fast as looking at bytes.
        let mut chunks = bytes.chunks(ZEROS.len()).enumerate();
        if let Some((index, chunk)) = chunks.rfind(|(_, chunk)| **chunk != ZEROS[..chunk.len()])
            && let Some(last) = chunk.iter().rposition(|byte| *byte != 0)
        {
            tail.end = position + (index * ZEROS.len() + last + 1) as u64;
        }
        for candidate in memmem::find_iter(&bytes, &frame::MAGIC) {
            let candidate = position + candidate as u64;
            let group_delta = sound_frame_at(file, nonce, candidate, size)?;
            if group_delta.is_some_and(|delta| candidate.saturating_sub(u64::from(delta)) > broken) {
                tail.later_group = Some(candidate);
                return Ok(tail);
            }
        }
        if bytes.len() < BLOCK_BYTES {
            break;
        }
        // A magic may lie across the border.
        position += (BLOCK_BYTES - frame::MAGIC.len() + 1) as u64;
    }
    Ok(tail)
}

/// The group_delta of the frame that begins here, if a sound one does.
fn sound_frame_at(file: &File, nonce: u64, at: u64, size: u64) -> io::Result<Option<u32>> {
    let head = files::read_at(file, at, frame::FIXED_BYTES)?;
    match frame::claimed_length(&head) {
        Ok(length) if at + length as u64 <= size => {
            let bytes = files::read_at(file, at, length)?;
            Ok(frame::verify(&bytes, nonce).ok())
        }
        Ok(_) | Err(_) => Ok(None),
    }
}
