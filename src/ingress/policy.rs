//! On what terms requests are accepted: a reload and an operator may change them while requests come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

use super::{permissions::Permissions, tls::Entrance};
use crate::config::{Config, Limits};

/// See the module's text.
#[derive(Debug)]
pub struct Policy {
    terms: ArcSwap<Terms>,
    draining: AtomicBool,
}

/// What a config says about requests.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What one request, and all of them, may take.
    pub limits: Limits,
    /// Who may do what to which index.
    pub permissions: Permissions,
    /// How connections come in, and whose word on callers is taken.
    pub entrance: Entrance,
}

impl Terms {
    /// Those of a checked config, with the entrance that was made of it.
    #[must_use]
    pub fn of(config: &Config, entrance: Entrance) -> Self {
        Self { limits: config.limits.clone(), permissions: Permissions::new(&config.permissions), entrance }
    }
}

impl Policy {
    pub(crate) fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self { terms: ArcSwap::from_pointee(terms), draining: AtomicBool::new(false) })
    }

    /// Other terms count for connections and requests that come from now on. Limits of connections and of the bytes of all requests stay
    /// as they were when the server began to listen.
    pub fn change(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
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

    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }
}
