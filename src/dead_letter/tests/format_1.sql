-- A store as agents of format 1 left it: two letters.
BEGIN;
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
PRAGMA application_id = 1400456268;
PRAGMA user_version = 1;
INSERT INTO letters (log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at,
    stage, reason, status, message, attempts, record_action, record_index, record_object_id, record_body)
VALUES (x'00000000000000000000000000000007', 0, 1, 0, 1795446000000001,
    x'00000000000000000000000000000008', 1795446000000000, 1795446001000001,
    'delivery', 'rejected', 400, 'record is too odd', 1, 'save', 'products', 'object-1', x'7b7d');
INSERT INTO letters (log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at,
    stage, reason, status, message, attempts, record_action, record_index, record_object_id, record_body)
VALUES (x'00000000000000000000000000000007', 0, 2, 0, 1795446000000002,
    x'00000000000000000000000000000008', 1795446000000000, 1795446001000002,
    'delivery', 'rejected', 400, 'record is too odd', 1, 'save', 'products', 'object-2', x'7b7d');
COMMIT;
PRAGMA journal_mode = WAL;
