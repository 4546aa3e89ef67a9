//! The objects of every index, and what each action does to them.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::batch::Action;

type Object = Map<String, Value>;

#[derive(Default)]
pub(super) struct Store {
    indexes: BTreeMap<String, BTreeMap<String, Object>>,
}

impl Store {
    /// Applies one action; `body` is the record as sent, with its `objectID`.
    pub(super) fn apply(&mut self, index: &str, object_id: &str, action: Action, body: Object) {
        let objects = self.indexes.entry(index.to_owned()).or_default();
        match action {
            Action::UpdateObject => {
                objects.insert(object_id.to_owned(), body);
            }
            Action::PartialUpdateObject => {
                let stored = objects.get(object_id).cloned();
                if let Some(updated) = updated(stored, body) {
                    objects.insert(object_id.to_owned(), updated);
                }
            }
            Action::PartialUpdateObjectNoCreate => {
                let Some(stored) = objects.get(object_id).cloned() else { return };
                if let Some(updated) = updated(Some(stored), body) {
                    objects.insert(object_id.to_owned(), updated);
                }
            }
            Action::DeleteObject => {
                objects.remove(object_id);
            }
            // Refused before anything is applied.
            Action::AddObject | Action::Delete | Action::Clear => {}
        }
    }

    pub(super) fn objects(&self, index: &str) -> BTreeMap<String, Value> {
        let objects = self.indexes.get(index).into_iter().flatten();
        objects.map(|(object_id, object)| (object_id.clone(), Value::Object(object.clone()))).collect()
    }

    pub(super) fn indexes(&self) -> Vec<String> {
        self.indexes.keys().cloned().collect()
    }
}

/// The object after a partial update, or `None` if the update is ignored as a whole.
///
/// Each given first-level attribute replaces the stored one; a built-in operation computes it.
fn updated(stored: Option<Object>, changes: Object) -> Option<Object> {
    let missing = stored.is_none();
    let mut object = stored.unwrap_or_default();
    for (name, change) in changes {
        let Some((operation, argument)) = built_in(&change) else {
            object.insert(name, change);
            continue;
        };
        let current = object.remove(&name);
        let number = current.as_ref().and_then(Value::as_i64);
        let given = argument.as_i64();
        let next = match operation {
            "Increment" => Some(sum(current, argument, 1.0)),
            "Decrement" => Some(sum(current, argument, -1.0)),
            "Add" => Some(pushed(current, argument)),
            "AddUnique" if listed(current.as_ref(), argument) => current,
            "AddUnique" => Some(pushed(current, argument)),
            "Remove" => current.map(|list| without(list, argument)),
            "IncrementFrom" if missing && given != Some(0) => return None,
            "IncrementFrom" if number.unwrap_or(0) == given.unwrap_or(0) => {
                Some(Value::from(number.unwrap_or(0) + 1))
            }
            "IncrementFrom" => current,
            "IncrementSet" if given.unwrap_or(0) <= number.unwrap_or(0) => return None,
            "IncrementSet" => Some(argument.clone()),
            _ => Some(change.clone()),
        };
        if let Some(next) = next {
            object.insert(name, next);
        }
    }
    Some(object)
}

/// `{"_operation": ..., "value": ...}` as its two parts.
fn built_in(change: &Value) -> Option<(&str, &Value)> {
    let object = change.as_object()?;
    Some((object.get("_operation")?.as_str()?, object.get("value")?))
}

fn sum(current: Option<Value>, argument: &Value, sign: f64) -> Value {
    let stored = current.as_ref().and_then(Value::as_f64).unwrap_or(0.0);
    let total = stored + sign * argument.as_f64().unwrap_or(0.0);
    if total.fract() == 0.0 && total.abs() < 9e15 {
        return Value::from(total as i64);
    }
    Number::from_f64(total).map_or(Value::Null, Value::Number)
}

fn pushed(current: Option<Value>, argument: &Value) -> Value {
    let mut list = match current {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    list.push(argument.clone());
    Value::Array(list)
}

fn listed(current: Option<&Value>, argument: &Value) -> bool {
    current.and_then(Value::as_array).is_some_and(|list| list.contains(argument))
}

fn without(list: Value, argument: &Value) -> Value {
    match list {
        Value::Array(list) => Value::Array(list.into_iter().filter(|element| element != argument).collect()),
        other => other,
    }
}
