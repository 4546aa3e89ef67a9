//! What one lane has read and cannot send yet, since transforms run on it.
//!
//! Records of one index leave in log order, so that operations of one object stay in theirs; indexes do not wait for each
//! other.

use std::{collections::VecDeque, fmt, sync::Arc};

use plugin_api::{
    identity::{Position, Timestamp},
    operation::Operation,
    verdict::Reason,
};
use tokio::sync::Notify;

use super::{block::Block, expand::Routed, part::Part};
use crate::transform::{Outcome, Transformed};

/// The records of one index in one block.
pub struct Held {
    pub(super) block: Arc<Block>,
    pub(super) part: Arc<Part>,
    pub(super) index: Arc<str>,
    /// What the destination calls the index.
    pub(super) name: Arc<str>,
    /// Records before this one are not the lane's.
    pub(super) from: Position,
}

/// What records became.
#[derive(Debug, Default)]
pub struct Expansion {
    /// Each record that did not fail, and how many operations it became.
    pub records: Vec<(Position, u32)>,
    /// The operations of all records, in order.
    pub operations: Vec<Operation>,
    /// Records that their transform leaves out, as they came, if they were asked for.
    pub skipped: Vec<Operation>,
    /// Records that are to be dead-lettered, as they came, and why.
    pub failed: Vec<(Operation, Reason)>,
    /// The position after the last record that may be among them.
    pub end: Position,
    /// Bytes of the bodies that the transform made.
    pub bytes: usize,
    /// When the block's first record was accepted.
    pub accepted_at: Timestamp,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Transforming {
    /// By index, none of them empty; they take turns.
    queues: VecDeque<VecDeque<Held>>,
    /// Notified when a transform is done.
    ready: Arc<Notify>,
}

impl Transforming {
    /// Adds what was read after everything that is here.
    pub fn push(&mut self, held: Vec<Held>) {
        for held in held {
            held.part.tell(&self.ready);
            let same =
                |queue: &&mut VecDeque<Held>| queue.front().is_some_and(|front| front.index == held.index);
            match self.queues.iter_mut().find(same) {
                Some(queue) => queue.push_back(held),
                None => self.queues.push_back(VecDeque::from([held])),
            }
        }
    }

    /// Returns when there may be something to take that was not there before. Cancel-safe.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// The next records whose transform is done; also those that it leaves out, if somebody wants to see them.
    pub fn take(&mut self, with_skipped: bool) -> Option<Expansion> {
        for _ in 0..self.queues.len() {
            let mut queue = self.queues.pop_front()?;
            let next = queue.pop_front_if(|held| held.part.transformed().is_some());
            if !queue.is_empty() {
                self.queues.push_back(queue);
            }
            if let Some(expansion) = next.and_then(|held| held.expand(with_skipped)) {
                return Some(expansion);
            }
        }
        None
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Bytes that transforms made and that nobody has taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.queues.iter().flatten().map(|held| held.part.bytes()).sum()
    }
}

impl Held {
    /// `None` while its transform runs.
    fn expand(&self, with_skipped: bool) -> Option<Expansion> {
        let Transformed { outcomes, module } = self.part.transformed()?;
        let module = module.map(|module| module.0);
        let (end, bytes, accepted_at) = (self.block.end(), self.part.bytes(), self.block.accepted_at());
        let mut expansion = Expansion { end, bytes, accepted_at, ..Expansion::default() };
        let frames = self.block.frames_of(&self.index);
        let records = frames.flat_map(|(frame, records)| {
            (0..).zip(records).map(move |(number, record)| Routed { frame, number, record, name: &self.name })
        });
        for (routed, outcome) in records.zip(outcomes) {
            let position = routed.frame.position.plus(routed.number);
            if position >= self.from {
                if with_skipped && matches!(outcome, Outcome::Skip) {
                    expansion.skipped.push(routed.as_it_came());
                }
                expansion.add(position, routed, outcome, module);
            }
        }
        Some(expansion)
    }
}

impl Expansion {
    fn add(&mut self, position: Position, routed: Routed<'_>, outcome: &Outcome, module: Option<[u8; 32]>) {
        let before = self.operations.len();
        match outcome {
            Outcome::Unchanged => self.operations.push(routed.as_it_came()),
            Outcome::Replace(body) => self.operations.push(routed.replaced(body.clone(), module)),
            Outcome::Emit(products) => {
                let origin = routed.origin(module);
                for (number, product) in (0..).zip(products) {
                    self.operations.push(routed.produced(number, product, origin.clone()));
                }
            }
            Outcome::Skip => {}
            Outcome::Failed(reason) => {
                return self.failed.push((routed.failed(module), reason.clone()));
            }
        }
        self.records.push((position, (self.operations.len() - before) as u32));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("index", &self.index).field("from", &self.from).finish_non_exhaustive()
    }
}
