//! One destination's view of the log, from its cursor on.
//!
//! Every record of the log comes out once, in order, those for other destinations too (as skipped), so that the
//! cursor moves past them.

use std::sync::Arc;

use plugin_api::{
    identity::{Position, Version},
    operation::{Key, Operation, Source},
};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::tail::Tail;
use crate::{
    log::interface::{Frame, ReadError, Reader},
    record::{PayloadError, Record},
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
    tail: Arc<Tail>,
    /// Its own reader, while it is behind what others have read.
    reader: Option<Box<dyn Reader>>,
    next: Position,
    router: Arc<Router>,
    destination: Arc<str>,
    /// What indexes are called at the destination, those that go there.
    names: FxHashMap<Arc<str>, Option<Arc<str>>>,
}

/// Names of so many indexes are kept.
const NAMES_MAX: usize = 10_000;

impl Feed {
    /// A feed whose first record is the one at `from`. Reads nothing yet.
    #[must_use]
    pub fn new(tail: Arc<Tail>, from: Position, router: Arc<Router>, destination: Arc<str>) -> Self {
        Self { tail, reader: None, next: from, router, destination, names: FxHashMap::default() }
    }

    /// The next records, about 1 MiB of them; waits at the log's end. Cancel-safe.
    ///
    /// # Errors
    /// The feed stays where it is; after an error it may be asked again.
    pub async fn next(&mut self) -> Result<FeedBlock, FeedError> {
        let block = self.tail.next(self.next, &mut self.reader).await?;
        let records = (block.end().offset - self.next.offset) as usize;
        let mut feed_block = FeedBlock {
            first: self.next,
            operations_by_record: Vec::with_capacity(records),
            operations: Vec::with_capacity(records),
            bytes: block.bytes(),
        };
        for (frame, records) in block.frames() {
            self.expand(frame, records, &mut feed_block);
        }
        self.next = feed_block.end();
        Ok(feed_block)
    }

    /// Goes on at a later position; what lies between is the caller's to account for.
    pub fn skip_to(&mut self, position: Position) {
        self.reader = None;
        self.next = position;
    }

    fn expand(&mut self, frame: &Frame, records: &[Record], block: &mut FeedBlock) {
        // A block may begin before the cursor.
        let passed = (block.end().offset.saturating_sub(frame.position.offset) as usize).min(records.len());
        let name = records.first().and_then(|first| self.name(&first.index));
        if let Some(index) = &name {
            let operations = (0..).zip(records).skip(passed);
            block
                .operations
                .extend(operations.map(|(number, record)| operation_of(frame, number, record, index)));
        }
        let operations = u32::from(name.is_some());
        block.operations_by_record.extend(std::iter::repeat_n(operations, records.len() - passed));
    }

    /// What an index is called at the destination; `None` if it does not go there.
    fn name(&mut self, index: &Arc<str>) -> Option<Arc<str>> {
        if let Some(name) = self.names.get(index) {
            return name.clone();
        }
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        let name = self.router.name_at(index, &self.destination);
        self.names.insert(index.clone(), name.clone());
        name
    }
}

fn operation_of(frame: &Frame, number: u64, record: &Record, index: &Arc<str>) -> Operation {
    Operation {
        action: record.action,
        record_index: record.index.clone(),
        key: Key { index: index.clone(), object_id: record.object_id.clone() },
        body: record.body.clone(),
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
