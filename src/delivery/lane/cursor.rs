//! When a lane persists its cursor. It delivers on meanwhile.

use std::{future::Future, mem, pin::Pin, time::Duration};

use plugin_api::identity::Position;
use thiserror::Error;
use tokio::time::Instant;

use super::Lane;
use crate::{dead_letter::StoreError, log::interface::LogError};

const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A cursor on its way to the disk.
pub(super) type Committing = Pin<Box<dyn Future<Output = Committed> + Send>>;

/// How that ended.
pub(super) struct Committed {
    /// Where the cursor stands.
    next: Position,
    /// How many operations of objects that may have letters had been delivered before it.
    delivered: u64,
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
        let delivered = self.delivered.clone();
        let before = self.marked + delivered.len() as u64;
        Some(Box::pin(async move {
            let next = progress.next;
            // No cursor passes what makes a letter stale before the letter tells.
            let outcome = match letters.mark_stale(&delivered).await {
                Ok(()) => log.commit(&name, &progress).await.map_err(CommitError::from),
                Err(error) => Err(error.into()),
            };
            Committed { next, delivered: before, outcome }
        }))
    }

    /// Returns where the cursor on disk stands, unless it is where it was.
    pub(super) async fn committed(&mut self, committed: Committed) -> Option<Position> {
        let Committed { next, delivered, outcome } = committed;
        if let Err(error) = outcome {
            tracing::error!(destination = %self.settings.name, %error, "cursor cannot be persisted");
            self.moved();
            return None;
        }
        // A later cursor may have been faster.
        let marked = delivered.saturating_sub(self.marked);
        self.delivered.drain(..marked as usize);
        self.marked += marked;
        if mem::take(&mut self.has_gaps) {
            self.letters.merge_ranges(self.log.id(), next).await;
        }
        Some(next)
    }
}
