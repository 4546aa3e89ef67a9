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

/// A record and what it becomes at this destination.
#[derive(Debug)]
pub struct FeedRecord {
    /// Where it lies.
    pub position: Position,
    /// What to deliver, in this order; none if the destination does not receive the record.
    pub operations: Vec<Operation>,
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
    pub async fn next(&mut self) -> Result<Vec<FeedRecord>, FeedError> {
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
        let mut records = Vec::with_capacity(frames.iter().map(|frame| frame.records as usize).sum());
        for frame in &frames {
            if let Err(source) = self.expand(frame, &mut records) {
                self.reader = None;
                return Err(FeedError::Payload { position: frame.position, source });
            }
        }
        if let Some(last) = records.last() {
            self.next = last.position.plus(1);
        }
        Ok(records)
    }

    /// Goes on at a later position; what lies between is the caller's to account for.
    pub fn skip_to(&mut self, position: Position) {
        self.reader = None;
        self.next = position;
    }

    fn expand(&self, frame: &Frame, records: &mut Vec<FeedRecord>) -> Result<(), PayloadError> {
        let payload = read_payload(&frame.payload, frame.records)?;
        let delivers =
            payload.first().is_some_and(|first| self.router.delivers(&first.index, &self.destination));
        for (number, record) in (0..).zip(payload) {
            let position = frame.position.plus(number);
            // A reader's first frame may begin before the cursor.
            if position < self.next {
                continue;
            }
            let operations = if delivers { vec![operation_of(frame, number, record)] } else { Vec::new() };
            records.push(FeedRecord { position, operations });
        }
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
