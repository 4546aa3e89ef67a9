//! Deletes what an operator has chosen, in the agent or beside it.
//!
//! Each portion is one short transaction, so that whoever files letters meanwhile does not wait for all of them.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use rusqlite::{Connection, types::Value};

use super::{Filter, LetterId, StoreError, filter::WHERE, schema};

/// Letters of one portion.
const LETTERS_MAX: i64 = 500;

/// What was deleted at once.
#[derive(Debug, Default)]
pub(super) struct Portion {
    pub(super) letters: u64,
    /// The indexes that they were of.
    pub(super) indexes: BTreeSet<Arc<str>>,
    /// The greatest id among them.
    pub(super) last: LetterId,
}

/// Deletes every letter that is there now and that the filter lets through, whether an agent has the store open or not;
/// returns how many that were. `deleted` is told of each portion. Blocks on the disk.
///
/// # Errors
/// If the store cannot be opened or written; the portions before are deleted then.
pub fn delete_letters(path: &Path, filter: &Filter, deleted: &mut dyn FnMut(u64)) -> Result<u64, StoreError> {
    let mut connection = schema::open_beside(path)?;
    let mut filter = bounded(&connection, filter).map_err(StoreError::sqlite(path))?;
    let mut total = 0;
    loop {
        let portion = delete(&mut connection, &filter).map_err(StoreError::sqlite(path))?;
        if portion.letters == 0 {
            return Ok(total);
        }
        total += portion.letters;
        deleted(portion.letters);
        filter.first = Some(LetterId(portion.last.0 + 1));
    }
}

/// The filter for what is there now: what is filed meanwhile nobody has chosen.
pub(super) fn bounded(connection: &Connection, filter: &Filter) -> rusqlite::Result<Filter> {
    let newest: Option<u64> = connection.query_row("SELECT max(id) FROM letters", [], |row| row.get(0))?;
    let newest = LetterId(newest.unwrap_or(0));
    Ok(Filter { last: Some(filter.last.map_or(newest, |last| last.min(newest))), ..filter.clone() })
}

/// Deletes the first letters that the filter lets through; none once all are deleted.
pub(super) fn delete(connection: &mut Connection, filter: &Filter) -> rusqlite::Result<Portion> {
    let transaction = connection.transaction()?;
    let sql = format!(
        "DELETE FROM letters WHERE id IN (SELECT id FROM letters WHERE {WHERE} ORDER BY id LIMIT :limit)
         RETURNING id, record_index"
    );
    let mut parameters = filter.parameters();
    parameters.push((":limit", Value::from(LETTERS_MAX)));
    let mut portion = Portion::default();
    {
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query(&*parameters)?;
        while let Some(row) = rows.next()? {
            portion.letters += 1;
            portion.last = portion.last.max(LetterId(row.get(0)?));
            portion.indexes.insert(row.get(1)?);
        }
    }
    transaction.commit()?;
    Ok(portion)
}
