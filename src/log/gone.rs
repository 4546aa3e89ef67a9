//! The blocks of a segment that has no name any more. The file system gives them back when the last handle is closed, all
//! in one transaction of its journal, and whoever syncs another file meanwhile waits for it: tens of milliseconds for a
//! whole segment, where freed blocks are discarded. So they go in steps, each in a transaction of its own.
//!
//! Nothing depends on it: after a crash the file system frees what is left.

use std::sync::Arc;

use super::{
    files::{Access, File, FileSystem},
    segment::Segment,
};

/// How much goes at once.
const STEP_BYTES: u64 = 8 << 20;

/// A segment that is about to lose its name, or has lost it.
#[derive(Debug)]
pub(super) struct Gone {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
}

impl Gone {
    /// Opens a segment's file while it has its name. `None` if it cannot be opened: then its blocks go at once.
    pub(super) fn open(files: &dyn FileSystem, segment: &Arc<Segment>) -> Option<Self> {
        let file = files.open(&segment.path, Access::Write).ok()?;
        Some(Self { segment: segment.clone(), file })
    }

    /// Gives the blocks back, once the removal is durable. A reader that still has the segment keeps the file whole.
    pub(super) fn give_back(self) {
        let Self { segment, file } = self;
        if Arc::into_inner(segment).is_none() {
            return;
        }
        let Ok(mut size) = file.size() else { return };
        while size > 0 {
            size = size.saturating_sub(STEP_BYTES);
            // An error costs nobody anything: the file is gone already, and closing it frees what is left.
            if file.truncate(size).and_then(|()| file.sync_data()).is_err() {
                return;
            }
        }
    }
}
