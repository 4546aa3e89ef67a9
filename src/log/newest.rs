//! The newest write groups as they were written, for readers at the log's end: what is durable this moment need not come
//! back from the disk, be copied and checked. Whoever is further behind reads the segments.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{block::Place, frame, interface::Frame};

/// So many bytes are kept, whether or not anybody reads; a larger group is not kept at all.
const KEPT_BYTES_MAX: usize = 3 << 20;

/// A write group that is durable.
#[derive(Debug)]
pub(super) struct DurableGroup {
    /// The offset with which its segment begins.
    pub(super) segment: u64,
    pub(super) frames: Vec<Frame>,
    /// Where it ends.
    pub(super) end: Place,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Newest {
    kept: Mutex<Kept>,
}

/// Groups, each beginning where the one before it ends.
#[derive(Debug, Default)]
struct Kept {
    groups: VecDeque<Arc<DurableGroup>>,
    bytes: usize,
}

impl Newest {
    /// Keeps a group, which must be durable, and no longer what was written before the last few.
    pub(super) fn keep(&self, group: DurableGroup) {
        // What goes is dropped without the lock.
        let _gone = self.kept().keep(group);
    }

    /// The group that begins with this offset.
    pub(super) fn from(&self, offset: u64) -> Option<Arc<DurableGroup>> {
        let kept = self.kept();
        let at = kept.groups.binary_search_by_key(&offset, |group| group.first()).ok()?;
        Some(kept.groups[at].clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, group: DurableGroup) -> VecDeque<Arc<DurableGroup>> {
        let bytes = group.bytes();
        if bytes > KEPT_BYTES_MAX {
            self.bytes = 0;
            return mem::take(&mut self.groups);
        }
        self.bytes += bytes;
        self.groups.push_back(Arc::new(group));
        let mut gone = VecDeque::new();
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.groups.pop_front()
        {
            self.bytes -= oldest.bytes();
            gone.push_back(oldest);
        }
        gone
    }
}

impl DurableGroup {
    fn first(&self) -> u64 {
        self.frames.first().map_or(self.end.offset, |frame| frame.position.offset)
    }

    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        self.frames
            .iter()
            .map(|frame| {
                mem::size_of::<Frame>() + frame::attributes_size(&frame.attributes) + frame.payload.len()
            })
            .sum()
    }
}
