//! On what terms requests are accepted: a reload and an operator may change them while requests come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

use super::tls::Entrance;
use crate::config::Limits;

/// See the module's text.
#[derive(Debug)]
pub struct Policy {
    limits: ArcSwap<Limits>,
    entrance: ArcSwap<Entrance>,
    draining: AtomicBool,
}

impl Policy {
    /// On these terms, by this entrance; nobody drains it.
    #[must_use]
    pub fn new(limits: Limits, entrance: Entrance) -> Arc<Self> {
        let (limits, entrance) = (ArcSwap::from_pointee(limits), ArcSwap::from_pointee(entrance));
        Arc::new(Self { limits, entrance, draining: AtomicBool::new(false) })
    }

    /// Another entrance counts for connections, and for requests on those that are open, that come from now on.
    pub fn enter_by(&self, entrance: Entrance) {
        self.entrance.store(Arc::new(entrance));
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

    pub(crate) fn entrance(&self) -> Arc<Entrance> {
        self.entrance.load_full()
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }
}
