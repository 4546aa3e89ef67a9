//! One destination's view of the log, from its cursor on.
//!
//! Every record of the log comes out once, in order, those for other destinations too (as skipped), so that the
//! cursor moves past them.

use std::sync::Arc;

use plugin_api::{
    identity::{Position, Timestamp},
    operation::Operation,
};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::{
    again::Again,
    block::Block,
    expand::Routed,
    routing::{Routes, Routing},
    tail::Tail,
    traced::TracedRequest,
    transforming::Held,
};
use crate::{
    log::interface::{Frame, ReadError, Reader},
    record::{PayloadError, Record},
};

/// Consecutive records and what they become at this destination.
#[derive(Debug)]
pub struct FeedBlock {
    /// Where the first record lies.
    pub first: Position,
    /// What each record becomes, in order.
    pub records: Vec<Becomes>,
    /// The operations of all records, in order.
    pub operations: Vec<Operation>,
    /// The records that are held.
    pub held: Vec<Held>,
    /// Bytes of the log that any one of the operations keeps in memory, about.
    pub bytes: usize,
    /// When its first record was accepted.
    pub accepted_at: Timestamp,
    /// The requests that go to this destination and that their producers trace.
    pub traced: Vec<TracedRequest>,
    /// The routing is another one than that of the block before: whatever is still held of an index goes first.
    pub rerouted: bool,
}

/// What a record becomes at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// One operation.
    Operation,
    /// Nothing: the destination does not receive it.
    Nothing,
    /// What its transform will make of it.
    Held,
}

impl FeedBlock {
    /// The position after the last record.
    #[must_use]
    pub fn end(&self) -> Position {
        self.first.plus(self.records.len() as u64)
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
    routes: Arc<Routes>,
    /// What `ways` follow.
    routing: Arc<Routing>,
    destination: Arc<str>,
    /// Which way indexes go, those that go to the destination.
    ways: FxHashMap<Arc<str>, Option<Way>>,
}

/// The way of an index to a destination.
#[derive(Clone)]
struct Way {
    /// What the destination calls it.
    name: Arc<str>,
    transform: Option<Arc<str>>,
}

/// Ways of so many indexes are kept.
const WAYS_MAX: usize = 10_000;

impl Feed {
    /// A feed whose first record is the one at `from`. Reads nothing yet.
    #[must_use]
    pub fn new(tail: Arc<Tail>, from: Position, routes: Arc<Routes>, destination: Arc<str>) -> Self {
        let routing = routes.current();
        Self { tail, reader: None, next: from, routes, routing, destination, ways: FxHashMap::default() }
    }

    /// The next records, about 1 MiB of them; waits at the log's end. Cancel-safe.
    ///
    /// # Errors
    /// The feed stays where it is; after an error it may be asked again.
    pub async fn next(&mut self) -> Result<FeedBlock, FeedError> {
        let block = self.tail.next(self.next, &mut self.reader).await?;
        let rerouted = self.follow();
        let feed_block = FeedBlock { rerouted, ..self.expand_from(self.next, &block) };
        self.next = feed_block.end();
        Ok(feed_block)
    }

    /// What records that come again become now: in log order, each once. They are routed and transformed as what is read;
    /// the feed stays where it is.
    pub fn again(&mut self, records: impl Iterator<Item = Again>) -> FeedBlock {
        let block = Arc::new(Block::of(records.map(Again::into_frame).collect()));
        self.follow();
        self.expand_from(block.first(), &block)
    }

    /// Whether the destination receives an index's records now.
    pub fn receives(&mut self, index: &Arc<str>) -> bool {
        self.follow();
        self.way(index).is_some()
    }

    /// Goes on at a later position; what lies between is the caller's to account for.
    pub fn skip_to(&mut self, position: Position) {
        self.reader = None;
        self.next = position;
    }

    fn expand_from(&mut self, first: Position, block: &Arc<Block>) -> FeedBlock {
        let records = block.frames().iter().map(|(_, records)| records.len()).sum();
        let mut feed_block = FeedBlock {
            first,
            records: Vec::with_capacity(records),
            operations: Vec::with_capacity(records),
            held: Vec::new(),
            bytes: block.bytes(),
            accepted_at: block.accepted_at(),
            traced: Vec::new(),
            rerouted: false,
        };
        for (frame, records) in block.frames() {
            self.expand(block, frame, records, &mut feed_block);
        }
        feed_block
    }

    fn expand(&mut self, of: &Arc<Block>, frame: &Frame, records: &[Record], block: &mut FeedBlock) {
        // A block may begin before the cursor.
        let passed = (block.end().offset.saturating_sub(frame.position.offset) as usize).min(records.len());
        let way = records.first().and_then(|first| Some((&first.index, self.way(&first.index)?)));
        let becomes = match way {
            None => Becomes::Nothing,
            Some((_, Way { name, transform: None })) => {
                let routed = (0..).zip(records).skip(passed);
                let routed = routed.map(|(number, record)| Routed { frame, number, record, name: &name });
                block.operations.extend(routed.map(Routed::as_it_came));
                Becomes::Operation
            }
            Some((index, Way { name, transform: Some(transform) })) => {
                if passed < records.len() && block.held.iter().all(|held| held.index != *index) {
                    let part = of.part(index, &transform, self.routing.transforms.as_deref());
                    let from = block.first;
                    block.held.push(Held { block: of.clone(), part, index: index.clone(), name, from });
                }
                Becomes::Held
            }
        };
        if becomes != Becomes::Nothing && passed < records.len() {
            block.traced.extend(TracedRequest::of(frame));
        }
        block.records.extend(std::iter::repeat_n(becomes, records.len() - passed));
    }

    /// Takes over the routing that counts now; whether it is another one.
    fn follow(&mut self) -> bool {
        let current = self.routes.current();
        if Arc::ptr_eq(&current, &self.routing) {
            return false;
        }
        self.routing = current;
        self.ways.clear();
        true
    }

    /// Which way an index goes; `None` if it does not go to the destination.
    fn way(&mut self, index: &Arc<str>) -> Option<Way> {
        if let Some(way) = self.ways.get(index) {
            return way.clone();
        }
        if self.ways.len() >= WAYS_MAX {
            self.ways.clear();
        }
        let router = &self.routing.router;
        let name = router.name_at(index, &self.destination);
        let way = name.map(|name| Way { name, transform: router.transform(index).cloned() });
        self.ways.insert(index.clone(), way.clone());
        way
    }
}
