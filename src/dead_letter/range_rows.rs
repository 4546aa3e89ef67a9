//! Ranges as rows.

use std::sync::Arc;

use plugin_api::{
    identity::{LogId, Position, Timestamp},
    operation::Source,
};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use uuid::Uuid;

use super::{Cause, Letter, Range, rows::word};

/// What [`read`] expects of a query, to be followed by its FROM.
pub(super) const SELECT: &str = "
    SELECT log_id, partition, first_offset, end_offset, record_index, records, cause, message, recorded_at";

/// The newest account of a range replaces the older one.
const RECORD: &str = "
    INSERT INTO ranges
        (log_id, partition, first_offset, end_offset, record_index, records, cause, message, recorded_at)
    VALUES
        (:log_id, :partition, :first_offset, :end_offset, :record_index, :records, :cause, :message, :recorded_at)
    ON CONFLICT (log_id, partition, cause, ifnull(record_index, ''), first_offset) DO UPDATE SET
        end_offset = excluded.end_offset, records = excluded.records, message = excluded.message,
        recorded_at = excluded.recorded_at";

/// Microseconds.
const HOUR: u64 = 3_600_000_000;

/// Records a range.
pub(super) fn record(connection: &Connection, range: &Range) -> rusqlite::Result<()> {
    connection.prepare_cached(RECORD)?.execute(named_params! {
        ":log_id": range.log_id.0.as_bytes(),
        ":partition": range.first.partition,
        ":first_offset": range.first.offset,
        ":end_offset": range.end.offset,
        ":record_index": range.index.as_deref(),
        ":records": range.records,
        ":cause": range.cause.as_str(),
        ":message": range.message,
        ":recorded_at": range.recorded_at.0,
    })?;
    Ok(())
}

/// Adds the records of letters that are not kept, each to the range that ends where it lies, else to a new one. One that
/// lies in a range already, after a crash for one, is not counted again.
pub(super) fn add<'a>(
    connection: &Connection,
    letters: impl Iterator<Item = &'a Letter>,
) -> rusqlite::Result<()> {
    let mut before = connection.prepare_cached(
        "SELECT id, end_offset FROM ranges
         WHERE log_id = ?1 AND partition = ?2 AND cause = ?3 AND ifnull(record_index, '') = ?4 AND first_offset <= ?5
         ORDER BY first_offset DESC LIMIT 1",
    )?;
    let mut extend = connection.prepare_cached(
        "UPDATE ranges SET end_offset = end_offset + 1, records = records + 1 WHERE id = ?1",
    )?;
    for letter in letters {
        let &Source { log_id, position, .. } = &letter.source;
        let cause = Cause::DeadLettersFull;
        let index = &letter.record.key.index;
        let key = params![log_id.0.as_bytes(), position.partition, cause.as_str(), &**index, position.offset];
        let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?));
        match before.query_row(key, row).optional()? {
            Some((_, end)) if end > position.offset => {}
            Some((id, end)) if end == position.offset => _ = extend.execute([id])?,
            _ => record(
                connection,
                &Range {
                    log_id,
                    first: position,
                    end: position.plus(1),
                    index: Some(index.clone()),
                    records: 1,
                    cause,
                    message: letter.reason.to_string(),
                    recorded_at: letter.dead_lettered_at,
                },
            )?,
        }
    }
    Ok(())
}

/// Joins the ranges that [`add`] made, below a position from which on alone records may still be added: those of one
/// index and one hour become one. Bounds what interleaved indexes leave behind.
pub(super) fn merge(connection: &mut Connection, log_id: LogId, below: Position) -> rusqlite::Result<()> {
    const OF_GROUP: &str =
        "log_id = ?1 AND partition = ?2 AND cause = ?3 AND end_offset <= ?4 AND first_offset < ?4";
    let key = (log_id.0.as_bytes(), below.partition, Cause::DeadLettersFull.as_str(), below.offset);
    let transaction = connection.transaction()?;
    let groups: Vec<(i64, Arc<str>, i64, [u64; 3])> = transaction
        .prepare_cached(&format!(
            "SELECT min(id), record_index, recorded_at / {HOUR}, min(first_offset), max(end_offset), sum(records)
             FROM ranges WHERE {OF_GROUP} GROUP BY record_index, recorded_at / {HOUR} HAVING count(*) > 1"
        ))?
        .query_map(key, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, [row.get(3)?, row.get(4)?, row.get(5)?]))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (id, index, hour, [first, end, records]) in groups {
        let (log_id, partition, cause, offset) = key;
        transaction
            .prepare_cached(&format!(
                "DELETE FROM ranges WHERE {OF_GROUP} AND record_index = ?5 AND recorded_at / {HOUR} = ?6 AND id <> ?7"
            ))?
            .execute(params![log_id, partition, cause, offset, &*index, hour, id])?;
        transaction
            .prepare_cached(
                "UPDATE ranges SET first_offset = ?2, end_offset = ?3, records = ?4 WHERE id = ?1",
            )?
            .execute(params![id, first, end, records])?;
    }
    transaction.commit()
}

/// The last position, by partition and then offset, of a record of this log that lies in a range.
pub(super) fn newest_position(connection: &Connection, log_id: LogId) -> rusqlite::Result<Option<Position>> {
    let sql = "SELECT partition, max(end_offset) - 1 FROM ranges WHERE log_id = ?1
               GROUP BY partition ORDER BY partition DESC LIMIT 1";
    let position = |row: &Row<'_>| Ok(Position { partition: row.get(0)?, offset: row.get(1)? });
    connection.prepare_cached(sql)?.query_row([log_id.0.as_bytes()], position).optional()
}

/// A row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Range> {
    let partition = row.get("partition")?;
    Ok(Range {
        log_id: LogId(Uuid::from_bytes(row.get("log_id")?)),
        first: Position { partition, offset: row.get("first_offset")? },
        end: Position { partition, offset: row.get("end_offset")? },
        index: row.get::<_, Option<Arc<str>>>("record_index")?,
        records: row.get("records")?,
        cause: word(row, "cause", &Cause::ALL, Cause::as_str)?,
        message: row.get("message")?,
        recorded_at: Timestamp(row.get("recorded_at")?),
    })
}
