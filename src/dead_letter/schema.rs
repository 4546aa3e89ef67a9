//! The database: opened, checked, created. `FORMAT.md` describes it; change both together.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// "SyDL": marks the file as ours.
const APPLICATION_ID: i64 = 0x5379_444c;
/// The format of this agent, in `user_version`.
pub(super) const FORMAT: i64 = 5;
/// The oldest that it reads; [`open`] brings a file up to date.
const FORMAT_OLDEST: i64 = 1;
/// The format that brought ranges and the letters' bytes.
const RANGES: i64 = 2;
/// The format that brought modules.
pub(super) const MODULES: i64 = 4;
/// The format that brought callers.
pub(super) const CALLERS: i64 = 5;
/// How long to wait for another connection's write: an operator's, or a reader's recovery of the log.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Format 1. A new file is made as one of format 1 that is brought up to date, so that both are the same.
const CREATE: &str = "
    CREATE TABLE letters (
        id                  INTEGER PRIMARY KEY AUTOINCREMENT,
        log_id              BLOB    NOT NULL,
        partition           INTEGER NOT NULL,
        offset              INTEGER NOT NULL,
        number              INTEGER NOT NULL,
        version             INTEGER NOT NULL,
        request_id          BLOB    NOT NULL,
        accepted_at         INTEGER NOT NULL,
        dead_lettered_at    INTEGER NOT NULL,
        stage               TEXT    NOT NULL,
        reason              TEXT    NOT NULL,
        status              INTEGER,
        message             TEXT    NOT NULL,
        attempts            INTEGER NOT NULL,
        stale               INTEGER NOT NULL DEFAULT 0,
        record_action       TEXT    NOT NULL,
        record_index        TEXT    NOT NULL,
        record_object_id    TEXT    NOT NULL,
        operation_action    TEXT,
        operation_index     TEXT,
        operation_object_id TEXT,
        operation_body      BLOB,
        record_body         BLOB    NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX letters_by_position ON letters (log_id, partition, offset, number);
    CREATE INDEX letters_by_record ON letters (record_index, record_object_id);
    CREATE INDEX letters_by_operation ON letters (operation_index, operation_object_id)
        WHERE operation_index IS NOT NULL;
";

/// From format 1 to 2, before [`USAGE`].
const FROM_1_TO_2: &str = "
    ALTER TABLE letters ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (
        256 + length(record_body) + ifnull(length(operation_body), 0) + length(CAST(message AS BLOB))
        + 2 * (length(CAST(record_index AS BLOB)) + length(CAST(record_object_id AS BLOB))
            + ifnull(length(CAST(operation_index AS BLOB)), 0)
            + ifnull(length(CAST(operation_object_id AS BLOB)), 0))
    ) VIRTUAL;
    CREATE INDEX letters_by_age ON letters (dead_lettered_at);

    CREATE TABLE usage (
        record_index TEXT    PRIMARY KEY,
        letters      INTEGER NOT NULL,
        bytes        INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO usage SELECT record_index, count(*), sum(bytes) FROM letters GROUP BY record_index;

    CREATE TABLE ranges (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        log_id       BLOB    NOT NULL,
        partition    INTEGER NOT NULL,
        first_offset INTEGER NOT NULL,
        end_offset   INTEGER NOT NULL,
        record_index TEXT,
        records      INTEGER NOT NULL,
        cause        TEXT    NOT NULL,
        message      TEXT    NOT NULL,
        recorded_at  INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX ranges_by_position
        ON ranges (log_id, partition, cause, ifnull(record_index, ''), first_offset);
";

/// The triggers keep `usage` true whoever changes a letter, an operator with a shell of SQLite's own included.
const USAGE: &str = "
    CREATE TRIGGER usage_of_new AFTER INSERT ON letters BEGIN
        INSERT INTO usage VALUES (new.record_index, 1, new.bytes)
        ON CONFLICT DO UPDATE SET letters = letters + 1, bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER usage_of_old AFTER DELETE ON letters BEGIN
        UPDATE usage SET letters = letters - 1, bytes = bytes - old.bytes WHERE record_index = old.record_index;
        DELETE FROM usage WHERE record_index = old.record_index AND letters = 0;
    END;
    CREATE TRIGGER usage_of_changed AFTER UPDATE ON letters
    WHEN old.bytes <> new.bytes OR old.record_index <> new.record_index BEGIN
        UPDATE usage SET letters = letters - 1, bytes = bytes - old.bytes WHERE record_index = old.record_index;
        INSERT INTO usage VALUES (new.record_index, 1, new.bytes)
        ON CONFLICT DO UPDATE SET letters = letters + 1, bytes = bytes + excluded.bytes;
        DELETE FROM usage WHERE letters = 0;
    END;
";

/// From format 3 to 4.
const FROM_3_TO_4: &str = "ALTER TABLE letters ADD COLUMN module BLOB;";

/// From format 4 to 5, before [`USAGE`]: a caller counts, too. Letters that are there have none, so `usage` stays true.
/// What a letter takes is [`super::Letter::size`], said once more in SQL.
const FROM_4_TO_5: &str = "
    DROP TRIGGER usage_of_new;
    DROP TRIGGER usage_of_old;
    DROP TRIGGER usage_of_changed;
    ALTER TABLE letters ADD COLUMN caller TEXT;
    ALTER TABLE letters DROP COLUMN bytes;
    ALTER TABLE letters ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (
        256 + length(record_body) + ifnull(length(operation_body), 0) + length(CAST(message AS BLOB))
        + ifnull(length(CAST(caller AS BLOB)), 0)
        + 2 * (length(CAST(record_index AS BLOB)) + length(CAST(record_object_id AS BLOB))
            + ifnull(length(CAST(operation_index AS BLOB)), 0)
            + ifnull(length(CAST(operation_object_id AS BLOB)), 0))
    ) VIRTUAL;
";

/// Opens the database for its one writer; creates it (0600) and its directory (0700) where they are missing.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    create_file(path).map_err(|source| StoreError::Open { path: path.into(), source })?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = format(&connection, path)?;
    prepare_to_write(&mut connection).map_err(StoreError::sqlite(path))?;
    bring_up_to_date(&mut connection, found).map_err(StoreError::sqlite(path))?;
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(StoreError::sqlite(path))?;
    Ok(connection)
}

/// Opens an existing database for deleting, whether an agent has it open or not. It stays in its format.
pub(super) fn open_beside(path: &Path) -> Result<Connection, StoreError> {
    open_existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|mut connection| {
        prepare_to_write(&mut connection).map_err(StoreError::sqlite(path))?;
        Ok(connection)
    })
}

/// Opens an existing database for reading, whether an agent has it open or not.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open_existing(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    // SQLite says no more than "unable to open", the operating system says why.
    File::open(path).map_err(|source| StoreError::Open { path: path.into(), source })?;
    let connection = connect(path, access)?;
    match format(&connection, path)? {
        Some(_) => Ok(connection),
        None => Err(StoreError::Foreign { path: path.into() }),
    }
}

/// What each connection that writes needs.
fn prepare_to_write(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted or purged is somebody's data: it is overwritten, not only forgotten.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    // With another writer about, a transaction that begins by reading could not wait for its turn.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(())
}

/// Whether the file has a table for ranges: one of format 1 that no agent has opened since has none.
pub(super) fn has_ranges(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(format_of(connection)? >= RANGES)
}

/// Whether the file counts the bytes of its letters.
pub(super) fn has_bytes(connection: &Connection) -> rusqlite::Result<bool> {
    has_ranges(connection)
}

/// The file's format, once it was opened.
pub(super) fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connect = || {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    };
    connect().map_err(StoreError::sqlite(path))
}

/// The file's format; `None` if there is nothing in it yet. An error if what is there is not ours or newer than this
/// agent.
fn format(connection: &Connection, path: &Path) -> Result<Option<i64>, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = (|| Ok((pragma("application_id")?, pragma("user_version")?, pragma("schema_version")?)))();
    match found.map_err(StoreError::sqlite(path))? {
        (0, 0, 0) => Ok(None),
        (APPLICATION_ID, found @ FORMAT_OLDEST..=FORMAT, _) => Ok(Some(found)),
        (APPLICATION_ID, found, _) if found > FORMAT => {
            Err(StoreError::Newer { path: path.into(), found, supported: FORMAT })
        }
        _ => Err(StoreError::Foreign { path: path.into() }),
    }
}

/// One transaction, for a new file before its switch to WAL: a file is either as it was or complete.
fn bring_up_to_date(connection: &mut Connection, found: Option<i64>) -> rusqlite::Result<()> {
    if found == Some(FORMAT) {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    if found.is_none() {
        transaction.execute_batch(CREATE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    if found.unwrap_or(FORMAT_OLDEST) < RANGES {
        transaction.execute_batch(FROM_1_TO_2)?;
        transaction.execute_batch(USAGE)?;
    }
    // Format 3 brought a word and changed no table.
    if found.unwrap_or(FORMAT_OLDEST) < MODULES {
        transaction.execute_batch(FROM_3_TO_4)?;
    }
    if found.unwrap_or(FORMAT_OLDEST) < CALLERS {
        transaction.execute_batch(FROM_4_TO_5)?;
        transaction.execute_batch(USAGE)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// SQLite would create the file readable for everyone, and would leave its entry to chance.
fn create_file(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
    }
    if !fs::exists(path)? {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
