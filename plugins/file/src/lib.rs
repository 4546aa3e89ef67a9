//! The file destination: a journal of operations as NDJSON, one active file for each index.
//!
//! It writes operations down and does not apply them: a save, a partial update and a delete of one object are three
//! lines. Each line is one JSON object:
//!
//! ```json
//! {"action":"save","index":"products","object_id":"4711","log_id":"0b5e…","request_id":"80c1…","time":"2026-11-23T15:00:00.000001Z","position":{"partition":0,"offset":123},"number":0,"version":1795446000000001,"data":{"name":"Anvil"}}
//! ```
//!
//! `time` is when the agent accepted the request, `number` counts the operations of one record from 0, `version`
//! orders the operations of one object, and `data` is absent where the operation has no attributes, as for a delete.
//!
//! **At least once.** A line is on disk (fdatasync) before its verdict. After a crash or an error the agent sends its
//! last batches again, so their lines may be there twice: readers drop a line whose `log_id`, `position` and `number`
//! they have seen. The lines of one object are in log order, but for such a repeat, which starts over further back.
//!
//! **Files.** `<index>.ndjson` is the active file of an index. It is renamed to `<index>.<time>.ndjson`, with the
//! time in UTC to the microsecond (`20261123T150000.000001Z`), before the first line that would make it larger than
//! [`Settings::rotate_bytes`] or that comes when it is older than [`Settings::rotate_age`]; no file is ever
//! overwritten. Every byte of the index's name but `[A-Za-z0-9_-]` is percent-encoded; a name longer than 200 bytes is
//! cut and ends in `~` and its SHA-256. A partial last line, as a crash leaves it, is cut before the first line
//! after a restart. The directory is 0700, files are 0600, and `.lock` keeps a second agent out.
//!
//! Read in the order in which data flows: the destination, the encoding, the journal with its active files and its
//! directory, and the classification of what went wrong.

mod destination;
mod encode;
mod settings;

mod active;
mod directory;
mod journal;
mod name;

mod classify;

pub use destination::File;
pub use settings::{Settings, TYPE};
