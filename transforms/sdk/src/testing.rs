//! Runs a transform natively on JSON lines, in `cargo test`. `sync-agent transform test` does the same with the module.
//!
//! A line of input is one record:
//!
//! | line | means |
//! |---|---|
//! | `{"objectID":"42","name":"Lamp"}` | save |
//! | `{"action":"partial_update","objectID":"42","data":{"name":"Lamp"}}` | the action, of `save`, `partial_update`, `partial_update_no_create`, `delete` |
//!
//! and the line with the same number says what it becomes:
//!
//! | line | means |
//! |---|---|
//! | either of the above | this operation |
//! | `[{"objectID":"42-0"},{"action":"delete","objectID":"42-1"}]` | these operations, in this order; `[]` for none |
//! | `{"fail":"price: missing"}` | it fails with these words |

use serde_json::{Value, json};

use crate::{
    Object, Transform,
    outcome::{Change, Kind},
    run::{self, Action},
};

/// Checks that each line of `input` becomes what the same line of `expect` says; empty lines do not count.
///
/// # Panics
/// If they do not, with every difference; or if a line cannot be read, or `init` returns an error.
#[track_caller]
pub fn check<T: Transform>(index: &str, config: Value, input: &str, expect: &str) {
    let (input, expect) = (lines(input), lines(expect));
    let mut told = String::new();
    for (at, (number, line)) in input.iter().enumerate() {
        let actual = becomes::<T>(index, &config, line);
        let expected = expect.get(at).map(|(number, line)| read(*number, line));
        if !expected.as_ref().is_some_and(|expected| same(expected, &actual)) {
            let expected = expected.map_or_else(|| "no line".to_owned(), |expected| expected.to_string());
            told += &format!("\nline {number} becomes {actual}\n      expected {expected}\n");
        }
    }
    if expect.len() > input.len() {
        told += &format!("\n{} lines are expected of {} lines of input\n", expect.len(), input.len());
    }
    assert!(told.is_empty(), "{told}");
}

/// What a line of input becomes, as a line would say it. A transform is made for it alone, since none may remember.
///
/// # Panics
/// If the line cannot be read, or `init` returns an error.
#[track_caller]
pub fn becomes<T: Transform>(index: &str, config: &Value, line: &str) -> Value {
    let transform: T = match run::start(index, &config.to_string()) {
        Ok(transform) => transform,
        Err(problem) => panic!("init refused: {problem}"),
    };
    let (action, id, data) = match record(line) {
        Ok(record) => record,
        Err(problem) => panic!("{line}: {problem}"),
    };
    crate::log::set_object_id(&id);
    let outcome = run::run(&transform, action, &id, &data);
    crate::log::set_object_id("");
    match outcome.0 {
        Kind::Unchanged => operation(action, &id, &data),
        Kind::Replace(data) => operation(action, &id, &data),
        Kind::Skip => json!([]),
        Kind::Fail(reason) => json!({ "fail": reason }),
        Kind::Emit(changes) => {
            let mut operations: Vec<_> = changes.iter().map(change).collect();
            if operations.len() == 1 { operations.remove(0) } else { Value::Array(operations) }
        }
    }
}

/// The lines that are not empty, with their numbers from 1.
fn lines(text: &str) -> Vec<(usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect()
}

#[track_caller]
fn read(number: usize, line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(Value::Array(mut operations)) if operations.len() == 1 => spelt_out(operations.remove(0)),
        Ok(Value::Array(operations)) => operations.into_iter().map(spelt_out).collect(),
        Ok(value) => spelt_out(value),
        Err(error) => panic!("line {number} of what is expected is not JSON: {error}"),
    }
}

/// A save in whichever way it is written, as [`operation`] writes it.
fn spelt_out(value: Value) -> Value {
    match record(&value.to_string()) {
        Ok((action, id, data)) => operation(action, &id, &data),
        Err(_) => value,
    }
}

fn record(line: &str) -> Result<(Action, String, String), String> {
    let mut object: Object =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let Some(Value::String(id)) = object.remove("objectID") else {
        return Err("without an objectID that is a string".to_owned());
    };
    let known = object.get("action").and_then(Value::as_str).and_then(action);
    match known {
        Some(action) if object.keys().all(|key| key == "action" || key == "data") => {
            let data = object.remove("data").map_or_else(String::new, |data| data.to_string());
            Ok((action, id, data))
        }
        _ => Ok((Action::Save, id, Value::Object(object).to_string())),
    }
}

fn action(name: &str) -> Option<Action> {
    match name {
        "save" => Some(Action::Save),
        "partial_update" => Some(Action::PartialUpdate),
        "partial_update_no_create" => Some(Action::PartialUpdateNoCreate),
        "delete" => Some(Action::Delete),
        _ => None,
    }
}

fn change(change: &Change) -> Value {
    match change {
        Change::Save { id, data } => operation(Action::Save, id, data),
        Change::PartialUpdate { id, data } => operation(Action::PartialUpdate, id, data),
        Change::PartialUpdateNoCreate { id, data } => operation(Action::PartialUpdateNoCreate, id, data),
        Change::Delete { id } => operation(Action::Delete, id, ""),
    }
}

fn operation(action: Action, id: &str, data: &str) -> Value {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    match (action, data) {
        // Attributes that would make it look like the longer form are left where they cannot.
        (Action::Save, Value::Object(mut object)) if !object.contains_key("action") => {
            object.insert("objectID".to_owned(), id.into());
            Value::Object(object)
        }
        (Action::Save, data) => json!({ "action": "save", "objectID": id, "data": data }),
        (Action::PartialUpdate, data) => json!({ "action": "partial_update", "objectID": id, "data": data }),
        (Action::PartialUpdateNoCreate, data) => {
            json!({ "action": "partial_update_no_create", "objectID": id, "data": data })
        }
        (Action::Delete, _) => json!({ "action": "delete", "objectID": id }),
    }
}

/// Whether they are equal to a destination, to which 1 and 1.0 are the same number.
fn same(left: &Value, right: &Value) -> bool {
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
    use crate::{NoConfig, Operation, Outcome};

    /// Does what the record says.
    struct Obedient;

    impl Transform for Obedient {
        type Config = NoConfig;
        type Record = Object;

        fn init(_: &str, _: NoConfig) -> Result<Self, String> {
            Ok(Self)
        }

        fn save(&self, id: &str, record: Object) -> Outcome {
            match record.get("do").and_then(Value::as_str) {
                Some("skip") => Outcome::skip(),
                Some("fail") => Outcome::fail("as told"),
                Some("move") => Outcome::emit([Operation::delete(id), Operation::save("new", &record)]),
                _ => Outcome::unchanged(),
            }
        }

        fn partial_update(&self, _: &str, attributes: Object) -> Outcome {
            Outcome::replace(&attributes)
        }
    }

    const INPUT: &str = r#"
        {"objectID":"1","price":1.0}
        {"objectID":"2","do":"skip"}
        {"objectID":"3","do":"fail"}

        {"objectID":"4","do":"move"}
        {"action":"partial_update","objectID":"5","data":{"a":1}}
        {"action":"delete","objectID":"6"}
        {"objectID":"7","action":"run","data":1}"#;

    const EXPECT: &str = r#"
        {"action":"save","objectID":"1","data":{"price":1}}
        []
        {"fail":"as told"}
        [{"action":"delete","objectID":"4"},{"objectID":"new","do":"move"}]
        {"action":"partial_update","objectID":"5","data":{"a":1}}
        [{"action":"delete","objectID":"6"}]
        {"objectID":"7","action":"run","data":1}"#;

    #[test]
    fn every_kind_of_line_is_understood() {
        check::<Obedient>("products", json!({}), INPUT, EXPECT);
    }

    /// A check that passes whatever comes would be none.
    #[test]
    fn differences_are_told() {
        let told = |expect: &str| {
            let input = "{\"objectID\":\"1\",\"price\":2}";
            let check = || check::<Obedient>("products", json!({}), input, expect);
            let panic = std::panic::catch_unwind(check).expect_err("a difference");
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        let other = told(r#"{"objectID":"1","price":3}"#);
        assert!(other.contains(r#"line 1 becomes {"objectID":"1","price":2}"#), "{other}");
        assert!(told("").contains("expected no line"));
        assert!(told("{\"objectID\":\"1\",\"price\":2}\n[]").contains("2 lines are expected of 1 lines"));
    }
}
