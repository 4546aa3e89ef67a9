//! Records as lines of JSON, and what became of them in the same form, so that what one run prints the next one expects.

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::operation::Action;
use serde_json::{Map, Value, json};

use crate::{
    record::Record,
    transform::{CallError, Outcome},
};

/// What the commands' help says of input.
pub(super) const INPUT: &str = "\
Input, a record a line:
  {\"objectID\":\"42\",\"name\":\"Lamp\"}
      the action of --action, a save unless it says otherwise
  {\"action\":\"partial_update\",\"objectID\":\"42\",\"data\":{\"name\":\"Lamp\"}}
      this action: save, partial_update, partial_update_no_create or delete
  what `sync-agent log dump` or `sync-agent dead-letters export` printed
      the same records again, as the agent had them";

/// A record with its line's number, from 1.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) line: u64,
    pub(super) record: Record,
}

/// What a record becomes.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Becomes {
    /// These operations are delivered: none, one or several.
    Operations(Vec<Operation>),
    /// It is dead-lettered with these words.
    Fails(String),
}

/// One operation that is delivered.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Operation {
    pub(super) action: Action,
    pub(super) object_id: String,
    /// The attributes; null for a delete.
    pub(super) data: Value,
}

/// Fields beside action, id and data in what the agent prints of records.
const OF_THE_AGENT: [&str; 7] =
    ["position", "version", "request_id", "accepted_at", "index", "caller", "idempotency_key"];

/// Reads records; all that is wrong is told at once.
pub(super) fn cases(input: &[u8], action: Action, index: &str) -> Result<Vec<Case>, Vec<String>> {
    let index: Arc<str> = index.into();
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for (line, text) in lines(input) {
        match operation(text, Some(action)) {
            Ok(Some(Operation { action, object_id, data })) => {
                let body = match action {
                    Action::Delete => Bytes::new(),
                    _ => Bytes::from(data.to_string()),
                };
                let record = Record { action, index: index.clone(), object_id: object_id.into(), body };
                cases.push(Case { line, record });
            }
            Ok(None) => {}
            Err(problem) => problems.push(format!("line {line}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

/// Reads what records become, with the lines' numbers.
pub(super) fn expectations(input: &[u8]) -> Result<Vec<(u64, Becomes)>, Vec<String>> {
    let (mut expectations, mut problems) = (Vec::new(), Vec::new());
    for (line, text) in lines(input) {
        match expectation(text) {
            Ok(becomes) => expectations.push((line, becomes)),
            Err(problem) => problems.push(format!("line {line}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(expectations) } else { Err(problems) }
}

/// The lines that are not empty, with their numbers.
fn lines(input: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    (1..).zip(input.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty())
}

fn expectation(line: &[u8]) -> Result<Becomes, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    let single = |value: Value| match operation_of(value, Some(Action::Save))? {
        Some(operation) => Ok(operation),
        None => Err("is no operation".to_owned()),
    };
    match value {
        Value::Array(operations) => {
            operations.into_iter().map(single).collect::<Result<_, _>>().map(Becomes::Operations)
        }
        Value::Object(object) => match object.get("fail") {
            Some(Value::String(reason)) if object.len() == 1 => Ok(Becomes::Fails(reason.clone())),
            _ => single(Value::Object(object)).map(|operation| Becomes::Operations(vec![operation])),
        },
        _ => Err("is neither an object nor a list of operations".to_owned()),
    }
}

fn operation(line: &[u8], action: Option<Action>) -> Result<Option<Operation>, String> {
    operation_of(serde_json::from_slice(line).map_err(|error| not_json(&error))?, action)
}

/// `None` where an export tells of records that no letter keeps, or of a letter whose data is gone.
fn operation_of(value: Value, action: Option<Action>) -> Result<Option<Operation>, String> {
    let Value::Object(mut object) = value else { return Err("is not an object".to_owned()) };
    let name = if object.contains_key("objectID") { "objectID" } else { "object_id" };
    if !object.contains_key(name) && object.contains_key("destination") {
        let purged = object.get("purged") == Some(&Value::Bool(true));
        return match object.remove("record") {
            Some(_) if purged => Ok(None),
            Some(record) => operation_of(record, None),
            None if object.contains_key("range") => Ok(None),
            None => Err("has no objectID".to_owned()),
        };
    }
    let object_id = match object.remove(name) {
        Some(Value::String(object_id)) if !object_id.is_empty() => object_id,
        Some(_) => return Err(format!("{name} is not a string, or empty")),
        None => return Err("has no objectID".to_owned()),
    };
    let named = object.get("action").and_then(Value::as_str).and_then(action_named);
    let is_spelt_out = |key: &String| {
        key == "action" || key == "data" || (name == "object_id" && OF_THE_AGENT.contains(&key.as_str()))
    };
    let (action, data) = match named {
        Some(action) if object.keys().all(is_spelt_out) => {
            (action, object.remove("data").unwrap_or_default())
        }
        _ => match action {
            Some(action) => (action, Value::Object(object)),
            None => return Err("has no action".to_owned()),
        },
    };
    match (action, data) {
        (Action::Delete, _) => Ok(Some(Operation { action, object_id, data: Value::Null })),
        (_, data @ Value::Object(_)) => Ok(Some(Operation { action, object_id, data })),
        (_, _) => Err(format!("its data is not an object, as a {} needs it", action.as_str())),
    }
}

/// The action of this name, as logs and letters have it.
pub(super) fn action_named(name: &str) -> Option<Action> {
    Action::ALL.into_iter().find(|action| action.as_str() == name)
}

fn not_json(error: &serde_json::Error) -> String {
    format!("is not JSON: {error}")
}

impl Becomes {
    /// What an outcome means for its record.
    pub(super) fn new(record: &Record, outcome: Outcome) -> Self {
        let same = |body: &[u8]| vec![Operation::new(record.action, &record.object_id, body)];
        match outcome {
            Outcome::Unchanged => Self::Operations(same(&record.body)),
            Outcome::Replace(body) => Self::Operations(same(&body)),
            Outcome::Skip => Self::Operations(Vec::new()),
            Outcome::Failed(reason) => Self::Fails(reason.message),
            Outcome::Emit(products) => {
                let operation = |product: &crate::transform::Product| {
                    Operation::new(product.action, &product.object_id, &product.body)
                };
                Self::Operations(products.iter().map(operation).collect())
            }
        }
    }

    /// What a call that went wrong means for its only record.
    pub(super) fn crashed(error: &CallError) -> Self {
        Self::Fails(error.to_string())
    }

    /// As a line of a file of expectations.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Fails(reason) => json!({ "fail": reason }),
            Self::Operations(operations) => match operations.as_slice() {
                [operation] => operation.to_json(),
                operations => operations.iter().map(Operation::to_json).collect(),
            },
        }
    }

    /// Whether both mean the same at a destination.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fails(left), Self::Fails(right)) => left == right,
            (Self::Operations(left), Self::Operations(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.is_same(right))
            }
            _ => false,
        }
    }
}

impl Operation {
    /// With a body that was checked already.
    pub(in crate::cli) fn new(action: Action, object_id: &str, body: &[u8]) -> Self {
        let data = serde_json::from_slice(body).unwrap_or_default();
        Self { action, object_id: object_id.to_owned(), data }
    }

    /// Whether both are about the same, whatever the data.
    pub(super) fn has_same_key(&self, other: &Self) -> bool {
        self.action == other.action && self.object_id == other.object_id
    }

    fn is_same(&self, other: &Self) -> bool {
        self.has_same_key(other) && same(&self.data, &other.data)
    }

    fn to_json(&self) -> Value {
        let Self { action, object_id, data } = self;
        match (action, data) {
            (Action::Delete, _) => json!({ "action": "delete", "objectID": object_id }),
            // Attributes of these names would make it look like another line.
            (Action::Save, Value::Object(attributes))
                if !attributes.keys().any(|key| MEANT.contains(&key.as_str())) =>
            {
                let mut line = Map::from_iter([("objectID".to_owned(), Value::from(object_id.as_str()))]);
                line.extend(attributes.clone());
                Value::Object(line)
            }
            (action, data) => json!({ "action": action.as_str(), "objectID": object_id, "data": data }),
        }
    }
}

/// Attributes by which lines are told apart.
const MEANT: [&str; 2] = ["action", "objectID"];

/// Whether they are equal to a destination, to which 1 and 1.0 are the same number.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|right| same(value, right)))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        match cases(line.as_bytes(), Action::Save, "products") {
            Ok(cases) => {
                let shown = cases.iter().map(|Case { record, .. }| {
                    let body = String::from_utf8_lossy(&record.body);
                    format!("{} {} {body}", record.action.as_str(), record.object_id)
                });
                shown.collect::<Vec<_>>().join("; ")
            }
            Err(problems) => problems.join("; "),
        }
    }

    /// A file for `send`, the log's dump and the dead letters' export all serve as input.
    #[test]
    fn records_are_read_as_the_agent_writes_them() {
        assert_eq!(read(r#"{"objectID":"1","price":2}"#), r#"save 1 {"price":2}"#);
        assert_eq!(
            read(r#"{"objectID":"1","action":"dance","data":2}"#),
            r#"save 1 {"action":"dance","data":2}"#
        );
        let spelt_out = r#"{"action":"partial_update_no_create","objectID":"1","data":{"price":2}}"#;
        assert_eq!(read(spelt_out), r#"partial_update_no_create 1 {"price":2}"#);
        assert_eq!(read(r#"{"action":"delete","objectID":"1"}"#), "delete 1 ");
        let dumped = r#"{"position":{"partition":0,"offset":3},"version":9,"request_id":"r","accepted_at":"t","action":"partial_update","index":"products","object_id":"1","data":{"price":2}}"#;
        assert_eq!(read(dumped), r#"partial_update 1 {"price":2}"#);
        let letter = r#"{"destination":"search","id":1,"reason":{"code":"transform_failed"},"record":{"action":"save","index":"products","object_id":"1","data":{"price":2}}}"#;
        assert_eq!(read(letter), r#"save 1 {"price":2}"#);
        assert_eq!(read(r#"{"destination":"search","range":{"records":3}}"#), "");
        let purged = r#"{"destination":"search","id":1,"purged":true,"record":{"action":"save","index":"products","object_id":"1"}}"#;
        assert_eq!(read(purged), "");
    }

    #[test]
    fn every_bad_line_is_named() {
        let told =
            read("{}\n\n[1]\n{\"objectID\":7}\n{\"action\":\"save\",\"objectID\":\"1\"}\n{\"objectID\"");
        for problem in [
            "line 1: has no objectID",
            "line 3: is not an object",
            "line 4: objectID is not a string, or empty",
            "line 5: its data is not an object, as a save needs it",
            "line 6: is not JSON",
        ] {
            assert!(told.contains(problem), "{told}");
        }
    }

    /// What a run writes is what the next one expects, whatever the attributes are called.
    #[test]
    fn what_is_written_is_read_as_the_same() {
        for line in [
            r#"{"objectID":"1","price":2}"#,
            r#"{"action":"save","objectID":"1","data":{"action":"delete"}}"#,
            r#"{"action":"save","objectID":"1","data":{"objectID":"2"}}"#,
            r#"{"objectID":"1","destination":"x","record":{},"fail":"y"}"#,
            r#"{"action":"delete","objectID":"1"}"#,
            r#"[{"objectID":"1-0"},{"action":"delete","objectID":"1-1"}]"#,
            "[]",
            r#"{"fail":"because"}"#,
        ] {
            let becomes = expectation(line.as_bytes()).unwrap();
            assert_eq!(becomes.to_json(), serde_json::from_str::<Value>(line).unwrap());
        }
    }

    /// Guests in other languages write 1.0 as 1.
    #[test]
    fn numbers_are_compared_by_value() {
        assert!(same(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": "1"})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": null})));
    }
}
