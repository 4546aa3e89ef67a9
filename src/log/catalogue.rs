//! Which segments there are, how many bytes they take, and which may go: those that lie whole below what every
//! destination has persisted (rule 9).
//!
//! The list is the truth while the log is open; the files are when it is opened. A segment leaves the list before its
//! file goes, and its bytes count until the file is gone.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{files::FileSystem, segment::Segment};

/// How far the log is safe on disk; published by the writer after each sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Durable {
    /// The offset after the last durable record.
    pub(super) end: u64,
    /// The base of the segment that the writer appends to.
    pub(super) segment: u64,
    /// The byte after the last durable frame in that segment.
    pub(super) at: u64,
}

/// The segments of an open log.
#[derive(Debug)]
pub(super) struct Catalogue {
    files: Arc<dyn FileSystem>,
    directory: PathBuf,
    state: Mutex<State>,
    /// One removes segments at a time, so that they go oldest first.
    reclaiming: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    segments: VecDeque<(Arc<Segment>, u64)>,
    bytes: u64,
    /// Every destination that counts has persisted a cursor at or after this offset.
    releasable: u64,
}

impl Catalogue {
    /// The segments in order, each with the bytes that it takes. Until [`Catalogue::release`] nothing goes.
    pub(super) fn new(
        files: Arc<dyn FileSystem>,
        directory: PathBuf,
        segments: Vec<(Arc<Segment>, u64)>,
    ) -> Self {
        let bytes = segments.iter().map(|(_, bytes)| bytes).sum();
        let state = State { segments: segments.into(), bytes, releasable: 0 };
        Self { files, directory, state: Mutex::new(state), reclaiming: Mutex::default() }
    }

    /// The oldest offset that is there.
    pub(super) fn start(&self) -> u64 {
        self.state().start()
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// The segment that holds `offset`, or will; the log's start if it lies before that.
    pub(super) fn find(&self, offset: u64) -> Result<Option<Arc<Segment>>, u64> {
        let state = self.state();
        let after = state.segments.partition_point(|(segment, _)| segment.base <= offset);
        match after.checked_sub(1) {
            Some(index) => Ok(Some(state.segments[index].0.clone())),
            None if state.segments.is_empty() => Ok(None),
            None => Err(state.start()),
        }
    }

    /// Adds the newest segment.
    pub(super) fn push(&self, segment: Arc<Segment>, bytes: u64) {
        let mut state = self.state();
        state.segments.push_back((segment, bytes));
        state.bytes += bytes;
    }

    /// Corrects what the newest segment takes.
    pub(super) fn resize_newest(&self, bytes: u64) {
        let mut state = self.state();
        if let Some((_, newest)) = state.segments.back_mut() {
            let before = std::mem::replace(newest, bytes);
            state.bytes = state.bytes - before + bytes;
        }
    }

    /// Keeps everything from the start on, which is returned, until the next [`Catalogue::release`].
    pub(super) fn hold_all(&self) -> u64 {
        let mut state = self.state();
        state.releasable = 0;
        state.start()
    }

    /// What lies below `releasable` may go; [`Catalogue::reclaim`] lets it.
    pub(super) fn release(&self, releasable: u64) {
        self.state().releasable = releasable;
    }

    /// Removes what may go, oldest first; the newest segment stays, since it carries offsets and versions on. Each
    /// removal is durable before the next one: a power cut must not leave a hole.
    pub(super) fn reclaim(&self) -> io::Result<()> {
        let _one_at_a_time = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = self.state().take_releasable();
        if gone.is_empty() {
            return Ok(());
        }
        let mut bytes = 0;
        for (segment, size) in &gone {
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
        self.segments.front().map_or(0, |(segment, _)| segment.base)
    }

    fn take_releasable(&mut self) -> Vec<(Arc<Segment>, u64)> {
        let sealed = self.segments.len().saturating_sub(1);
        let count = self
            .segments
            .iter()
            .take(sealed)
            .take_while(|(segment, _)| segment.end().is_some_and(|end| end <= self.releasable))
            .count();
        self.segments.drain(..count).collect()
    }
}
