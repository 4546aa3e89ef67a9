//! What the lanes of one log share: near its end each block is read and decoded once, whoever asks first.
//!
//! The lane that is furthest ahead reads, and the newest blocks are kept for those behind it. One that is behind them
//! all reads for itself: nobody ever waits for a lane that is slower, nor for one that waits for new records elsewhere.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_api::identity::Position;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::{
    block::{Block, decode},
    view::FeedError,
};
use crate::log::interface::{Log, Reader};

/// Bytes of blocks that are kept, about,
const KEPT_BYTES: usize = 8 << 20;
/// and how many of them.
const KEPT_BLOCKS: usize = 64;

/// See the module's text.
pub struct Tail {
    log: Arc<dyn Log>,
    kept: Mutex<Kept>,
    /// Ticks whenever `kept` has changed.
    changed: watch::Sender<()>,
    /// Held by the lane that reads for all.
    reader: AsyncMutex<Option<Box<dyn Reader>>>,
}

/// The newest blocks, without a gap between them.
#[derive(Debug, Default)]
struct Kept {
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    /// Where the reader stands: the end of the last block, if there is one.
    end: Position,
}

/// Where a position lies.
enum Place {
    Kept(Arc<Block>),
    /// Where the reader stands, or beyond.
    Ahead,
    Behind,
}

impl Tail {
    /// The end of this log. Reads nothing yet.
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Self {
        let (kept, changed, reader) = (Mutex::default(), watch::Sender::new(()), AsyncMutex::default());
        Self { log, kept, changed, reader }
    }

    /// The block that holds a position, which need not be its first; waits for it at the log's end. A lane that reads
    /// for itself keeps its reader in `own`. Cancel-safe.
    ///
    /// # Errors
    /// The reader stays where it is; after an error it may be asked again.
    pub(super) async fn next(
        &self,
        at: Position,
        own: &mut Option<Box<dyn Reader>>,
    ) -> Result<Arc<Block>, FeedError> {
        let mut changed = self.changed.subscribe();
        loop {
            // The lock goes with this line.
            let place = self.kept().find(at);
            match place {
                Place::Kept(block) => {
                    *own = None;
                    return Ok(block);
                }
                Place::Behind => return Ok(Arc::new(self.read(at, own).await?)),
                Place::Ahead => {}
            }
            *own = None;
            tokio::select! {
                biased;
                // Somebody else has read it, or stands further ahead now.
                _ = changed.changed() => {}
                mut reader = self.reader.lock() => {
                    if self.advance(at) {
                        *reader = None;
                    }
                    if !matches!(self.kept().find(at), Place::Ahead) {
                        continue;
                    }
                    let block = Arc::new(self.read(at, &mut reader).await?);
                    self.keep(block.clone());
                    return Ok(block);
                }
            }
        }
    }

    /// Reads and decodes the next block by this reader, which is made if there is none.
    async fn read(&self, at: Position, reader: &mut Option<Box<dyn Reader>>) -> Result<Block, FeedError> {
        let mut open = match reader.take() {
            Some(open) => open,
            None => self.log.read_from(at).await?,
        };
        let (block, fault) = decode(at, open.next().await?);
        match fault {
            None => *reader = Some(open),
            Some(fault) if block.is_empty() => return Err(fault),
            // It is read again, so that it is met again after what lies before it.
            Some(_) => {}
        }
        Ok(block)
    }

    /// Moves the reader's place to a position beyond it; true if it has moved, and is another reader's to read.
    fn advance(&self, at: Position) -> bool {
        let mut kept = self.kept();
        if at <= kept.end {
            return false;
        }
        *kept = Kept { end: at, ..Kept::default() };
        drop(kept);
        self.changed.send_replace(());
        true
    }

    fn keep(&self, block: Arc<Block>) {
        let mut kept = self.kept();
        kept.end = block.end();
        kept.bytes += block.bytes();
        kept.blocks.push_back(block);
        while kept.blocks.len() > KEPT_BLOCKS || (kept.bytes > KEPT_BYTES && kept.blocks.len() > 1) {
            let Some(oldest) = kept.blocks.pop_front() else { break };
            kept.bytes -= oldest.bytes();
        }
        drop(kept);
        self.changed.send_replace(());
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Tail {
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept().blocks.iter().map(|block| block.bytes()).sum()
    }
}

impl Kept {
    fn find(&self, at: Position) -> Place {
        if at >= self.end {
            return Place::Ahead;
        }
        let next = self.blocks.partition_point(|block| block.end() <= at);
        match self.blocks.get(next).filter(|block| block.first() <= at) {
            Some(block) => Place::Kept(block.clone()),
            None => Place::Behind,
        }
    }
}
