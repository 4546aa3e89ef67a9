//! Ranges as rows.

use std::sync::Arc;

use plugin_api::identity::{LogId, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use uuid::Uuid;

use super::{Cause, Range, rows::word};

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
