//! A letter or a range as one line of JSON: for scripts, and for what becomes of an export.

use std::io::{self, Write};

use plugin_api::identity::Position;
use serde::Serialize;
use serde_json::value::RawValue;

use super::text;
use crate::{
    dead_letter::{Change, Filed, Group, Range},
    transform::Digest,
};

/// Whether a line holds the records' data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Absent,
    Present,
}

/// Writes the letter and a line feed.
pub(super) fn write(out: &mut dyn Write, destination: &str, filed: &Filed, data: Data) -> io::Result<()> {
    let letter = &filed.letter;
    let line = Line {
        destination,
        id: filed.id.0,
        stale: filed.stale,
        purged: filed.purged,
        stage: letter.stage.as_str(),
        reason: ReasonFields {
            code: letter.reason.code.as_str(),
            status: letter.reason.status,
            message: &letter.reason.message,
        },
        attempts: letter.attempts,
        accepted_at: text::time(letter.source.accepted_at),
        dead_lettered_at: text::time(letter.dead_lettered_at),
        request_id: letter.source.request_id.to_string(),
        caller: letter.source.caller.as_deref(),
        log_id: letter.source.log_id.to_string(),
        position: PositionFields {
            partition: letter.source.position.partition,
            offset: letter.source.position.offset,
        },
        number: letter.source.number,
        version: letter.version.0,
        module: letter.module.map(|module| Digest(module).to_string()),
        record: ChangeFields::new(&letter.record, data),
        operation: letter.operation.as_ref().map(|operation| ChangeFields::new(operation, data)),
    };
    let line = serde_json::to_string(&line)?;
    writeln!(out, "{}", text::one_line(&line))
}

/// Writes the range and a line feed; what tells it from a letter is that all of it lies in `range`.
pub(super) fn write_range(out: &mut dyn Write, destination: &str, range: &Range) -> io::Result<()> {
    let position =
        |position: Position| PositionFields { partition: position.partition, offset: position.offset };
    let line = RangeLine {
        destination,
        range: RangeFields {
            cause: range.cause.as_str(),
            message: &range.message,
            log_id: range.log_id.to_string(),
            first: position(range.first),
            end: position(range.end),
            records: range.records,
            index: range.index.as_deref(),
            recorded_at: text::time(range.recorded_at),
        },
    };
    let line = serde_json::to_string(&line)?;
    writeln!(out, "{}", text::one_line(&line))
}

/// Writes the group and a line feed.
pub(super) fn write_group(out: &mut dyn Write, destination: &str, group: &Group) -> io::Result<()> {
    let Group { index, stage, reason, letters, stale, bytes, oldest, newest } = group;
    let line = GroupLine {
        destination,
        index,
        stage: stage.as_str(),
        reason: reason.as_str(),
        letters: *letters,
        stale: *stale,
        bytes: *bytes,
        oldest: text::time(*oldest),
        newest: text::time(*newest),
    };
    let line = serde_json::to_string(&line)?;
    writeln!(out, "{}", text::one_line(&line))
}

#[derive(Serialize)]
struct GroupLine<'a> {
    destination: &'a str,
    index: &'a str,
    stage: &'static str,
    reason: &'static str,
    letters: u64,
    stale: u64,
    bytes: u64,
    oldest: String,
    newest: String,
}

#[derive(Serialize)]
struct RangeLine<'a> {
    destination: &'a str,
    range: RangeFields<'a>,
}

#[derive(Serialize)]
struct RangeFields<'a> {
    cause: &'static str,
    message: &'a str,
    log_id: String,
    first: PositionFields,
    /// Exclusive.
    end: PositionFields,
    records: u64,
    /// Absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    recorded_at: String,
}

#[derive(Serialize)]
struct Line<'a> {
    destination: &'a str,
    id: u64,
    stale: bool,
    /// Its data is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    purged: bool,
    stage: &'static str,
    reason: ReasonFields<'a>,
    attempts: u32,
    accepted_at: String,
    dead_lettered_at: String,
    request_id: String,
    /// Who sent the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    log_id: String,
    position: PositionFields,
    number: u32,
    version: u64,
    /// In hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    record: ChangeFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<ChangeFields<'a>>,
}

#[derive(Serialize)]
struct ReasonFields<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    message: &'a str,
}

#[derive(Serialize)]
struct PositionFields {
    partition: u32,
    offset: u64,
}

#[derive(Serialize)]
struct ChangeFields<'a> {
    action: &'static str,
    index: &'a str,
    object_id: &'a str,
    /// Byte for byte as it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    /// Instead of `data`, should a body not be JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_text: Option<String>,
}

impl<'a> ChangeFields<'a> {
    fn new(change: &'a Change, data: Data) -> Self {
        let Change { action, key, body } = change;
        let shown = data == Data::Present && !body.is_empty();
        let parsed = shown.then(|| serde_json::from_slice::<&RawValue>(body));
        let (data, data_text) = match parsed {
            Some(Ok(data)) => (Some(data), None),
            Some(Err(_)) => (None, Some(String::from_utf8_lossy(body).into_owned())),
            None => (None, None),
        };
        Self { action: action.as_str(), index: &key.index, object_id: &key.object_id, data, data_text }
    }
}
