//! One destination's view of the log, from its cursor on.
//!
//! Every record of the log comes out once, in order, those for other destinations too (as skipped), so that the
//! cursor moves past them.

use std::sync::Arc;

use plugin_api::{
    identity::{Position, Version},
    operation::{Key, Operation, Source},
};
use thiserror::Error;

use crate::{
    log::interface::{Frame, Log, ReadError, Reader},
    record::{PayloadError, Record, read_payload},
    router::Router,
};

/// Consecutive records and what they become at this destination.
#[derive(Debug)]
pub struct FeedBlock {
    /// Where the first record lies.
    pub first: Position,
    /// How many operations each record becomes, in order: none if the destination does not receive it.
    pub operations_by_record: Vec<u32>,
    /// The operations of all records, in order.
    pub operations: Vec<Operation>,
    /// Bytes of the log that any one of the operations keeps in memory, about.
    pub bytes: usize,
}

impl FeedBlock {
    /// The position after the last record.
    #[must_use]
    pub fn end(&self) -> Position {
        self.first.plus(self.operations_by_record.len() as u64)
    }
}

/// Why the feed cannot go on.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame passed its checksum but does not hold what it should: written by a defective or newer agent.
    #[error("frame at {position}: {source}")]
    Payload {
        /// The frame's first record.
        position: Position,
        /// What is wrong.
        source: PayloadError,
    },
}

/// Reads the log for one destination.
pub struct Feed {
    log: Arc<dyn Log>,
    reader: Option<Box<dyn Reader>>,
    next: Position,
    router: Arc<Router>,
    destination: Arc<str>,
}

impl Feed {
    /// A feed whose first record is the one at `from`. Reads nothing yet.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, from: Position, router: Arc<Router>, destination: Arc<str>) -> Self {
        Self { log, reader: None, next: from, router, destination }
    }

    /// The next records, about 1 MiB of them; waits at the log's end. Cancel-safe.
    ///
    /// # Errors
    /// The feed stays where it is; after an error it may be asked again.
    pub async fn next(&mut self) -> Result<FeedBlock, FeedError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            vacant => vacant.insert(self.log.read_from(self.next).await?),
        };
        let frames = match reader.next().await {
            Ok(frames) => frames,
            Err(error) => {
                self.reader = None;
                return Err(error.into());
            }
        };
        let records = frames.iter().map(|frame| frame.records as usize).sum();
        let mut block = FeedBlock {
            first: self.next,
            operations_by_record: Vec::with_capacity(records),
            operations: Vec::new(),
            bytes: frames.iter().map(|frame| frame.payload.len()).sum(),
        };
        for frame in &frames {
            if let Err(source) = self.expand(frame, &mut block) {
                // It is read again, so that it is met again after what lies before it.
                self.reader = None;
                if block.operations_by_record.is_empty() {
                    return Err(FeedError::Payload { position: frame.position, source });
                }
                break;
            }
        }
        self.next = block.end();
        Ok(block)
    }

    /// Goes on at a later position; what lies between is the caller's to account for.
    pub fn skip_to(&mut self, position: Position) {
        self.reader = None;
        self.next = position;
    }

    fn expand(&self, frame: &Frame, block: &mut FeedBlock) -> Result<(), PayloadError> {
        let records = read_payload(&frame.payload, frame.records)?;
        // A reader's first frame may begin before the cursor.
        let passed = block.end().offset.saturating_sub(frame.position.offset);
        let delivers =
            records.first().is_some_and(|first| self.router.delivers(&first.index, &self.destination));
        let wanted = (0..).zip(records).skip(passed as usize);
        if delivers {
            block.operations.extend(wanted.map(|(number, record)| operation_of(frame, number, record)));
        }
        let count = frame.records as usize - passed as usize;
        block.operations_by_record.extend(std::iter::repeat_n(u32::from(delivers), count));
        Ok(())
    }
}

fn operation_of(frame: &Frame, number: u64, record: Record) -> Operation {
    Operation {
        action: record.action,
        key: Key { index: record.index, object_id: record.object_id },
        body: record.body,
        version: Version(frame.version.0 + number),
        source: Source {
            log_id: frame.log_id,
            position: frame.position.plus(number),
            number: 0,
            request_id: frame.request_id,
            accepted_at: frame.accepted_at,
        },
    }
}
