//! Indexes whose requests are refused for now, since a destination cannot take more of them.
//!
//! Whoever watches the destinations sets them; a request only looks. While there is none, that is one atomic load.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The indexes that are refused, by the destination for whose sake. Few: they are for operators to mend.
#[derive(Debug, Default)]
pub struct Refusals {
    any: AtomicBool,
    by_destination: RwLock<BTreeMap<Arc<str>, Reasons>>,
}

/// By index: why it is refused, as producers are told.
type Reasons = BTreeMap<Arc<str>, String>;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) destination: Arc<str>,
    pub(crate) reason: String,
}

impl Refusals {
    /// From now on exactly these indexes are refused for this destination's sake, each with the reason that producers
    /// are told.
    pub fn set(&self, destination: &Arc<str>, indexes: Reasons) {
        let mut by_destination = self.by_destination.write().unwrap_or_else(PoisonError::into_inner);
        match indexes.is_empty() {
            true => _ = by_destination.remove(destination),
            false => _ = by_destination.insert(destination.clone(), indexes),
        }
        self.any.store(!by_destination.is_empty(), Ordering::Release);
    }

    /// Whether an index is refused, and why.
    pub(crate) fn of(&self, index: &str) -> Option<Refusal> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let by_destination = self.by_destination.read().unwrap_or_else(PoisonError::into_inner);
        by_destination.iter().find_map(|(destination, indexes)| {
            let reason = indexes.get(index)?.clone();
            Some(Refusal { destination: destination.clone(), reason })
        })
    }
}
