//! On what terms requests are accepted: a reload and an operator may change them while requests come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

use crate::config::Limits;

/// See the module's text.
#[derive(Debug)]
pub struct Policy {
    limits: ArcSwap<Limits>,
    draining: AtomicBool,
}

impl Policy {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits: ArcSwap::from_pointee(limits), draining: AtomicBool::new(false) })
    }

    /// Other limits count for requests that come from now on. Those of connections and of the bytes of all requests stay
    /// as they were when the server began to listen.
    pub fn limit(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Refuses every request that was not accepted before, or accepts them again.
    pub fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    /// Whether an operator wants no requests.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }
}
