//! Operations -> the bytes of one `_bulk` request: two lines for each, one for a delete.
//!
//! A record's text is copied once, as it is; nothing is parsed.

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugin_api::operation::{Action, Operation};

use crate::settings::PartialUpdates;

/// A record's version times this is a document's: between two records there is room for what partial updates add to the
/// stored version, each 1 whenever it is applied. Without it, a save could find a version that is greater than its own
/// and be lost.
pub(crate) const VERSION_FACTOR: i64 = 1024;

/// Within that room, each operation of one record has this much: a transform may make several for one object, and each
/// of them comes after the ones before it.
pub(crate) const OPERATION_FACTOR: i64 = 32;

/// Replaces first-level attributes, unless what is stored is newer. The text is the same for all, so that a cluster
/// compiles it once.
const SCRIPT: &str =
    "if (ctx._version >= params.next) { ctx.op = 'none' } else { ctx._source.putAll(params.d) }";

/// What of an answer is of use. The version tells, where an update did nothing, why.
const FILTER: &str = "errors,items.*._id,items.*.status,items.*.result,items.*.error.type,items.*.error.reason,\
                      items.*.failure_store,items.update._version";

/// How often a node tries an update again when another one came in between.
const RETRY_ON_CONFLICT: &[u8] = b"3";

/// What one segment of a path shows as it is; everything else is percent-encoded, slashes above all.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');

/// Bytes that an operation's lines take beyond what [`Operation::size`] adds for it.
const FRAME: usize = 192;

/// How an operation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `index` with this version.
    Index(i64),
    /// `delete` with this version.
    Delete(i64),
    /// `update` by script.
    Script,
    /// `update` with a `doc`.
    Doc,
}

/// One operation of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Its place in the batch.
    pub(crate) place: usize,
    pub(crate) operation: &'a Operation,
    pub(crate) form: Form,
}

impl Form {
    /// How an operation is sent at first.
    pub(crate) fn first(operation: &Operation, partial_updates: PartialUpdates) -> Self {
        match (operation.action, partial_updates) {
            (Action::Save, _) => Self::Index(document_version(operation)),
            (Action::Delete, _) => Self::Delete(document_version(operation)),
            (Action::PartialUpdate | Action::PartialUpdateNoCreate, PartialUpdates::Script) => Self::Script,
            (Action::PartialUpdate | Action::PartialUpdateNoCreate, PartialUpdates::DeepMerge) => Self::Doc,
        }
    }
}

/// The version that a document gets from an operation. Admitted ones stay below the greatest number; operations of a
/// record beyond those for which there is room share a version.
pub(crate) fn document_version(operation: &Operation) -> i64 {
    let record = i64::try_from(operation.version.0).unwrap_or(i64::MAX).saturating_mul(VERSION_FACTOR);
    let number = i64::from(operation.source.number).min(VERSION_FACTOR / OPERATION_FACTOR - 1);
    record.saturating_add(number * OPERATION_FACTOR)
}

/// The path of every write. The cluster answers before we stop waiting, also where a shard cannot be written.
pub(crate) fn bulk_path(timeout: Duration) -> String {
    let server = (timeout * 2 / 3).as_millis().max(1);
    format!("/_bulk?timeout={server}ms&filter_path={FILTER}")
}

/// The path that makes what was written to an index visible.
pub(crate) fn refresh_path(index: &str) -> String {
    format!("/{}/_refresh?filter_path=_shards.failed", utf8_percent_encode(index, SEGMENT))
}

/// The body of a request with these operations.
pub(crate) fn body(lines: &[Line<'_>]) -> Bytes {
    let bytes: usize = lines.iter().map(|line| line.operation.size() + FRAME).sum();
    let mut body = Vec::with_capacity(bytes);
    lines.iter().for_each(|line| push(&mut body, line));
    body.into()
}

fn push(body: &mut Vec<u8>, line: &Line<'_>) {
    let Line { operation, form, .. } = line;
    let action: &[u8] = match form {
        Form::Index(_) => br#"{"index":{"_index":"#,
        Form::Delete(_) => br#"{"delete":{"_index":"#,
        Form::Script | Form::Doc => br#"{"update":{"_index":"#,
    };
    body.extend_from_slice(action);
    push_string(body, &operation.key.index);
    body.extend_from_slice(br#","_id":"#);
    push_string(body, &operation.key.object_id);
    match form {
        Form::Index(version) | Form::Delete(version) => {
            body.extend_from_slice(br#","version":"#);
            push_number(body, *version);
            body.extend_from_slice(br#","version_type":"external_gte"}}"#);
        }
        Form::Script | Form::Doc => {
            body.extend_from_slice(br#","retry_on_conflict":"#);
            body.extend_from_slice(RETRY_ON_CONFLICT);
            body.extend_from_slice(b"}}");
        }
    }
    body.push(b'\n');
    match form {
        Form::Delete(_) => return,
        Form::Index(_) => push_record(body, &operation.body),
        Form::Doc => {
            body.extend_from_slice(br#"{"doc":"#);
            push_record(body, &operation.body);
            body.push(b'}');
        }
        Form::Script => {
            body.extend_from_slice(br#"{"script":{"lang":"painless","source":""#);
            body.extend_from_slice(SCRIPT.as_bytes());
            body.extend_from_slice(br#"","params":{"next":"#);
            push_number(body, document_version(operation).saturating_add(OPERATION_FACTOR));
            body.extend_from_slice(br#","d":"#);
            push_record(body, &operation.body);
            body.extend_from_slice(b"}}}");
        }
    }
    body.push(b'\n');
}

/// A record on one line: a line's end within JSON is space between its parts.
fn push_record(body: &mut Vec<u8>, record: &[u8]) {
    let start = body.len();
    body.extend_from_slice(record.trim_ascii());
    if memchr::memchr2(b'\n', b'\r', &body[start..]).is_some() {
        body[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
}

fn push_number(body: &mut Vec<u8>, number: i64) {
    body.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_string(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("a string is JSON, and writing to memory does not fail");
}
