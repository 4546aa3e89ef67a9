-- A store as agents of format 4 left it: two letters, one of which a transform's module made.
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
ALTER TABLE letters ADD COLUMN module BLOB;
PRAGMA application_id = 1400456268;
PRAGMA user_version = 4;
INSERT INTO letters (log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at,
    stage, reason, status, message, attempts, record_action, record_index, record_object_id, record_body, module)
VALUES (x'00000000000000000000000000000007', 0, 1, 0, 1795446000000001,
    x'00000000000000000000000000000008', 1795446000000000, 1795446001000001,
    'delivery', 'rejected', 400, 'record is too odd', 1, 'save', 'products', 'object-1', x'7b7d', x'abababababababababababababababababababababababababababababababab');
INSERT INTO letters (log_id, partition, offset, number, version, request_id, accepted_at, dead_lettered_at,
    stage, reason, status, message, attempts, record_action, record_index, record_object_id, record_body)
VALUES (x'00000000000000000000000000000007', 0, 2, 0, 1795446000000002,
    x'00000000000000000000000000000008', 1795446000000000, 1795446001000002,
    'delivery', 'rejected', 400, 'record is too odd', 1, 'save', 'products', 'object-2', x'7b7d');
COMMIT;
PRAGMA journal_mode = WAL;
