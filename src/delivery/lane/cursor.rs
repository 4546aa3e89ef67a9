//! When a lane persists its cursor. It delivers on meanwhile.

use std::{future::Future, mem, pin::Pin, time::Duration};

use plugin_api::identity::Position;
use thiserror::Error;
use tokio::time::Instant;

use super::Lane;
use crate::{
    dead_letter::{Delivered, StoreError},
    log::interface::LogError,
};

const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A cursor on its way to the disk.
pub(super) type Committing = Pin<Box<dyn Future<Output = Committed> + Send>>;

/// How that ended.
pub(super) struct Committed {
    /// Where the cursor stands.
    next: Position,
    /// What had been delivered before it, of objects that may have letters.
    delivered: Vec<Delivered>,
    outcome: Result<(), CommitError>,
}

#[derive(Debug, Error)]
enum CommitError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("dead letters cannot be marked stale: {0}")]
    Letters(#[from] StoreError),
}

impl Lane {
    /// Something is settled that the cursor does not tell yet.
    pub(super) fn moved(&mut self) {
        self.commit_at.get_or_insert_with(|| Instant::now() + COMMIT_INTERVAL);
    }

    /// Persists the cursor, if it has moved.
    pub(super) async fn commit(&mut self) {
        if let Some(committing) = self.start_commit() {
            let committed = committing.await;
            self.committed(committed).await;
        }
    }

    /// Takes the cursor as it is now; what is settled from here on is the next one's.
    pub(super) fn start_commit(&mut self) -> Option<Committing> {
        self.commit_at.take()?;
        self.bytes_since_commit = 0;
        let progress = self.visibility.extend(self.tracker.progress());
        let (log, name, letters) = (self.log.clone(), self.settings.name.clone(), self.letters.clone());
        let delivered = mem::take(&mut self.delivered);
        Some(Box::pin(async move {
            let next = progress.next;
            // No cursor passes what makes a letter stale before the letter tells.
            let outcome = match letters.mark_stale(&delivered).await {
                Ok(()) => log.commit(&name, &progress).await.map_err(CommitError::from),
                Err(error) => Err(error.into()),
            };
            Committed { next, delivered, outcome }
        }))
    }

    pub(super) async fn committed(&mut self, committed: Committed) {
        let Committed { next, delivered, outcome } = committed;
        if let Err(error) = outcome {
            tracing::error!(destination = %self.settings.name, %error, "cursor cannot be persisted");
            self.delivered.extend(delivered);
            self.moved();
        } else if mem::take(&mut self.has_gaps) {
            self.letters.merge_ranges(self.log.id(), next).await;
        }
    }
}
