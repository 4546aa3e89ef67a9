//! The way of records as a config has it, replaced whole while they pass.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{router::Router, transform::Transforms};

/// The rules of a config, and the transforms that they name.
#[derive(Debug)]
pub struct Routing {
    /// Which transform an index passes, and to which destinations it goes.
    pub router: Router,
    /// What runs the transforms; `None` if the config has none.
    pub transforms: Option<Arc<Transforms>>,
}

/// The routing that counts now. Every feed follows a new one with its next block.
#[derive(Debug)]
pub struct Routes(ArcSwap<Routing>);

impl Routes {
    /// Begins with a routing.
    #[must_use]
    pub fn new(routing: Routing) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(routing)))
    }

    /// What counts now.
    #[must_use]
    pub fn current(&self) -> Arc<Routing> {
        self.0.load_full()
    }

    /// Lets another routing count.
    pub fn replace(&self, routing: Routing) {
        self.0.store(Arc::new(routing));
    }
}
