//! Operations -> the bytes of one request.
//!
//! A record's text is copied once, with its id put in front; nothing is parsed. The place of every record within the
//! body is kept, since some refusals name the culprit by a column only.

use std::{collections::HashSet, ops::Range, sync::Arc};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugin_api::operation::{Action, Operation};

/// What one segment of a path shows as it is; everything else is percent-encoded, slashes above all.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Bytes that an operation's frame takes beyond what [`Operation::size`] adds for it.
const FRAME: usize = 32;

/// One request to the batch API.
pub(crate) struct Request<'a> {
    /// What it carries, in order.
    pub(crate) operations: Vec<&'a Operation>,
    /// The indexes that it writes, in the order in which they come; never empty.
    pub(crate) indexes: Vec<&'a Arc<str>>,
    /// The path, percent-encoded.
    pub(crate) path: String,
    /// The body, JSON on a single line.
    pub(crate) body: Bytes,
    /// Where each operation's record lies in the body.
    records: Vec<Range<usize>>,
}

impl<'a> Request<'a> {
    /// Encodes operations, of which there is at least one.
    pub(crate) fn new(operations: Vec<&'a Operation>) -> Self {
        let indexes = indexes(&operations);
        let several = indexes.len() > 1;
        let path = match indexes.as_slice() {
            [index] => format!("/1/indexes/{}/batch", segment(index)),
            _ => "/1/indexes/*/batch".into(),
        };
        let bytes: usize = operations.iter().map(|operation| operation.size() + FRAME).sum();
        let mut body = Vec::with_capacity(bytes);
        let mut records = Vec::with_capacity(operations.len());
        body.extend_from_slice(br#"{"requests":["#);
        for (number, operation) in operations.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            records.push(push(&mut body, operation, several));
        }
        body.extend_from_slice(b"]}");
        Self { operations, indexes, path, body: body.into(), records }
    }

    /// The operation in whose record a column (from 1) of the body lies.
    ///
    /// `None` where that is not beyond doubt: between two records, or where counting characters instead of bytes
    /// leads to another record.
    pub(crate) fn operation_at(&self, column: usize) -> Option<usize> {
        let by_bytes = self.record_at(column.checked_sub(1)?)?;
        let by_characters = match str::from_utf8(&self.body).ok()?.char_indices().nth(column - 1) {
            Some((offset, _)) => self.record_at(offset),
            None => None,
        };
        (by_characters == Some(by_bytes)).then_some(by_bytes)
    }

    fn record_at(&self, offset: usize) -> Option<usize> {
        let number = self.records.partition_point(|record| record.start <= offset).checked_sub(1)?;
        // A parser may name the brace or the comma after the record at which it stopped.
        (offset < self.records[number].end + 2).then_some(number)
    }
}

/// The path that asks for a task.
pub(crate) fn task_path(index: &str, task: &str) -> String {
    format!("/1/indexes/{}/task/{}", segment(index), segment(task))
}

fn segment(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, SEGMENT)
}

fn indexes<'a>(operations: &[&'a Operation]) -> Vec<&'a Arc<str>> {
    let mut seen = HashSet::new();
    let mut indexes: Vec<&Arc<str>> = Vec::new();
    for operation in operations {
        let index = &operation.key.index;
        if indexes.last() != Some(&index) && seen.insert(index) {
            indexes.push(index);
        }
    }
    indexes
}

/// Writes one operation and says where its record lies.
fn push(body: &mut Vec<u8>, operation: &Operation, several: bool) -> Range<usize> {
    body.extend_from_slice(br#"{"action":""#);
    body.extend_from_slice(action(operation.action).as_bytes());
    body.push(b'"');
    if several {
        body.extend_from_slice(br#","indexName":"#);
        push_string(body, &operation.key.index);
    }
    body.extend_from_slice(br#","body":"#);
    let start = body.len();
    body.extend_from_slice(br#"{"objectID":"#);
    push_string(body, &operation.key.object_id);
    match operation.action {
        Action::Delete => body.push(b'}'),
        Action::Save | Action::PartialUpdate | Action::PartialUpdateNoCreate => {
            // Admitted bodies are objects; without its brace the text goes on behind the id.
            let attributes = operation.body.trim_ascii();
            let attributes = attributes.strip_prefix(b"{").unwrap_or(attributes).trim_ascii_start();
            if !attributes.starts_with(b"}") {
                body.push(b',');
            }
            body.extend_from_slice(attributes);
        }
    }
    let record = start..body.len();
    body.push(b'}');
    record
}

/// What DELETE and CLEAR mean at Algolia concerns the whole index, and ADD invents ids: none of them exists here.
fn action(action: Action) -> &'static str {
    match action {
        Action::Save => "updateObject",
        Action::PartialUpdate => "partialUpdateObject",
        Action::PartialUpdateNoCreate => "partialUpdateObjectNoCreate",
        Action::Delete => "deleteObject",
    }
}

fn push_string(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("a string is JSON, and writing to memory does not fail");
}
