//! The database: opened, checked, created. `FORMAT.md` describes it; change both together.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// "SyDL": marks the file as ours.
const APPLICATION_ID: i64 = 0x5379_444c;
/// The format of this agent, in `user_version`.
const FORMAT: i64 = 1;
/// How long to wait for another connection's write; there is none but a reader's recovery of the log.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Opens the database for its one writer; creates it (0600) and its directory (0700) where they are missing.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    create_file(path).map_err(|source| StoreError::Open { path: path.into(), source })?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if is_empty(&connection, path)? {
        create(&mut connection).map_err(StoreError::sqlite(path))?;
    }
    durable(&connection).map_err(StoreError::sqlite(path))?;
    Ok(connection)
}

/// Opens an existing database for reading, whether an agent has it open or not.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    // SQLite says no more than "unable to open", the operating system says why.
    File::open(path).map_err(|source| StoreError::Open { path: path.into(), source })?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if is_empty(&connection, path)? {
        return Err(StoreError::Foreign { path: path.into() });
    }
    Ok(connection)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connect = || {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    };
    connect().map_err(StoreError::sqlite(path))
}

/// Whether there is nothing in the database yet. An error if what is there is not ours or newer than this agent.
fn is_empty(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = (|| Ok((pragma("application_id")?, pragma("user_version")?, pragma("schema_version")?)))();
    match found.map_err(StoreError::sqlite(path))? {
        (0, 0, 0) => Ok(true),
        (APPLICATION_ID, FORMAT, _) => Ok(false),
        (APPLICATION_ID, found, _) if found > FORMAT => {
            Err(StoreError::Newer { path: path.into(), found, supported: FORMAT })
        }
        _ => Err(StoreError::Foreign { path: path.into() }),
    }
}

/// One transaction, before the switch to WAL: the file is either empty or complete.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(CREATE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")
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
