//! Dead letters as `sync-agent dead-letters export` prints them: one JSON object a line.

use serde::{Deserialize, de::IgnoredAny};

use crate::history::{Applied, Identity};

/// A dead-lettered operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Whose it is.
    pub destination: String,
    /// The reason's code, such as `rejected`.
    pub reason: String,
    /// Which operation it is.
    pub operation: Applied,
}

/// What tells a range from a letter.
#[derive(Deserialize)]
struct Kind {
    range: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Line {
    destination: String,
    reason: Reason,
    request_id: String,
    log_id: String,
    position: Position,
    number: u64,
    record: Change,
    operation: Option<Change>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
}

#[derive(Deserialize)]
struct Position {
    partition: u64,
    offset: u64,
}

#[derive(Deserialize)]
struct Change {
    index: String,
    object_id: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    seq: Option<u64>,
}

/// Reads an export; its ranges, of records that no letter keeps, are passed over.
///
/// # Errors
/// If a line is not as the command documents it.
pub fn parse(export: &str) -> serde_json::Result<Vec<Letter>> {
    let read = |line| match serde_json::from_str::<Kind>(line)?.range {
        Some(_) => Ok(None),
        None => serde_json::from_str(line).map(|line| Some(letter(line))),
    };
    export.lines().filter_map(|line| read(line).transpose()).collect()
}

fn letter(line: Line) -> Letter {
    let Line { destination, reason, request_id, log_id, position, number, record, operation } = line;
    let Change { index, object_id, data } = operation.unwrap_or(record);
    let Position { partition, offset } = position;
    let operation = Applied {
        index: index.into(),
        object_id,
        sequence: data.and_then(|data| data.seq),
        request_id: Some(request_id),
        identity: Some(Identity { log_id, partition, position: offset, number }),
        version: None,
    };
    Letter { destination, reason: reason.code, operation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_as_documented() {
        let line = concat!(
            r#"{"destination":"search","id":1,"stale":false,"stage":"delivery","reason":{"code":"rejected","#,
            r#""status":400,"message":"too big"},"attempts":1,"accepted_at":"2026-11-23T15:00:00Z","#,
            r#""dead_lettered_at":"2026-11-23T15:00:01Z","request_id":"r","log_id":"l","#,
            r#""position":{"partition":0,"offset":7},"number":0,"version":9,"#,
            r#""record":{"action":"save","index":"i","object_id":"k","data":{"seq":3}}}"#,
        );
        let range = r#"{"destination":"search","range":{"cause":"rotten","records":7}}"#;
        let letters = parse(&format!("{line}\n{range}")).unwrap();
        assert_eq!(letters.len(), 1);
        let Letter { destination, reason, operation } = &letters[0];
        assert_eq!((destination.as_str(), reason.as_str()), ("search", "rejected"));
        assert_eq!(
            (&*operation.index, operation.object_id.as_str(), operation.sequence),
            ("i", "k", Some(3))
        );
        assert!(parse("{}").is_err());
    }
}
