//! Letters counted, for a first look at many.

use std::sync::Arc;

use plugin_api::{identity::Timestamp, verdict::ReasonCode};
use rusqlite::{Connection, Row};

use super::{Filter, Stage, filter::WHERE, rows::word, schema};

/// The letters of one index, stage and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The index that their records were sent to.
    pub index: Arc<str>,
    /// How far they came.
    pub stage: Stage,
    /// Why they went no further.
    pub reason: ReasonCode,
    /// How many there are.
    pub letters: u64,
    /// How many of them are stale.
    pub stale: u64,
    /// Bytes that they count for in the budget; 0 in a file of format 1, which does not count.
    pub bytes: u64,
    /// When the first of them was dead-lettered.
    pub oldest: Timestamp,
    /// When the last was.
    pub newest: Timestamp,
}

/// The groups of the letters that the filter lets through, by index, stage and reason.
pub(super) fn read(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Group>> {
    let bytes = if schema::has_bytes(connection)? { "sum(bytes)" } else { "0" };
    let sql = format!(
        "SELECT record_index, stage, reason, count(*), sum(stale), {bytes}, min(dead_lettered_at), max(dead_lettered_at)
         FROM letters WHERE {WHERE} GROUP BY record_index, stage, reason ORDER BY record_index, stage, reason"
    );
    let group = |row: &Row<'_>| {
        Ok(Group {
            index: row.get(0)?,
            stage: word(row, "stage", &Stage::ALL, Stage::as_str)?,
            reason: word(row, "reason", &ReasonCode::ALL, ReasonCode::as_str)?,
            letters: row.get(3)?,
            stale: row.get(4)?,
            bytes: row.get(5)?,
            oldest: Timestamp(row.get(6)?),
            newest: Timestamp(row.get(7)?),
        })
    };
    connection.prepare(&sql)?.query_map(&*filter.parameters(), group)?.collect()
}

/// How many letters the filter lets through.
pub(super) fn count(connection: &Connection, filter: &Filter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM letters WHERE {WHERE}");
    connection.prepare(&sql)?.query_row(&*filter.parameters(), |row| row.get(0))
}
