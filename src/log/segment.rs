//! A segment's file: created whole and durable before it has its name (rule 3), written by one writer, sealed with a
//! footer.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use plugin_api::identity::Timestamp;

use super::{
    block::Place,
    files::{self, File, FileSystem},
    idempotency::{Collected, KEY_BYTES},
    sections::FormatError,
    segment_footer::{self, Counts, Footer, IndexEntry, Summary, TRAILER_BYTES},
    segment_header::{self, HEADER_BYTES, Header, Previous},
    skipped::Skips,
};

/// Bytes between two entries of the index, at least.
const INDEX_STEP: u64 = 1 << 20;

/// Room that is kept in the footer for the count of an index that comes next; ingress allows no longer names.
const INDEX_NAME_BYTES_MAX: usize = 256;

/// A segment that readers may use.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The offset of its first record.
    pub(super) base: u64,
    pub(super) nonce: u64,
    sealed: OnceLock<Sealed>,
    /// Where frames lie, while it is not sealed; then the footer has it.
    index: Mutex<Vec<IndexEntry>>,
    /// What an operator has given up of it.
    pub(super) skips: Skips,
}

/// What is known of a segment that nothing is appended to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The offset after its last record.
    pub(super) end: u64,
    /// Bytes of its frames.
    pub(super) frames_bytes: u64,
    /// When its last frame was accepted.
    pub(super) last_time: u64,
}

/// The segment that the writer appends to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn File>,
    /// The byte after the last frame that was written.
    pub(super) at: u64,
    /// Bytes reserved for the file: frames and footer end before.
    pub(super) limit: u64,
    /// The idempotency keys of its frames.
    pub(super) keys: Collected,
    summary: Summary,
    indexed: usize,
    counts: Counts,
    /// Bytes that the counts take in the footer.
    counts_bytes: usize,
}

/// A new segment's file, still without header and name; removed unless it is installed.
#[derive(Debug)]
pub(super) struct Prepared {
    files: Arc<dyn FileSystem>,
    file: Arc<dyn File>,
    temporary: PathBuf,
    path: PathBuf,
    bytes: u64,
    installed: bool,
}

/// A frame, as much as counts and index need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) offset: u64,
    pub(super) version: u64,
    pub(super) time: u64,
    pub(super) records: u32,
    /// The index that the records are for; empty if the payload does not tell.
    pub(super) index: &'a str,
}

/// The name of the segment whose first record has the offset `base`.
pub(super) fn path_of(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.seg"))
}

/// The offset in a segment's file name; `None` for other files.
pub(super) fn base_of(name: &Path) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    let is_base = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_base { digits.parse().ok() } else { None }
}

/// Reserves space for a segment under a temporary name.
pub(super) fn prepare(
    files: &Arc<dyn FileSystem>,
    directory: &Path,
    base: u64,
    bytes: u64,
) -> io::Result<Prepared> {
    let path = path_of(directory, base);
    let temporary = files::temporary(&path);
    let file = files.create(&temporary)?;
    let prepared = Prepared { files: files.clone(), file, temporary, path, bytes, installed: false };
    prepared.file.allocate(bytes)?;
    Ok(prepared)
}

impl Prepared {
    /// Writes the header and gives the file its name, each made durable before the next step. The segment before it
    /// must be sealed and durable.
    pub(super) fn install(mut self, directory: &Path, header: &Header) -> io::Result<Active> {
        self.file.write_at(&segment_header::encode(header), 0)?;
        self.file.sync_all()?;
        self.files.rename(&self.temporary, &self.path)?;
        self.installed = true;
        self.files.sync_directory(directory)?;
        let segment = Arc::new(Segment::new(self.path.clone(), header));
        Ok(Active::new(segment, self.file.clone(), self.bytes, header.previous.last_version))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.installed {
            // Opening the log removes it if this fails.
            let _ = self.files.remove(&self.temporary);
        }
    }
}

impl Segment {
    /// The segment with this header, not sealed.
    pub(super) fn new(path: PathBuf, header: &Header) -> Self {
        Self {
            path,
            base: header.base,
            nonce: header.nonce,
            sealed: OnceLock::new(),
            index: Mutex::default(),
            skips: Skips::default(),
        }
    }

    /// The same, with what an operator has given up of it.
    pub(super) fn with_skips(self, skips: Skips) -> Self {
        Self { skips, ..self }
    }

    /// The offset after its last record; `None` while it is written to.
    pub(super) fn end(&self) -> Option<u64> {
        self.sealed().map(|sealed| sealed.end)
    }

    /// How it ended; `None` while it is written to.
    pub(super) fn sealed(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    /// It ends like this for good.
    pub(super) fn seal(&self, sealed: Sealed) {
        self.sealed.get_or_init(|| sealed);
    }

    /// Whether its last frame was accepted at least so long ago.
    pub(super) fn is_older(&self, now: Timestamp, age: Duration) -> bool {
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.sealed().is_some_and(|sealed| now.0.saturating_sub(sealed.last_time) >= age)
    }

    /// The last indexed frame that begins at or before `offset`.
    pub(super) fn seek(&self, file: &dyn File, offset: u64) -> io::Result<Place> {
        let index = if self.end().is_some() {
            // A rotten footer costs time only: the frames say the same.
            read_footer(file, self.nonce)?.map(|footer| footer.places).unwrap_or_default()
        } else {
            self.index().clone()
        };
        let before = index.partition_point(|entry| entry.offset <= offset);
        let entry = before.checked_sub(1).map(|last| index[last]);
        let first = Place { at: HEADER_BYTES as u64, offset: self.base };
        Ok(entry.map_or(first, |entry| Place { at: entry.at, offset: entry.offset }))
    }

    fn index(&self) -> MutexGuard<'_, Vec<IndexEntry>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    /// A segment without frames yet; `last_version` is that of the segment before it.
    pub(super) fn new(segment: Arc<Segment>, file: Arc<dyn File>, limit: u64, last_version: u64) -> Self {
        let summary = Summary { end: segment.base, last_version, ..Summary::default() };
        Self {
            keys: Collected::new(segment.base),
            segment,
            file,
            at: HEADER_BYTES as u64,
            limit,
            summary,
            indexed: 0,
            counts: Counts::default(),
            counts_bytes: 0,
        }
    }

    /// Whether a frame of `size` bytes, after `pending` bytes that are not written yet, leaves room for the footer.
    pub(super) fn has_room(&self, pending: usize, size: usize) -> bool {
        let counts_bytes = self.counts_bytes + segment_footer::count_bytes(INDEX_NAME_BYTES_MAX);
        let footer = segment_footer::size_with(self.indexed + 1, counts_bytes);
        let keys = self.keys.size() + KEY_BYTES;
        self.at + (pending + size + keys + footer) as u64 <= self.limit
    }

    /// Counts and indexes a frame at byte `at`, whose write group begins at `group_at`. A frame that is not durable
    /// yet may be indexed: readers look for durable offsets only.
    pub(super) fn note(&mut self, at: u64, group_at: u64, entry: Entry<'_>) {
        let Entry { offset, version, time, records, index: name } = entry;
        let summary = &mut self.summary;
        if summary.frames == 0 {
            (summary.first_version, summary.first_time) = (version, time);
        }
        summary.frames += 1;
        summary.end = offset + u64::from(records);
        summary.last_version = version + u64::from(records) - 1;
        summary.last_time = time;
        summary.last_group_at = group_at;
        self.keys.advance(time);
        match self.counts.get_mut(name) {
            Some(count) => *count += u64::from(records),
            None => {
                self.counts_bytes += segment_footer::count_bytes(name.len());
                self.counts.insert(name.into(), records.into());
            }
        }
        let mut index = self.segment.index();
        if index.last().is_none_or(|last| at >= last.at + INDEX_STEP) {
            index.push(IndexEntry { offset, version, time, at });
            self.indexed += 1;
        }
    }

    /// Goes on behind what was given up: offsets are not used again, whatever becomes of the frames behind it.
    pub(super) fn pass(&mut self, place: Place) {
        self.at = place.at;
        self.summary.end = self.summary.end.max(place.offset);
    }

    /// When its first and its last frame were accepted; `None` if there is none.
    pub(super) fn times(&self) -> Option<(u64, u64)> {
        (!self.is_empty()).then_some((self.summary.first_time, self.summary.last_time))
    }

    /// Whether nothing was written yet.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.frames == 0
    }

    /// Where the last write group begins.
    pub(super) fn last_group_at(&self) -> u64 {
        if self.is_empty() { self.at } else { self.summary.last_group_at }
    }

    /// What the next segment's header says of this one.
    pub(super) fn as_previous(&self) -> Previous {
        let Summary { end, last_version, .. } = self.summary;
        Previous { end, last_version, nonce: self.segment.nonce }
    }

    /// Ends the segment for good: keys, footer, cut to its size, fsync. Returns the file's size.
    pub(super) fn seal(self) -> io::Result<u64> {
        // It stays for readers until they find it in the footer.
        let places = self.segment.index().clone();
        let nonce = self.segment.nonce;
        let keys = self.keys.place(self.at, nonce);
        let mut bytes = self.keys.into_bytes();
        let footer = Footer {
            at: self.at + bytes.len() as u64,
            summary: self.summary,
            places,
            counts: self.counts,
            keys,
        };
        let sealed = footer.sealed();
        bytes.extend_from_slice(&segment_footer::encode(nonce, &footer));
        let size = self.at + bytes.len() as u64;
        self.file.write_at(&bytes, self.at)?;
        self.file.truncate(size)?;
        self.file.sync_all()?;
        self.segment.seal(sealed);
        mem::take(&mut *self.segment.index());
        Ok(size)
    }
}

impl Footer {
    /// What it says of its segment.
    pub(super) fn sealed(&self) -> Sealed {
        let Summary { end, last_time, .. } = self.summary;
        Sealed { end, frames_bytes: self.frames_end().saturating_sub(HEADER_BYTES as u64), last_time }
    }
}

/// Reads a sealed segment's footer; the inner error says why there is no sound one.
pub(super) fn read_footer(file: &dyn File, nonce: u64) -> io::Result<Result<Footer, FormatError>> {
    let size = file.size()?;
    let trailer_at = size.saturating_sub(TRAILER_BYTES as u64);
    let trailer = file.read_at(trailer_at, TRAILER_BYTES)?;
    match segment_footer::decode_trailer(&trailer, size) {
        Ok(trailer) => {
            let bytes = file.read_at(trailer.at, trailer.length + TRAILER_BYTES)?;
            Ok(segment_footer::decode(nonce, &bytes))
        }
        Err(error) => Ok(Err(error)),
    }
}
