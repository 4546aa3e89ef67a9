//! The store that the lanes file letters in: SQLite on a thread of its own, behind a bounded queue.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use plugin_api::{
    identity::{LogId, Position, Timestamp},
    operation::Operation,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Bounds, Chosen, Delivered, Fate, Filter, Letter, LetterId, OfRecord, Range, Replayed, StoreError, Usage,
    deletion, filing,
    ledger::Ledger,
    range_rows, replay, rows, schema,
    stale::{self, Objects},
};

/// Calls that may wait for the thread. Their letters are the callers' to bound.
const CALLS_MAX: usize = 16;

/// What the thread has: the open file and what its letters take.
struct Desk {
    connection: Connection,
    ledger: Ledger,
}

type Call = Box<dyn FnOnce(&mut Desk) + Send>;

/// The store of one destination. There is one writer: whoever opens it holds the data directory's lock.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    calls: mpsc::Sender<Call>,
    usage: watch::Receiver<Usage>,
    objects: Arc<Objects>,
    thread: JoinHandle<Result<(), StoreError>>,
}

/// Where a destination's store lies.
#[must_use]
pub fn store_path(data_dir: &Path, destination: &str) -> PathBuf {
    data_dir.join("dead-letters").join(format!("{destination}.sqlite"))
}

/// Records a range in the store of an agent that does not run; makes the store where there is none. It is on disk when
/// this returns. A range that is there already, by log id, first position, index and cause, is replaced. Blocks on the
/// disk; the caller holds the data directory's lock.
///
/// # Errors
/// If the store cannot be opened or written; nothing was recorded then.
pub fn record_range(path: &Path, range: &Range) -> Result<(), StoreError> {
    let connection = schema::open(path)?;
    range_rows::record(&connection, range).map_err(StoreError::sqlite(path))?;
    connection.close().map_err(|(_, source)| StoreError::sqlite(path)(source))
}

impl Store {
    /// Opens the store; creates its directory (0700) and file (0600) where they are missing. Blocks on the disk.
    ///
    /// # Errors
    /// If the file cannot be opened, is damaged, is not a store or was written by a newer agent.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        let destination = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut ledger, usage) = Ledger::new(destination, bounds);
        if let Err(error) = ledger.refresh(&connection).map_err(StoreError::sqlite(path)) {
            // Filing tries it again, and is who must not go on without.
            tracing::error!(%error, "dead letters cannot be counted");
        }
        let objects = Objects::load(&connection).unwrap_or_else(|error| {
            let error = StoreError::sqlite(path)(error);
            tracing::error!(%error, "objects of the dead letters cannot be read, every delivery is compared with them");
            Objects::unknown()
        });
        let objects = Arc::new(objects);
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let owned = path.to_owned();
        let desk = Desk { connection, ledger };
        let thread = thread::Builder::new()
            .name("dead-letters".into())
            .spawn(move || serve(desk, receiver, &owned))
            .map_err(|source| StoreError::Open { path: path.into(), source })?;
        Ok(Self { path: path.into(), calls, usage, objects, thread })
    }

    /// Files all letters or none; they are on disk when this returns, each as its fate says. A letter that is there
    /// already is replaced under its id. If this future is dropped, the letters may have been filed.
    ///
    /// # Errors
    /// If nothing was filed. The same call may be made again.
    pub async fn file(&self, letters: Vec<Letter>) -> Result<Vec<Fate>, StoreError> {
        // Before they are there: nothing newer may be missed.
        self.objects.add_all(&letters);
        let path = self.path.clone();
        self.run(move |Desk { connection, ledger }| {
            let filing = filing::file(connection, ledger, &letters).map_err(StoreError::sqlite(path))?;
            filing.result(ledger)
        })
        .await
    }

    /// Whether there may be letters of what an operation has changed; never tells no where there are.
    #[must_use]
    pub fn may_be_of(&self, operation: &Operation) -> bool {
        self.objects.may_hold(operation)
    }

    /// Marks the letters of these operations' objects that are older, and purges those of objects that they deleted; it is
    /// on disk when this returns.
    ///
    /// # Errors
    /// If nothing was marked. The same call may be made again.
    pub async fn mark_stale(&self, delivered: Vec<Delivered>) -> Result<(), StoreError> {
        self.call(move |connection| stale::mark(connection, &delivered)).await
    }

    /// Chooses what a replay is about.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn choose(&self, filter: Filter) -> Result<Chosen, StoreError> {
        self.call(move |connection| replay::choose(connection, &filter)).await
    }

    /// The next letters of one log to replay, from behind a position; none at its end. First those are marked stale that
    /// these operations make so.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn portion(
        &self,
        filter: Filter,
        log_id: LogId,
        after: Option<Position>,
        delivered: Vec<Delivered>,
    ) -> Result<Vec<OfRecord>, StoreError> {
        self.call(move |connection| {
            stale::mark(connection, &delivered)?;
            replay::portion(connection, &filter, log_id, after)
        })
        .await
    }

    /// Takes note of what became of records that were replayed; it is on disk when this returns. A record for whose new
    /// account there is no room keeps its letters as they were; returns how many records that are.
    ///
    /// # Errors
    /// If nothing was noted. The same call may be made again.
    pub async fn replayed(&self, records: Vec<Replayed>) -> Result<u64, StoreError> {
        records.iter().for_each(|record| self.objects.add_all(&record.rejected));
        let path = self.path.clone();
        self.run(move |Desk { connection, ledger }| {
            replay::settle(connection, ledger, &records).map_err(StoreError::sqlite(path))
        })
        .await
    }

    /// Deletes every letter that is there now and that the filter lets through, in portions; returns how many that were.
    ///
    /// # Errors
    /// If SQLite cannot delete; some may be deleted then.
    pub async fn delete(&self, filter: Filter) -> Result<u64, StoreError> {
        let mut filter = self.call(move |connection| deletion::bounded(connection, &filter)).await?;
        let mut total = 0;
        loop {
            let (path, these) = (self.path.clone(), filter.clone());
            let delete = move |Desk { connection, ledger }: &mut Desk| {
                ledger.refresh(connection)?;
                let portion = deletion::delete(connection, &these)?;
                ledger.apply(Ledger::changes(connection, portion.indexes.iter().cloned())?);
                Ok(portion)
            };
            let portion = self.run(move |desk| delete(desk).map_err(StoreError::sqlite(path))).await?;
            if portion.letters == 0 {
                return Ok(total);
            }
            total += portion.letters;
            filter.first = Some(LetterId(portion.last.0 + 1));
        }
    }

    /// Records a range; it is on disk when this returns. One that is there already, by log id, first position, index and
    /// cause, is replaced.
    ///
    /// # Errors
    /// If nothing was recorded. The same call may be made again.
    pub async fn record(&self, range: Range) -> Result<(), StoreError> {
        self.call(move |connection| range_rows::record(connection, &range)).await
    }

    /// Deletes up to 500 letters that are older than the bounds allow, the oldest first, and takes note of what others
    /// have deleted. Returns how many were of each index: none once all that is left is young enough.
    ///
    /// # Errors
    /// If SQLite cannot delete; nothing was deleted then.
    pub async fn expire(&self, now: Timestamp) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        let path = self.path.clone();
        self.run(move |Desk { connection, ledger }| {
            filing::expire(connection, ledger, now).map_err(StoreError::sqlite(path))
        })
        .await
    }

    /// Joins the ranges of one index and hour below a position that no record is filed below any more.
    ///
    /// # Errors
    /// If SQLite cannot; the ranges are as they were then.
    pub async fn merge_ranges(&self, log_id: LogId, below: Position) -> Result<(), StoreError> {
        self.call(move |connection| range_rows::merge(connection, log_id, below)).await
    }

    /// What the letters take; changes as they do.
    #[must_use]
    pub fn usage(&self) -> watch::Receiver<Usage> {
        self.usage.clone()
    }

    /// How many letters there are, stale ones included.
    ///
    /// # Errors
    /// If SQLite cannot tell.
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.call(|connection| connection.query_row("SELECT count(*) FROM letters", [], |row| row.get(0)))
            .await
    }

    /// Bytes that the letters take on disk.
    ///
    /// # Errors
    /// If SQLite cannot tell.
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        self.call(|connection| {
            let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
            let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
            Ok(pages * pragma("page_size")?)
        })
        .await
    }

    /// The newest position of this log among the letters and ranges, by partition and then offset. One beyond the end
    /// of the log means that acknowledged data is gone.
    ///
    /// # Errors
    /// If SQLite cannot tell.
    pub async fn newest_position(&self, log_id: LogId) -> Result<Option<Position>, StoreError> {
        self.call(move |connection| {
            let letter = rows::newest_position(connection, log_id)?;
            Ok(letter.max(range_rows::newest_position(connection, log_id)?))
        })
        .await
    }

    /// Ends the calls under way, copies the write-ahead log into the database and closes it.
    ///
    /// A store that is dropped instead does the same in the background.
    ///
    /// # Errors
    /// If SQLite cannot close; every letter filed before is on disk nevertheless.
    pub async fn close(self) -> Result<(), StoreError> {
        let Self { path, calls, thread, usage: _, objects: _ } = self;
        drop(calls);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.ok().and_then(Result::ok).unwrap_or(Err(StoreError::Closed { path }))
    }

    pub(super) async fn call<T, F>(&self, call: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let path = self.path.clone();
        self.run(move |desk| call(&mut desk.connection).map_err(StoreError::sqlite(path))).await
    }

    async fn run<T, F>(&self, call: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = || StoreError::Closed { path: self.path.clone() };
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |desk| {
            // The caller may have gone.
            let _ = answer.send(call(desk));
        });
        self.calls.send(call).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// The thread: one call after the other, until the store is closed or dropped.
fn serve(mut desk: Desk, mut calls: mpsc::Receiver<Call>, path: &Path) -> Result<(), StoreError> {
    while let Some(call) = calls.blocking_recv() {
        call(&mut desk);
    }
    desk.connection.close().map_err(|(_, source)| StoreError::sqlite(path)(source))
}
