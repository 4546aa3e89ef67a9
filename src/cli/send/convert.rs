//! A line of JSON as the contract's types.
//!
//! The contract's numbers are doubles. An integer that would lose digits is refused rather than changed.

use prost_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Value};

use crate::contract::client::ActionType;

/// The first integer that a double may confuse with another.
const INTEGER_LIMIT: u64 = 1 << 53;

/// The object id and the data of a line; no data for a delete. The error is a reason for people.
pub(super) fn record(line: &[u8], action: ActionType) -> Result<(String, Option<Struct>), String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    let Value::Object(mut object) = value else {
        return Err(format!("is {}, not an object", noun(&value)));
    };
    if let Some(letter) = letter(&mut object) {
        object = letter?.of(action)?;
    }
    let name = if object.contains_key("objectID") { "objectID" } else { "object_id" };
    let object_id = match object.remove(name) {
        Some(Value::String(object_id)) if !object_id.is_empty() => object_id,
        Some(Value::String(_)) => return Err(format!("{name} is empty")),
        Some(other) => return Err(format!("{name} is {}, not a string", noun(&other))),
        None => return Err("has no objectID".to_owned()),
    };
    if action == ActionType::DeleteObject {
        return Ok((object_id, None));
    }
    let mut path = String::new();
    let mut fields = std::collections::BTreeMap::new();
    for (key, value) in object {
        fields.insert(key.clone(), within(&mut path, &key, |path| wire(value, path, line))?);
    }
    Ok((object_id, Some(Struct { fields })))
}

/// The record of a dead letter, as `dead-letters export` writes it.
#[derive(serde::Deserialize)]
struct Letter {
    action: String,
    object_id: String,
    data: Option<Map<String, Value>>,
}

/// The letter that a line holds; `None` if it is none.
fn letter(line: &mut Map<String, Value>) -> Option<Result<Letter, String>> {
    let is_letter =
        line.contains_key("destination") && !line.contains_key("objectID") && !line.contains_key("object_id");
    if !is_letter {
        return None;
    }
    if line.contains_key("range") {
        return Some(Err("is a range of records that no letter keeps".to_owned()));
    }
    let letter = serde_json::from_value(line.remove("record")?);
    Some(letter.map_err(|error| format!("is not a dead letter: {error}")))
}

/// Each action as letters name it and as the command line does.
const ACTIONS: [(&str, &str, ActionType); 4] = [
    ("save", "save", ActionType::SaveObject),
    ("partial_update", "partial", ActionType::PartialUpdateObject),
    ("partial_update_no_create", "partial-no-create", ActionType::PartialUpdateObjectNoCreate),
    ("delete", "delete", ActionType::DeleteObject),
];

impl Letter {
    /// A line with the same record; one command has one action.
    fn of(self, action: ActionType) -> Result<Map<String, Value>, String> {
        let Self { action: named, object_id, data } = self;
        let known = ACTIONS.into_iter().find(|(name, ..)| *name == named);
        let (_, option, of_letter) =
            known.ok_or_else(|| format!("is a dead letter of {named:?}, no action"))?;
        if of_letter != action {
            return Err(format!("is the dead letter of a {named}: send it with --action {option}"));
        }
        let mut object = match (data, action) {
            (Some(data), _) => data,
            (None, ActionType::DeleteObject) => Map::new(),
            (None, _) => return Err("is a dead letter whose data is gone".to_owned()),
        };
        object.insert("objectID".to_owned(), object_id.into());
        Ok(object)
    }
}

fn wire(value: Value, path: &mut String, line: &[u8]) -> Result<Wire, String> {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(boolean) => Kind::BoolValue(boolean),
        Value::String(text) => Kind::StringValue(text),
        Value::Number(number) => Kind::NumberValue(double(&number, path, line)?),
        Value::Array(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                values.push(within(path, &format!("[{at}]"), |path| wire(item, path, line))?);
            }
            Kind::ListValue(ListValue { values })
        }
        Value::Object(object) => {
            let mut fields = std::collections::BTreeMap::new();
            for (key, value) in object {
                fields.insert(key.clone(), within(path, &key, |path| wire(value, path, line))?);
            }
            Kind::StructValue(Struct { fields })
        }
    };
    Ok(Wire { kind: Some(kind) })
}

fn double(number: &serde_json::Number, path: &str, line: &[u8]) -> Result<f64, String> {
    let too_large = match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => integer.unsigned_abs() >= INTEGER_LIMIT,
        (None, Some(_)) => true,
        // Beyond 64 bits the parser hands integers over as doubles, so only the line can tell.
        (None, None) => {
            number.as_f64().is_some_and(|double| double.abs() >= INTEGER_LIMIT as f64)
                && has_long_integer(line)
        }
    };
    match number.as_f64() {
        Some(double) if !too_large => Ok(double),
        _ => Err(format!(
            "{path}: {number} is an integer from 2^53 on and would lose digits: send it as a string"
        )),
    }
}

/// Whether the line has an integer of more than 18 digits outside its strings, without a fraction or an exponent.
fn has_long_integer(line: &[u8]) -> bool {
    let (mut in_string, mut at) = (false, 0);
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'0'..=b'9' if !in_string => {
                let rest = &line[at..];
                let in_number = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
                let end = rest.iter().position(|byte| !in_number(byte)).unwrap_or(rest.len());
                if end > 18 && rest[..end].iter().all(u8::is_ascii_digit) {
                    return true;
                }
                at += end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Runs a function with the path one step further.
fn within<T>(path: &mut String, step: &str, run: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    if !path.is_empty() && !step.starts_with('[') {
        path.push('.');
    }
    path.push_str(step);
    let result = run(path);
    path.truncate(length);
    result
}

/// The parser counts lines within what it is given, which is always the first.
fn not_json(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match told.strip_suffix(&place) {
        Some(told) => format!("is not JSON: {told} at column {}", error.column()),
        None => format!("is not JSON: {told}"),
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(line: &str) -> Result<(String, Option<Struct>), String> {
        record(line.as_bytes(), ActionType::SaveObject)
    }

    #[test]
    fn every_kind_of_value_is_carried() {
        let (id, data) =
            save(r#"{"a":null,"b":true,"c":"x","d":-1.5,"e":[1,{"f":2}],"objectID":"7","object_id":"kept"}"#)
                .unwrap();
        assert_eq!(id, "7");
        let fields = data.unwrap().fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(fields.len(), 6, "without objectID");
        assert_eq!(kind("a"), Kind::NullValue(0));
        assert_eq!(kind("b"), Kind::BoolValue(true));
        assert_eq!(kind("c"), Kind::StringValue("x".to_owned()));
        assert_eq!(kind("d"), Kind::NumberValue(-1.5));
        assert_eq!(kind("object_id"), Kind::StringValue("kept".to_owned()));
        let Kind::ListValue(list) = kind("e") else { panic!("a list") };
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
        assert!(
            matches!(&list.values[1].kind, Some(Kind::StructValue(inner)) if inner.fields.contains_key("f"))
        );
    }

    #[test]
    fn the_id_is_a_string_under_either_name() {
        assert_eq!(save(r#"{"object_id":"7"}"#), Ok(("7".to_owned(), Some(Struct::default()))));
        assert_eq!(save(r#"{"objectID":7}"#), Err("objectID is a number, not a string".to_owned()));
        assert_eq!(save(r#"{"objectID":""}"#), Err("objectID is empty".to_owned()));
        assert_eq!(save(r#"{"id":"7"}"#), Err("has no objectID".to_owned()));
        assert_eq!(save("{\"objectID\":\"\u{fffd}\"}").map(|(id, _)| id), Ok("\u{fffd}".to_owned()));
        assert!(record(b"{\"objectID\":\"\xff\"}", ActionType::SaveObject).is_err(), "not UTF-8");
        let delete = record(br#"{"objectID":"7","big":9007199254740993}"#, ActionType::DeleteObject);
        assert_eq!(delete, Ok(("7".to_owned(), None)), "a delete has no data");
    }

    /// What `dead-letters export` wrote can be sent as it is, with the action that each letter names.
    #[test]
    fn dead_letters_are_records_again() {
        let letter = |record: &str| format!(r#"{{"destination":"search","id":1,"record":{record}}}"#);
        let saved = letter(r#"{"action":"save","index":"a","object_id":"7","data":{"price":2}}"#);
        assert_eq!(save(&saved), save(r#"{"objectID":"7","price":2}"#));
        let deleted = letter(r#"{"action":"delete","index":"a","object_id":"7"}"#);
        assert_eq!(record(deleted.as_bytes(), ActionType::DeleteObject), Ok(("7".to_owned(), None)));
        let told = |line: &str| save(line).unwrap_err();
        assert_eq!(told(&deleted), "is the dead letter of a delete: send it with --action delete");
        let purged = letter(r#"{"action":"save","index":"a","object_id":"7"}"#);
        assert_eq!(told(&purged), "is a dead letter whose data is gone");
        let range = r#"{"destination":"search","range":{"records":3}}"#;
        assert_eq!(told(range), "is a range of records that no letter keeps");
        assert!(told(&letter("7")).starts_with("is not a dead letter: "), "{}", told(&letter("7")));
        assert_eq!(told(r#"{"destination":"search"}"#), "has no objectID");
    }

    /// The contract's promise: no digit is lost silently.
    #[test]
    fn integers_that_would_lose_digits_are_refused_with_their_path() {
        let with =
            |number: &str| save(&format!(r#"{{"objectID":"9007199254740993","a":[{{"b":{number}}}]}}"#));
        for fine in
            ["9007199254740991", "-9007199254740991", "1e300", "123456789012345678901234.5", "1.0E+25"]
        {
            assert!(with(fine).is_ok(), "{fine}");
        }
        for lossy in
            ["9007199254740992", "-9007199254740993", "18446744073709551615", "100000000000000000000001"]
        {
            let reason = with(lossy).unwrap_err();
            assert!(reason.starts_with("a[0].b: ") && reason.contains("send it as a string"), "{reason}");
        }
        assert!(with("9007199254740993").unwrap_err().contains("9007199254740993"));
        let in_string = r#"{"objectID":"1","a":"\"123456789012345678901234","b":1e300}"#;
        assert!(save(in_string).is_ok(), "digits within a string are text");
    }
}
