//! Readers: from any position to the durable end and on, block by block.
//!
//! A reader never looks beyond what the writer has published as durable. What was written just now it takes from
//! memory. It keeps a segment open that it reads, so that nothing is taken from under it, and no buffer while it waits.

use std::{io, panic, sync::Arc};

use async_trait::async_trait;
use plugin_api::identity::{LogId, Position};
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    block::{self, Place, Source},
    buffers::Buffers,
    catalogue::{Catalogue, Durable},
    files::{Access, File, FileSystem},
    interface::{Frame, ReadError, Reader},
    newest::{DurableGroup, Newest},
    recovery::or_skip,
    sections::FormatError,
    segment::Segment,
};

/// Reads the embedded log.
#[derive(Debug)]
pub(super) struct EmbeddedReader {
    log: Arc<Readable>,
    durable: watch::Receiver<Durable>,
    /// Frames that end at or before this offset are passed over.
    from: u64,
    /// Where reading goes on; `None` until the first frame was looked for.
    stand: Option<Stand>,
    /// It had everything that was durable when it last looked, and has fallen no further behind than what is in memory.
    is_at_end: bool,
}

/// What all readers of a log share.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) log_id: LogId,
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) buffers: Buffers,
    pub(super) newest: Arc<Newest>,
}

#[derive(Clone, Debug)]
struct Stand {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    place: Place,
}

impl EmbeddedReader {
    pub(super) fn new(log: Arc<Readable>, durable: watch::Receiver<Durable>, from: u64) -> Self {
        Self { log, durable, from, stand: None, is_at_end: false }
    }

    fn offset(&self) -> u64 {
        self.stand.as_ref().map_or(self.from, |stand| stand.place.offset)
    }

    /// Goes on behind a write group.
    fn pass(&mut self, group: &DurableGroup) {
        // A segment that it has left must not stay open: that would keep it on the disk once it goes.
        let stand = self.stand.take().filter(|stand| stand.segment.base == group.segment);
        self.stand = stand.map(|stand| Stand { place: group.end, ..stand });
        self.from = group.end.offset;
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self) -> Result<Vec<Frame>, ReadError> {
        loop {
            let durable = *self.durable.borrow_and_update();
            if self.offset() >= durable.end {
                self.is_at_end = true;
                self.durable.changed().await.map_err(|_| ReadError::Closed)?;
                continue;
            }
            if self.is_at_end
                && let Some(group) = self.log.newest.from(self.offset())
            {
                self.pass(&group);
                return Ok(group.frames.clone());
            }
            let (log, from, stand) = (self.log.clone(), self.from, self.stand.clone());
            let (stand, frames) = match spawn_blocking(move || log.read(stand, from, durable)).await {
                Ok(read) => read?,
                Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => return Err(ReadError::Closed),
            };
            self.is_at_end = stand.place.offset >= durable.end;
            self.stand = Some(stand);
            if !frames.is_empty() {
                return Ok(frames);
            }
        }
    }
}

impl Readable {
    /// Reads one block; blocks the thread. There may be no frame in it that is wanted.
    fn read(
        &self,
        stand: Option<Stand>,
        from: u64,
        durable: Durable,
    ) -> Result<(Stand, Vec<Frame>), ReadError> {
        let stand = match stand {
            Some(stand) if stand.segment.end().is_none_or(|end| stand.place.offset < end) => stand,
            Some(ended) => self.stand_at(ended.place.offset)?,
            None => self.stand_at(from)?,
        };
        let Stand { segment, file, place } = &stand;
        let limit = if segment.base == durable.segment {
            durable.at
        } else {
            file.size().map_err(cannot_read(segment))?
        };
        if let Some(range) = segment.skips.covering(place.at) {
            let first = range.from.offset.max(from);
            return match range.to {
                Place { offset, .. } if offset > first => {
                    Err(given_up(segment, range.from.at, first, offset))
                }
                _ => Ok((Stand { place: range.to, ..stand }, Vec::new())),
            };
        }
        let limit = segment.skips.limit(place.at, limit);
        let until = segment.end().map_or(durable.end, |end| end.min(durable.end));
        let source = Source { file: &**file, nonce: segment.nonce, log_id: self.log_id, limit, until };
        let block = block::read_into(source, *place, &self.buffers).map_err(cannot_read(segment))?;
        if block.found.is_empty() {
            let fault = block.fault.unwrap_or_else(|| FormatError::broken("the segment ends too early"));
            let (path, at) = (segment.path.clone(), place.at);
            let what = format!("{fault}. {}", or_skip(place.offset));
            return Err(ReadError::Rotten { path, at, what });
        }
        let ends_after = |frame: &Frame| frame.position.offset + u64::from(frame.records) > from;
        let frames = block.found.into_iter().map(|found| found.frame).filter(ends_after).collect();
        Ok((Stand { place: block.next, ..stand }, frames))
    }

    /// Opens the segment that holds a durable offset and looks up about where it lies.
    fn stand_at(&self, offset: u64) -> Result<Stand, ReadError> {
        let segment = match self.catalogue.find(offset) {
            Ok(Some(segment)) => segment,
            Ok(None) => return Err(ReadError::Closed),
            Err(start) => return Err(below_start(offset, start)),
        };
        let file = match self.files.open(&segment.path, Access::Read) {
            Ok(file) => file,
            // It was given back to the disk just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.catalogue.start() > offset => {
                return Err(below_start(offset, self.catalogue.start()));
            }
            Err(error) => return Err(cannot_read(&segment)(error)),
        };
        let place = segment.seek(&*file, offset).map_err(cannot_read(&segment))?;
        Ok(Stand { segment, file, place })
    }
}

/// The error of a position that is gone.
pub(super) fn below_start(wanted: u64, start: u64) -> ReadError {
    let position = |offset| Position { partition: 0, offset };
    ReadError::BelowStart { wanted: position(wanted), start: position(start) }
}

/// The error of what an operator has given up: from the first record that is wanted to before the offset `to`.
fn given_up(segment: &Segment, at: u64, first: u64, to: u64) -> ReadError {
    let position = |offset| Position { partition: 0, offset };
    ReadError::GivenUp { path: segment.path.clone(), at, from: position(first), to: position(to) }
}

fn cannot_read(segment: &Segment) -> impl Fn(io::Error) -> ReadError {
    let path = segment.path.clone();
    move |error| ReadError::Io { path: path.clone(), cause: error.to_string() }
}
