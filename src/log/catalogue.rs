//! Which segments there are, how many bytes they take, and which may go: those that lie whole below what every
//! destination has persisted, once retention keeps them no longer (rule 9).
//!
//! The list is the truth while the log is open; the files are when it is opened. A segment leaves the list before its
//! file goes, and its bytes count until the file is gone.
//!
//! A *log byte* numbers the bytes of frames from the oldest segment that was there when the log was opened: distances
//! between two of them say how much a destination is behind.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_api::identity::Timestamp;

use super::{files::FileSystem, interface::Retention, segment::Segment, segment_header::HEADER_BYTES};

/// Segments that retention lets go at once.
const EXPIRED_AT_ONCE: usize = 8;

/// How far the log is safe on disk; published by the writer after each sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Durable {
    /// The offset after the last durable record.
    pub(super) end: u64,
    /// That record's version.
    pub(super) last_version: u64,
    /// The base of the segment that the writer appends to.
    pub(super) segment: u64,
    /// The byte after the last durable frame in that segment.
    pub(super) at: u64,
}

/// What is asked to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reclaim {
    /// What retention does not keep at this time, so many segments at once at most: each is an open file until its
    /// blocks are free.
    Expired(Timestamp),
    /// The oldest delivered segments, until so many bytes are free again.
    Pressure(u64),
}

/// The segments of an open log.
#[derive(Debug)]
pub(super) struct Catalogue {
    files: Arc<dyn FileSystem>,
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    disk_bytes_max: u64,
    retention: Retention,
    segments: VecDeque<Listed>,
    bytes: u64,
    /// Every destination that counts has persisted a cursor at or after this offset.
    releasable: u64,
}

#[derive(Clone, Debug)]
struct Listed {
    segment: Arc<Segment>,
    /// Bytes on disk.
    bytes: u64,
    /// The log byte of its first frame.
    begins_at: u64,
}

impl Catalogue {
    /// The segments in order, each with the bytes that it takes. Until [`Catalogue::release`] nothing goes.
    pub(super) fn new(
        files: Arc<dyn FileSystem>,
        directory: PathBuf,
        disk_bytes_max: u64,
        retention: Retention,
        segments: impl IntoIterator<Item = (Arc<Segment>, u64)>,
    ) -> Self {
        let (segments_there, bytes, releasable) = (VecDeque::new(), 0, 0);
        let mut state = State { disk_bytes_max, retention, segments: segments_there, bytes, releasable };
        segments.into_iter().for_each(|(segment, bytes)| state.push(segment, bytes));
        Self { files, directory, state: Mutex::new(state) }
    }

    /// Bytes that it may take.
    pub(super) fn disk_bytes_max(&self) -> u64 {
        self.state().disk_bytes_max
    }

    /// Other bounds from now on.
    pub(super) fn bound(&self, disk_bytes_max: u64, retention: Retention) {
        let mut state = self.state();
        (state.disk_bytes_max, state.retention) = (disk_bytes_max, retention);
    }

    /// The oldest offset that is there.
    pub(super) fn start(&self) -> u64 {
        self.state().start()
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.state().segments.len()
    }

    /// Bytes on disk that somebody still needs: the rest is kept for retention only.
    pub(super) fn held_bytes(&self) -> u64 {
        let state = self.state();
        state.bytes - state.delivered().map(|listed| listed.bytes).sum::<u64>()
    }

    /// The segment that holds `offset`, or will; the log's start if it lies before that.
    pub(super) fn find(&self, offset: u64) -> Result<Option<Arc<Segment>>, u64> {
        let state = self.state();
        match state.index_of(offset) {
            Some(index) => Ok(Some(state.segments[index].segment.clone())),
            None if state.segments.is_empty() => Ok(None),
            None => Err(state.start()),
        }
    }

    /// The segments that hold offsets from `from` up to `to`.
    pub(super) fn range(&self, from: u64, to: u64) -> Vec<Arc<Segment>> {
        let state = self.state();
        let first = state.index_of(from).unwrap_or(0);
        let within = state.segments.iter().skip(first).take_while(|listed| listed.segment.base < to);
        within.map(|listed| listed.segment.clone()).collect()
    }

    /// About where a record lies: the log byte of an offset, in proportion within its segment.
    pub(super) fn byte_of(&self, offset: u64, durable: &Durable) -> u64 {
        let state = self.state();
        let Some(Listed { segment, begins_at, .. }) =
            state.index_of(offset).map(|index| &state.segments[index])
        else {
            return 0;
        };
        let (end, frames_bytes) = match segment.sealed() {
            Some(sealed) => (sealed.end, sealed.frames_bytes),
            None if segment.base == durable.segment => {
                (durable.end, durable.at.saturating_sub(HEADER_BYTES as u64))
            }
            None => (segment.base, 0),
        };
        let records = u128::from(end.saturating_sub(segment.base).max(1));
        let passed = u128::from(offset.min(end) - segment.base);
        let within = u128::from(frames_bytes) * passed / records;
        begins_at + u64::try_from(within).unwrap_or(frames_bytes)
    }

    /// Adds the newest segment; the one before it is sealed.
    pub(super) fn push(&self, segment: Arc<Segment>, bytes: u64) {
        self.state().push(segment, bytes);
    }

    /// Corrects what the newest segment takes.
    pub(super) fn resize_newest(&self, bytes: u64) {
        let mut state = self.state();
        if let Some(newest) = state.segments.back_mut() {
            let before = std::mem::replace(&mut newest.bytes, bytes);
            state.bytes = state.bytes - before + bytes;
        }
    }

    /// Keeps everything from the start on, which is returned, until the next [`Catalogue::release`].
    pub(super) fn hold_all(&self) -> u64 {
        let mut state = self.state();
        state.releasable = 0;
        state.start()
    }

    /// What lies below `releasable` may go when [`Catalogue::due`] finds it.
    pub(super) fn release(&self, releasable: u64) {
        self.state().releasable = releasable;
    }

    /// The segments that are to go now, oldest first. The newest stays, since it carries offsets and versions on.
    pub(super) fn due(&self, reclaim: Reclaim) -> Vec<Arc<Segment>> {
        let state = self.state();
        let mut kept: u64 = state.delivered().map(|listed| listed.bytes).sum();
        let (mut freed, mut going) = (0, 0);
        let goes = |listed: &&Listed| {
            let goes = match reclaim {
                Reclaim::Pressure(needed) => freed < needed,
                Reclaim::Expired(now) => {
                    let is_kept = kept <= state.retention.bytes_max
                        && !listed.segment.is_older(now, state.retention.age);
                    going < EXPIRED_AT_ONCE && !is_kept
                }
            };
            kept -= listed.bytes;
            freed += listed.bytes;
            going += 1;
            goes
        };
        state.delivered().take_while(goes).map(|listed| listed.segment.clone()).collect()
    }

    /// Removes segments that [`Catalogue::due`] has named; one removes at a time. Each removal is durable before the
    /// next one: a power cut must not leave a hole.
    pub(super) fn remove(&self, segments: &[Arc<Segment>]) -> io::Result<()> {
        let gone: Vec<Listed> = self.state().segments.drain(..segments.len()).collect();
        let mut bytes = 0;
        for Listed { segment, bytes: size, .. } in &gone {
            self.files.remove(&segment.path)?;
            self.files.sync_directory(&self.directory)?;
            bytes += size;
        }
        self.state().bytes -= bytes;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&self) -> u64 {
        self.segments.front().map_or(0, |listed| listed.segment.base)
    }

    fn index_of(&self, offset: u64) -> Option<usize> {
        self.segments.partition_point(|listed| listed.segment.base <= offset).checked_sub(1)
    }

    fn push(&mut self, segment: Arc<Segment>, bytes: u64) {
        let begins_at = self
            .segments
            .back()
            .map_or(0, |last| last.begins_at + last.segment.sealed().map_or(0, |sealed| sealed.frames_bytes));
        self.segments.push_back(Listed { segment, bytes, begins_at });
        self.bytes += bytes;
    }

    /// The sealed segments that nobody needs any more, oldest first.
    fn delivered(&self) -> impl Iterator<Item = &Listed> {
        let sealed = self.segments.len().saturating_sub(1);
        let delivered =
            |listed: &&Listed| listed.segment.sealed().is_some_and(|sealed| sealed.end <= self.releasable);
        self.segments.iter().take(sealed).take_while(delivered)
    }
}
