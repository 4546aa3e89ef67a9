//! A lane's way into its destination's dead letters.

use std::sync::Arc;

use super::settle::Rejected;
use crate::{
    dead_letter::{Change, Letter, Stage, Store, StoreError},
    runtime::Clock,
};

/// Writes letters and files them.
#[derive(Clone)]
pub struct Letters {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl Letters {
    /// Files into this store.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The letters of what was rejected at one stage.
    pub(super) fn write(&self, rejected: Vec<Rejected>, stage: Stage) -> Vec<Letter> {
        let dead_lettered_at = self.clock.now();
        let letter = |Rejected { operation, reason, attempts }| Letter {
            source: operation.source,
            version: operation.version,
            record: Change::from(&operation),
            operation: None,
            stage,
            reason,
            attempts,
            dead_lettered_at,
        };
        rejected.into_iter().map(letter).collect()
    }

    /// Returns once the letters are safe on disk.
    pub(super) async fn file(&self, letters: Vec<Letter>) -> Result<(), StoreError> {
        self.store.file(letters).await
    }
}
