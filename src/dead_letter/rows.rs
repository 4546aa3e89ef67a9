//! Letters as rows.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Key, Source},
    verdict::{Reason, ReasonCode},
};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params, types::Type};
use uuid::Uuid;

use super::{Change, Filed, Letter, LetterId, Stage, schema};

/// What [`read`] expects of a query, to be followed by its FROM; nothing where a file of this format has no column for it.
pub(super) fn select(format: i64) -> String {
    let module = if format >= schema::MODULES { "module" } else { "NULL AS module" };
    let caller = if format >= schema::CALLERS { "caller" } else { "NULL AS caller" };
    format!("{SELECT}, {module}, {caller}")
}

const SELECT: &str = "
    SELECT id, log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at, stage,
        reason, status, message, attempts, stale, record_action, record_index, record_object_id,
        operation_action, operation_index, operation_object_id, operation_body, record_body";

/// The newest account of a letter replaces the older one, but its id stays, and stale it stays, too.
const FILE: &str = "
    INSERT INTO letters (log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at,
        stage, reason, status, message, attempts, record_action, record_index, record_object_id,
        operation_action, operation_index, operation_object_id, operation_body, record_body,
        module, caller)
    VALUES (:log_id, :partition, :offset, :number, :version, :request_id, :accepted_at, :dead_lettered_at,
        :stage, :reason, :status, :message, :attempts, :record_action, :record_index, :record_object_id,
        :operation_action, :operation_index, :operation_object_id, :operation_body, :record_body,
        :module, :caller)
    ON CONFLICT (log_id, partition, offset, number) DO UPDATE SET
        version = excluded.version, request_id = excluded.request_id, accepted_at = excluded.accepted_at,
        dead_lettered_at = excluded.dead_lettered_at, stage = excluded.stage, reason = excluded.reason,
        status = excluded.status, message = excluded.message, attempts = excluded.attempts,
        record_action = excluded.record_action, record_index = excluded.record_index,
        record_object_id = excluded.record_object_id, operation_action = excluded.operation_action,
        operation_index = excluded.operation_index, operation_object_id = excluded.operation_object_id,
        operation_body = excluded.operation_body, record_body = excluded.record_body,
        module = excluded.module, caller = excluded.caller";

/// Files letters.
pub(super) fn file<'a>(
    connection: &Connection,
    letters: impl Iterator<Item = &'a Letter>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(FILE)?;
    for letter in letters {
        let Letter { source, version, record, operation, module, .. } = letter;
        let Letter { stage, reason, attempts, dead_lettered_at, .. } = letter;
        let operation = operation.as_ref();
        statement.execute(named_params! {
            ":log_id": source.log_id.0.as_bytes(),
            ":partition": source.position.partition,
            ":offset": source.position.offset,
            ":number": source.number,
            ":version": version.0,
            ":request_id": source.request_id.0.as_bytes(),
            ":accepted_at": source.accepted_at.0,
            ":dead_lettered_at": dead_lettered_at.0,
            ":stage": stage.as_str(),
            ":reason": reason.code.as_str(),
            ":status": reason.status,
            ":message": reason.message,
            ":attempts": attempts,
            ":record_action": record.action.as_str(),
            ":record_index": &*record.key.index,
            ":record_object_id": &*record.key.object_id,
            ":operation_action": operation.map(|operation| operation.action.as_str()),
            ":operation_index": operation.map(|operation| &*operation.key.index),
            ":operation_object_id": operation.map(|operation| &*operation.key.object_id),
            ":operation_body": operation.map(|operation| &*operation.body),
            ":record_body": &*record.body,
            ":module": module,
            ":caller": source.caller.as_deref(),
        })?;
    }
    Ok(())
}

/// Whether this letter is in the store, whatever its account.
pub(super) fn holds(connection: &Connection, letter: &Letter) -> rusqlite::Result<bool> {
    let Source { log_id, position, number, .. } = &letter.source;
    let sql = "SELECT 1 FROM letters WHERE log_id = ?1 AND partition = ?2 AND offset = ?3 AND number = ?4";
    connection.prepare_cached(sql)?.exists(params![
        log_id.0.as_bytes(),
        position.partition,
        position.offset,
        number
    ])
}

/// The last position, by partition and then offset, at which a record of this log was dead-lettered.
pub(super) fn newest_position(connection: &Connection, log_id: LogId) -> rusqlite::Result<Option<Position>> {
    let sql = "SELECT partition, offset FROM letters WHERE log_id = ?1 ORDER BY partition DESC, offset DESC LIMIT 1";
    let position = |row: &Row<'_>| Ok(Position { partition: row.get(0)?, offset: row.get(1)? });
    connection.prepare_cached(sql)?.query_row([log_id.0.as_bytes()], position).optional()
}

/// A row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Filed> {
    let source = Source {
        log_id: LogId(Uuid::from_bytes(row.get("log_id")?)),
        position: Position { partition: row.get("partition")?, offset: row.get("offset")? },
        number: row.get("number")?,
        request_id: RequestId(Uuid::from_bytes(row.get("request_id")?)),
        accepted_at: Timestamp(row.get("accepted_at")?),
        caller: row.get("caller")?,
    };
    let reason = Reason {
        code: word(row, "reason", &ReasonCode::ALL, ReasonCode::as_str)?,
        status: row.get("status")?,
        message: row.get("message")?,
    };
    let operation = match row.get::<_, Option<Arc<str>>>("operation_index")? {
        Some(index) => Some(Change {
            action: word(row, "operation_action", &Action::ALL, Action::as_str)?,
            key: Key { index, object_id: row.get("operation_object_id")? },
            body: Bytes::from(row.get::<_, Vec<u8>>("operation_body")?),
        }),
        None => None,
    };
    let letter = Letter {
        source,
        version: Version(row.get("version")?),
        record: Change {
            action: word(row, "record_action", &Action::ALL, Action::as_str)?,
            key: Key { index: row.get("record_index")?, object_id: row.get("record_object_id")? },
            body: Bytes::from(row.get::<_, Vec<u8>>("record_body")?),
        },
        operation,
        module: row.get("module")?,
        stage: word(row, "stage", &Stage::ALL, Stage::as_str)?,
        reason,
        attempts: row.get("attempts")?,
        dead_lettered_at: Timestamp(row.get("dead_lettered_at")?),
    };
    // Only a delete was accepted without data.
    let purged = letter.record.action != Action::Delete && letter.record.body.is_empty();
    Ok(Filed { id: LetterId(row.get("id")?), stale: row.get("stale")?, purged, letter })
}

/// The one of `all` whose name stands in the column.
pub(super) fn word<T: Copy>(
    row: &Row<'_>,
    column: &'static str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let found: String = row.get(column)?;
    all.iter().copied().find(|one| name(*one) == found).ok_or_else(|| {
        let index = row.as_ref().column_index(column).unwrap_or_default();
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(UnknownWord { column, found }))
    })
}

#[derive(Debug)]
struct UnknownWord {
    column: &'static str,
    found: String,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is not known to this agent", self.column, self.found)
    }
}

impl Error for UnknownWord {}
