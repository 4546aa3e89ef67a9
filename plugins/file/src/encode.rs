//! Operation -> one line of NDJSON, by splicing: the body is copied as it is, no tree is built.

use std::io::Write as _;

use plugin_api::{
    identity::{LogId, RequestId, Timestamp},
    operation::Operation,
};

/// Encodes lines one after the other and keeps what consecutive ones share: the words about their request.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    request: Option<(LogId, RequestId, Timestamp)>,
    request_fields: Vec<u8>,
}

impl Encoder {
    /// Appends the operation's line, newline included. The layout is the crate's documentation's.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, operation: &Operation) {
        let source = &operation.source;
        line.extend_from_slice(b"{\"action\":\"");
        line.extend_from_slice(operation.action.as_str().as_bytes());
        line.extend_from_slice(b"\",\"index\":");
        string(line, &operation.key.index);
        line.extend_from_slice(b",\"object_id\":");
        string(line, &operation.key.object_id);
        line.extend_from_slice(self.request_fields(source.log_id, source.request_id, source.accepted_at));
        line.extend_from_slice(b",\"position\":{\"partition\":");
        number(line, source.position.partition.into());
        line.extend_from_slice(b",\"offset\":");
        number(line, source.position.offset);
        line.extend_from_slice(b"},\"number\":");
        number(line, source.number.into());
        line.extend_from_slice(b",\"version\":");
        number(line, operation.version.0);
        if !operation.body.is_empty() {
            line.extend_from_slice(b",\"data\":");
            splice(line, &operation.body);
        }
        line.extend_from_slice(b"}\n");
    }

    fn request_fields(&mut self, log_id: LogId, request_id: RequestId, accepted_at: Timestamp) -> &[u8] {
        let request = Some((log_id, request_id, accepted_at));
        if self.request != request {
            self.request = request;
            self.request_fields.clear();
            let time = time(accepted_at);
            write!(
                self.request_fields,
                ",\"log_id\":\"{log_id}\",\"request_id\":\"{request_id}\",\"time\":\"{time:.6}\""
            )
            .expect("writing to memory cannot fail");
        }
        &self.request_fields
    }
}

/// RFC 3339 ends with the year 9999; a clock beyond it is written as its last moment.
fn time(at: Timestamp) -> jiff::Timestamp {
    i64::try_from(at.0)
        .ok()
        .and_then(|microseconds| jiff::Timestamp::from_microsecond(microseconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

fn string(line: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(line, text).expect("writing a string to memory cannot fail");
}

fn number(line: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(line, &number).expect("writing a number to memory cannot fail");
}

/// Copies a JSON text into a line. A line feed in it can only stand between tokens, where a space says the same.
fn splice(line: &mut Vec<u8>, json: &[u8]) {
    let start = line.len();
    line.extend_from_slice(json);
    let mut searched = start;
    while let Some(found) = memchr::memchr(b'\n', &line[searched..]) {
        line[searched + found] = b' ';
        searched += found + 1;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plugin_api::{
        identity::{Position, Version},
        operation::{Action, Key, Source},
    };
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn operation(action: Action, object_id: &str, body: &'static str) -> Operation {
        Operation {
            action,
            key: Key { index: "products".into(), object_id: object_id.into() },
            body: Bytes::from_static(body.as_bytes()),
            version: Version(1_795_446_000_000_002),
            record_index: "products".into(),
            origin: None,
            source: Source {
                log_id: LogId(Uuid::from_u128(1)),
                position: Position { partition: 3, offset: 123 },
                number: 1,
                request_id: RequestId(Uuid::from_u128(2)),
                accepted_at: Timestamp(1_795_446_000_000_000),
                caller: None,
            },
        }
    }

    fn encode(operation: &Operation) -> String {
        let mut line = Vec::new();
        Encoder::default().line(&mut line, operation);
        String::from_utf8(line).unwrap()
    }

    /// The line as the documentation shows it, byte by byte: readers may rely on it.
    #[test]
    fn a_line_is_as_documented() {
        assert_eq!(
            encode(&operation(Action::Save, "4711", r#"{"n":1.0}"#)),
            concat!(
                r#"{"action":"save","index":"products","object_id":"4711","#,
                r#""log_id":"00000000-0000-0000-0000-000000000001","#,
                r#""request_id":"00000000-0000-0000-0000-000000000002","#,
                r#""time":"2026-11-23T15:00:00.000000Z","position":{"partition":3,"offset":123},"number":1,"#,
                r#""version":1795446000000002,"data":{"n":1.0}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_delete_has_no_data() {
        let line: Value = serde_json::from_str(&encode(&operation(Action::Delete, "1", ""))).unwrap();
        assert_eq!(line["action"], "delete");
        assert_eq!(line.get("data"), None);
    }

    /// One operation is one line whatever its id and body hold (G6: a record never spoils its neighbours).
    #[test]
    fn nothing_breaks_a_line() {
        let id = "a\"b\\c\n\r\u{0}\u{1b}[31m\u{2028}日本😀";
        let text =
            encode(&operation(Action::PartialUpdate, id, "{\n  \"a\": [1,\r\n2],\n \"b\": \"\\n\"\n}"));
        assert_eq!(text.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["object_id"], id);
        assert_eq!(line["data"], json!({"a": [1, 2], "b": "\n"}));
    }

    /// What consecutive lines share is written anew as soon as it differs.
    #[test]
    fn each_line_names_its_own_request() {
        let mut encoder = Encoder::default();
        let (first, mut second) = (operation(Action::Save, "1", "{}"), operation(Action::Save, "1", "{}"));
        second.source.request_id = RequestId(Uuid::from_u128(9));
        let mut last = second.clone();
        last.source.accepted_at = Timestamp(u64::MAX);
        let mut lines = Vec::new();
        [&first, &first, &second, &last]
            .into_iter()
            .for_each(|operation| encoder.line(&mut lines, operation));
        let lines: Vec<Value> = lines
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0], lines[1]);
        assert_eq!(lines[2]["request_id"], Uuid::from_u128(9).to_string());
        assert!(lines[3]["time"].as_str().unwrap().starts_with("9999-12-30T"));
    }
}
