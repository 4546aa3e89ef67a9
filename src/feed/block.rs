//! Frames of the log with their records.

use plugin_api::identity::Position;

use super::view::FeedError;
use crate::{
    log::interface::Frame,
    record::{Record, read_payload},
};

/// Consecutive frames, decoded.
#[derive(Debug)]
pub(super) struct Block {
    frames: Vec<(Frame, Vec<Record>)>,
    first: Position,
    end: Position,
    bytes: usize,
}

/// Decodes frames up to the first one that does not hold what it should. Where no frame comes, the block is empty and
/// lies at `at`.
pub(super) fn decode(at: Position, frames: Vec<Frame>) -> (Block, Option<FeedError>) {
    let first = frames.first().map_or(at, |frame| frame.position);
    let mut block = Block { frames: Vec::with_capacity(frames.len()), first, end: first, bytes: 0 };
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
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Each frame with its records, at least one.
    pub(super) fn frames(&self) -> &[(Frame, Vec<Record>)] {
        &self.frames
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
