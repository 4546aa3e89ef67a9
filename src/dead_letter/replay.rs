//! What a replay takes from a store, and what it tells it of what became of that.
//!
//! A replay goes through the letters log by log, the oldest log first, and within a log by position: so the letters of
//! one object come in the order of their versions. The letters of one record come together, since only the record can be
//! replayed.

use std::{collections::BTreeSet, sync::Arc};

use plugin_api::identity::{LogId, Position};
use rusqlite::{Connection, Row, params, types::Value};
use uuid::Uuid;

use super::{
    Filed, Filter, Letter,
    deletion::bounded,
    filter::{WHERE, integer},
    ledger::Ledger,
    rows, schema,
};

/// The letters that a replay is about.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The filter, with an end: what is filed from now on is not among them.
    pub filter: Filter,
    /// How many there are.
    pub letters: u64,
    /// The logs that they are from, the oldest first.
    pub logs: Vec<LogId>,
}

/// The chosen letters of one record, at least one.
#[derive(Clone, Debug)]
pub struct OfRecord {
    /// The letters, by their operations' numbers.
    pub letters: Vec<Filed>,
    /// Whether any letter of the record is stale, chosen or not.
    pub stale: bool,
}

/// What became of a record that was replayed: of all its letters those of these operations are left, each with a new
/// account.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The record's log.
    pub log_id: LogId,
    /// Where it lies there.
    pub position: Position,
    /// The operations that were rejected again, or the record on which its transform failed again.
    pub rejected: Vec<Letter>,
}

/// A portion ends with the record that brings it to so many letters,
const LETTERS_MAX: usize = 1_000;
/// or to so many bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The letters that are there now and that the filter lets through.
pub(super) fn choose(connection: &Connection, filter: &Filter) -> rusqlite::Result<Chosen> {
    let filter = bounded(connection, filter)?;
    let sql =
        format!("SELECT log_id, count(*) FROM letters WHERE {WHERE} GROUP BY log_id ORDER BY min(version)");
    let of_log = |row: &Row<'_>| Ok((LogId(Uuid::from_bytes(row.get(0)?)), row.get::<_, u64>(1)?));
    let logs: Vec<(LogId, u64)> = connection
        .prepare(&sql)?
        .query_map(&*filter.parameters(), of_log)?
        .collect::<rusqlite::Result<_>>()?;
    let letters = logs.iter().map(|(_, letters)| letters).sum();
    Ok(Chosen { filter, letters, logs: logs.into_iter().map(|(log_id, _)| log_id).collect() })
}

/// The next letters of one log, from behind a position; none at its end.
pub(super) fn portion(
    connection: &Connection,
    filter: &Filter,
    log_id: LogId,
    after: Option<Position>,
) -> rusqlite::Result<Vec<OfRecord>> {
    let sql = format!(
        "{} FROM letters
         WHERE log_id = :log_id AND (partition, offset) > (:partition, :offset) AND {WHERE}
         ORDER BY partition, offset, number",
        rows::select(schema::FORMAT)
    );
    let mut parameters = filter.parameters();
    let before_all = (-1, -1);
    let (partition, offset) =
        after.map_or(before_all, |after| (i64::from(after.partition), integer(after.offset)));
    parameters.push((":log_id", Value::from(log_id.0.as_bytes().to_vec())));
    parameters.push((":partition", Value::from(partition)));
    parameters.push((":offset", Value::from(offset)));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(&*parameters)?;
    let mut records: Vec<OfRecord> = Vec::new();
    let (mut letters, mut bytes) = (0, 0);
    while let Some(row) = found.next()? {
        let filed = rows::read(row)?;
        let position = filed.letter.source.position;
        let same = |of: &&mut OfRecord| of.letters[0].letter.source.position == position;
        let before = records.last_mut().filter(same);
        if before.is_none() && (letters >= LETTERS_MAX || bytes >= BYTES_MAX) {
            break;
        }
        letters += 1;
        bytes += filed.letter.size();
        match before {
            Some(record) => record.letters.push(filed),
            None => records.push(OfRecord { letters: vec![filed], stale: false }),
        }
    }
    let mut stale = connection.prepare_cached(
        "SELECT max(stale) FROM letters WHERE log_id = ?1 AND partition = ?2 AND offset = ?3",
    )?;
    for record in &mut records {
        let Position { partition, offset } = record.letters[0].letter.source.position;
        record.stale = stale.query_row(params![log_id.0.as_bytes(), partition, offset], |row| row.get(0))?;
    }
    Ok(records)
}

/// Takes note of what became of records, of all or, on an error, of none. Where there is no room for a new account the
/// record's letters stay as they were; returns how many records that are.
pub(super) fn settle(
    connection: &mut Connection,
    ledger: &mut Ledger,
    records: &[Replayed],
) -> rusqlite::Result<u64> {
    ledger.refresh(connection)?;
    if settle_those(connection, ledger, records, |_| true)? {
        return Ok(0);
    }
    let is_done = |record: &Replayed| record.rejected.is_empty();
    settle_those(connection, ledger, records, is_done)?;
    Ok(records.iter().filter(|record| !is_done(record)).count() as u64)
}

/// False if there is no room for that; nothing has changed then.
fn settle_those(
    connection: &mut Connection,
    ledger: &mut Ledger,
    records: &[Replayed],
    wanted: impl Fn(&Replayed) -> bool,
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let (mut indexes, mut filed): (BTreeSet<Arc<str>>, usize) = (BTreeSet::new(), 0);
    {
        let mut numbers = transaction.prepare_cached(
            "SELECT id, number, record_index FROM letters WHERE log_id = ?1 AND partition = ?2 AND offset = ?3",
        )?;
        let mut delete = transaction.prepare_cached("DELETE FROM letters WHERE id = ?1")?;
        for Replayed { log_id, position, rejected } in records.iter().filter(|record| wanted(record)) {
            let key = params![log_id.0.as_bytes(), position.partition, position.offset];
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let there: Vec<(i64, u32, Arc<str>)> =
                numbers.query_map(key, row)?.collect::<rusqlite::Result<_>>()?;
            for (id, number, index) in there {
                indexes.insert(index);
                if rejected.iter().all(|letter| letter.source.number != number) {
                    delete.execute([id])?;
                }
            }
            indexes.extend(rejected.iter().map(|letter| letter.record.key.index.clone()));
            filed += rejected.len();
            rows::file(&transaction, rejected.iter())?;
        }
    }
    let changes = Ledger::changes(&transaction, indexes)?;
    if !ledger.allows(&changes, filed) {
        return Ok(false);
    }
    transaction.commit()?;
    ledger.apply(changes);
    Ok(true)
}
