//! A hold on a load that runs: how far it is, and its end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A load takes one from its options; clones are the same hold.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    acknowledged: AtomicU64,
    stopped: AtomicBool,
}

impl Control {
    /// Records acknowledged so far, over every load with this hold.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets the load send no more; what is in flight is awaited.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn acknowledge(&self, records: u64) {
        self.0.acknowledged.fetch_add(records, Ordering::Relaxed);
    }
}
