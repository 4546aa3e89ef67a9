//! The distinct index names that were accepted, whose number is limited: each costs memory in every part of the agent.

use std::sync::{PoisonError, RwLock};

use rustc_hash::FxHashSet;

/// The names known so far. Bounded by the limit times 256 bytes.
///
/// A name is known from the first valid request on, even if the log then refuses that request.
#[derive(Debug)]
pub struct Indexes {
    known: RwLock<FxHashSet<Box<str>>>,
}

/// One distinct index name too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyIndexes {
    pub(crate) max: usize,
}

impl Indexes {
    /// Starts with the names that the log has seen.
    pub fn new(seed: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { known: RwLock::new(seed.into_iter().collect()) }
    }

    /// Takes note of a valid name. Known ones stay accepted even where they are more than `max`, the number of distinct
    /// names (inclusive) above which no new one is.
    ///
    /// # Errors
    /// If it is new and there is no room for it.
    pub(crate) fn admit(&self, name: &str, max: usize) -> Result<(), TooManyIndexes> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return Ok(());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return Ok(());
        }
        if known.len() >= max {
            return Err(TooManyIndexes { max });
        }
        known.insert(name.into());
        Ok(())
    }
}
