//! A lane's way into its destination's dead letters.

use std::sync::Arc;

use plugin_api::{
    identity::{LogId, Position, Timestamp},
    operation::Operation,
};

use super::settle::Rejected;
use crate::{
    dead_letter::{
        Cause, Change, Chosen, Delivered, Fate, Filter, Letter, OfRecord, Range, Replayed, Stage, Store,
        StoreError,
    },
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

    /// The time, by the clock that letters have theirs from.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The letters of what was rejected at one stage.
    pub(super) fn write(&self, rejected: Vec<Rejected>, stage: Stage) -> Vec<Letter> {
        let dead_lettered_at = self.clock.now();
        let letter = |Rejected { operation, reason, attempts }| {
            let record = Change::of_record(&operation);
            let made = Some(Change::of_operation(&operation));
            Letter {
                source: operation.source,
                version: operation.version,
                operation: made.filter(|made| stage != Stage::Transform && *made != record),
                record,
                module: operation.origin.as_ref().and_then(|origin| origin.module),
                stage,
                reason,
                attempts,
                dead_lettered_at,
            }
        };
        rejected.into_iter().map(letter).collect()
    }

    /// Returns once the letters are safe on disk, or their records counted there.
    pub(super) async fn file(&self, letters: Vec<Letter>) -> Result<Vec<Fate>, StoreError> {
        self.store.file(letters).await
    }

    /// What becomes of records that were rotten in the log and that an operator gave up.
    pub(super) fn write_rotten(
        &self,
        log_id: LogId,
        first: Position,
        end: Position,
        records: u64,
        message: String,
    ) -> Range {
        let (index, cause, recorded_at) = (None, Cause::Rotten, self.clock.now());
        Range { log_id, first, end, index, records, cause, message, recorded_at }
    }

    /// Returns once the range is safe on disk.
    pub(super) async fn record(&self, range: Range) -> Result<(), StoreError> {
        self.store.record(range).await
    }

    /// Whether there may be letters of an operation's object; never tells no where there are.
    pub(super) fn may_be_of(&self, operation: &Operation) -> bool {
        self.store.may_be_of(operation)
    }

    /// Returns once the letters of these operations' objects that are older are marked stale on disk.
    pub(super) async fn mark_stale(&self, delivered: &[Delivered]) -> Result<(), StoreError> {
        if delivered.is_empty() {
            return Ok(());
        }
        self.store.mark_stale(delivered.to_vec()).await
    }

    /// What a replay is about.
    pub(super) async fn choose(&self, filter: Filter) -> Result<Chosen, StoreError> {
        self.store.choose(filter).await
    }

    /// The next letters to replay, once those are marked stale that these operations make so.
    pub(super) async fn portion(
        &self,
        filter: Filter,
        log_id: LogId,
        after: Option<Position>,
        delivered: Vec<Delivered>,
    ) -> Result<Vec<OfRecord>, StoreError> {
        self.store.portion(filter, log_id, after, delivered).await
    }

    /// Returns once it is on disk what became of records that were replayed, and how many there was no room for.
    pub(super) async fn replayed(&self, records: Vec<Replayed>) -> Result<u64, StoreError> {
        self.store.replayed(records).await
    }

    /// Tidies up what filing has left below a persisted cursor. If that fails it is done next time.
    pub(super) async fn merge_ranges(&self, log_id: LogId, below: Position) {
        if let Err(error) = self.store.merge_ranges(log_id, below).await {
            tracing::debug!(%error, "ranges of the dead letters could not be merged");
        }
    }
}
