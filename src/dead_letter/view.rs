//! Reading a store beside its agent, running or stopped: what `sync-agent dead-letters` shows.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _, params, types::Value};

use super::{
    Filed, Filter, Group, LetterId, Range, StoreError,
    filter::{WHERE, integer},
    range_rows, rows, schema, stats,
};

/// Letters read at once. A page is one short transaction, so that a slow reader does not keep the agent's
/// write-ahead log from being emptied, and all that is held in memory.
const PAGE_LETTERS: usize = 16;

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one filed last comes first.
    NewestFirst,
    /// As they were filed.
    OldestFirst,
}

/// A store opened for reading only.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    connection: Connection,
}

impl View {
    /// Opens an existing store. Blocks on the disk, as all of this does.
    ///
    /// # Errors
    /// If there is none, or it is damaged, not a store or written by a newer agent.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.into(), connection: schema::open_read_only(path)? })
    }

    /// The letter with this id.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, id: LetterId) -> Result<Option<Filed>, StoreError> {
        let find = || {
            let sql = format!("{} FROM letters WHERE id = ?1", self.select()?);
            self.connection.query_row(&sql, [id.0], rows::read).optional()
        };
        find().map_err(StoreError::sqlite(&self.path))
    }

    /// The letters that the filter lets through, counted by index, stage and reason.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn stats(&self, filter: &Filter) -> Result<Vec<Group>, StoreError> {
        stats::read(&self.connection, filter).map_err(StoreError::sqlite(&self.path))
    }

    /// How many letters the filter lets through.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        stats::count(&self.connection, filter).map_err(StoreError::sqlite(&self.path))
    }

    fn select(&self) -> rusqlite::Result<String> {
        schema::format_of(&self.connection).map(rows::select)
    }

    /// The ranges that the filter lets through; one whose index is not known may hold any index's records. None at all
    /// where the filter asks for more than an index and a time: it is not known of the records in a range.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn ranges(&self, filter: &Filter, order: Order) -> Result<Vec<Range>, StoreError> {
        self.read_ranges(filter, order).map_err(StoreError::sqlite(&self.path))
    }

    fn read_ranges(&self, filter: &Filter, order: Order) -> rusqlite::Result<Vec<Range>> {
        let Filter { index, since, until, limit, .. } = filter;
        let Filter { object, reason, stage, request, ids, first, last, stale, .. } = filter;
        let of_letters = object.is_some()
            || reason.is_some()
            || stage.is_some()
            || request.is_some()
            || !ids.is_empty()
            || first.is_some()
            || last.is_some()
            || stale.is_some();
        if of_letters || !schema::has_ranges(&self.connection)? {
            return Ok(Vec::new());
        }
        let direction = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        let sql = format!(
            "{} FROM ranges
             WHERE (?1 IS NULL OR record_index IS NULL OR record_index = ?1)
               AND (?2 IS NULL OR recorded_at >= ?2)
               AND (?3 IS NULL OR recorded_at < ?3)
             ORDER BY id {direction} LIMIT ?4",
            range_rows::SELECT
        );
        let (since, until) = (since.map(|since| integer(since.0)), until.map(|until| integer(until.0)));
        let limit = limit.map_or(i64::MAX, integer);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let ranges = statement.query_map(params![index.as_deref(), since, until, limit], range_rows::read)?;
        ranges.collect()
    }

    /// The letters that the filter lets through, read as they are asked for.
    #[must_use]
    pub fn letters(&self, filter: Filter, order: Order) -> Letters<'_> {
        let (cursor, left) = (None, filter.limit.unwrap_or(u64::MAX));
        Letters { view: self, filter, order, cursor, left, page: VecDeque::new(), ended: false }
    }
}

/// Iterates over letters; ends after its first error.
#[derive(Debug)]
pub struct Letters<'view> {
    view: &'view View,
    filter: Filter,
    order: Order,
    /// The id read last.
    cursor: Option<i64>,
    left: u64,
    page: VecDeque<Filed>,
    ended: bool,
}

impl Letters<'_> {
    fn read_page(&mut self) -> rusqlite::Result<()> {
        let (comparison, direction, start) = match self.order {
            Order::NewestFirst => ('<', "DESC", i64::MAX),
            Order::OldestFirst => ('>', "ASC", 0),
        };
        let sql = format!(
            "{} FROM letters WHERE {WHERE} AND id {comparison} :cursor ORDER BY id {direction} LIMIT {PAGE_LETTERS}",
            self.view.select()?
        );
        let mut parameters = self.filter.parameters();
        parameters.push((":cursor", Value::from(self.cursor.unwrap_or(start))));
        let mut statement = self.view.connection.prepare_cached(&sql)?;
        let mut found = statement.query(&*parameters)?;
        while let Some(row) = found.next()? {
            self.cursor = Some(row.get("id")?);
            self.page.push_back(rows::read(row)?);
        }
        self.ended = self.page.len() < PAGE_LETTERS;
        Ok(())
    }
}

impl Iterator for Letters<'_> {
    type Item = Result<Filed, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if self.page.is_empty()
            && !self.ended
            && let Err(error) = self.read_page()
        {
            self.ended = true;
            self.page.clear();
            return Some(Err(StoreError::sqlite(&self.view.path)(error)));
        }
        let filed = self.page.pop_front()?;
        self.left -= 1;
        Some(Ok(filed))
    }
}
