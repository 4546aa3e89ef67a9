//! Frames of the log with their records.

use std::sync::{Arc, Mutex, PoisonError};

use plugin_api::identity::{Position, Timestamp};
use rustc_hash::FxHashMap;

use super::{part::Part, view::FeedError};
use crate::{
    log::interface::Frame,
    record::{Record, read_payload},
    transform::{Slot, Transforms},
};

/// Consecutive frames, decoded.
#[derive(Debug)]
pub(super) struct Block {
    frames: Vec<(Frame, Vec<Record>)>,
    first: Position,
    end: Position,
    bytes: usize,
    /// By index: what its transform makes of its records, if a lane has asked for that.
    /// Of each index, by the transform that its records pass: a reload may have changed it between two lanes.
    parts: Mutex<FxHashMap<Arc<str>, Vec<Started>>>,
}

/// A part, and the transform that it passes; `None` if there is none of its name.
type Started = (Option<Arc<Slot>>, Arc<Part>);

/// Decodes frames up to the first one that does not hold what it should. Where no frame comes, the block is empty and
/// lies at `at`.
pub(super) fn decode(at: Position, frames: Vec<Frame>) -> (Block, Option<FeedError>) {
    let first = frames.first().map_or(at, |frame| frame.position);
    let (bytes, parts) = (0, Mutex::default());
    let mut block = Block { frames: Vec::with_capacity(frames.len()), first, end: first, bytes, parts };
    for frame in frames {
        match read_payload(&frame.payload, frame.records) {
            Ok(records) => {
                block.end = frame.position.plus(u64::from(frame.records));
                block.bytes += frame.payload.len();
                block.frames.push((frame, records));
            }
            Err(source) => return (block, Some(FeedError::Payload { position: frame.position, source })),
        }
    }
    (block, None)
}

impl Block {
    /// Frames that do not come from the log as they are, in log order, each with its records.
    pub(super) fn of(frames: Vec<(Frame, Vec<Record>)>) -> Self {
        let first = frames.first().map_or_else(Position::default, |(frame, _)| frame.position);
        let end = frames.last().map_or(first, |(frame, _)| frame.position.plus(u64::from(frame.records)));
        let bodies = frames.iter().flat_map(|(_, records)| records).map(|record| record.body.len());
        Self { first, end, bytes: bodies.sum(), parts: Mutex::default(), frames }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Each frame with its records, at least one.
    pub(super) fn frames(&self) -> &[(Frame, Vec<Record>)] {
        &self.frames
    }

    /// Each of an index's frames with its records.
    pub(super) fn frames_of(&self, index: &str) -> impl Iterator<Item = &(Frame, Vec<Record>)> {
        self.frames
            .iter()
            .filter(move |(_, records)| records.first().is_some_and(|first| *first.index == *index))
    }

    /// All records of an index, on their way through its transform: that of whichever lane asks first.
    pub(super) fn part(
        &self,
        index: &Arc<str>,
        transform: &Arc<str>,
        transforms: Option<&Transforms>,
    ) -> Arc<Part> {
        let slot = transforms.and_then(|transforms| transforms.slot(transform));
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_index = parts.entry(index.clone()).or_default();
        let same = |(started, _): &&Started| match (started, slot) {
            (Some(started), Some(slot)) => Arc::ptr_eq(started, slot),
            (None, None) => true,
            _ => false,
        };
        if let Some((_, part)) = of_index.iter().find(same) {
            return part.clone();
        }
        let records = self.frames_of(index).flat_map(|(_, records)| records.iter().cloned());
        let part = Part::start(transforms, transform, index, records.collect());
        of_index.push((slot.cloned(), part.clone()));
        part
    }

    /// When the first record was accepted.
    pub(super) fn accepted_at(&self) -> Timestamp {
        self.frames.first().map_or(Timestamp(0), |(frame, _)| frame.accepted_at)
    }

    /// The position of the first record.
    pub(super) fn first(&self) -> Position {
        self.first
    }

    /// The position after the last one.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Bytes of the log that it keeps in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
