//! What becomes of a record. Records are serialised here, and what cannot be fails instead.

use serde::Serialize;

/// What becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unchanged,
    Replace(String),
    Emit(Vec<Change>),
    Skip,
    Fail(String),
}

/// One change of one object, for [`Outcome::emit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation(Result<Change, String>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Save { id: String, data: String },
    PartialUpdate { id: String, data: String },
    PartialUpdateNoCreate { id: String, data: String },
    Delete { id: String },
}

impl Outcome {
    /// It is delivered as it came.
    #[must_use]
    pub fn unchanged() -> Self {
        Self(Kind::Unchanged)
    }

    /// The same action and object id, with these attributes. What is no JSON object fails.
    #[must_use]
    pub fn replace(record: &impl Serialize) -> Self {
        text(record).map_or_else(Self::fail, |data| Self(Kind::Replace(data)))
    }

    /// These operations instead, in this order; they may be for other objects of the index.
    #[must_use]
    pub fn emit(operations: impl IntoIterator<Item = Operation>) -> Self {
        let changes: Result<Vec<_>, _> = operations.into_iter().map(|operation| operation.0).collect();
        changes.map_or_else(Self::fail, |changes| Self(Kind::Emit(changes)))
    }

    /// The destinations are left as they are. To take an object out that may be there, emit a delete.
    #[must_use]
    pub fn skip() -> Self {
        Self(Kind::Skip)
    }

    /// It cannot be processed: it becomes a dead letter with these words.
    #[must_use]
    pub fn fail(reason: impl Into<String>) -> Self {
        Self(Kind::Fail(reason.into()))
    }
}

/// Lets a function that uses `?` end as an outcome: `inner().into()`.
impl<E: std::fmt::Display> From<Result<Self, E>> for Outcome {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(|error| Self::fail(error.to_string()))
    }
}

impl Operation {
    /// Replaces the whole object, creates it if it is missing.
    #[must_use]
    pub fn save(id: impl Into<String>, record: &impl Serialize) -> Self {
        Self(text(record).map(|data| Change::Save { id: id.into(), data }))
    }

    /// Replaces these first-level attributes, creates the object if it is missing.
    #[must_use]
    pub fn partial_update(id: impl Into<String>, attributes: &impl Serialize) -> Self {
        Self(text(attributes).map(|data| Change::PartialUpdate { id: id.into(), data }))
    }

    /// Replaces these first-level attributes, does nothing if the object is missing.
    #[must_use]
    pub fn partial_update_no_create(id: impl Into<String>, attributes: &impl Serialize) -> Self {
        Self(text(attributes).map(|data| Change::PartialUpdateNoCreate { id: id.into(), data }))
    }

    /// Removes the object.
    #[must_use]
    pub fn delete(id: impl Into<String>) -> Self {
        Self(Ok(Change::Delete { id: id.into() }))
    }
}

/// JSON text of an object.
fn text(record: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string(record)
        .map_err(|error| format!("the transform's result cannot be written as JSON: {error}"))?;
    if text.starts_with('{') {
        return Ok(text);
    }
    let shown: String = text.chars().take(40).collect();
    Err(format!("the transform's result is no JSON object: {shown}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// What would not be an object at the destination never leaves the transform.
    #[test]
    fn only_objects_are_delivered() {
        assert_eq!(Outcome::replace(&json!({"a": 1})).0, Kind::Replace(r#"{"a":1}"#.to_owned()));
        let failed = |outcome: Outcome| match outcome.0 {
            Kind::Fail(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed(Outcome::replace(&[1, 2])), "the transform's result is no JSON object: [1,2]");
        let unwritable = BTreeMap::from([((1, 2), 3)]);
        assert!(failed(Outcome::replace(&unwritable)).contains("key must be a string"));
        let operations = [Operation::delete("1"), Operation::save("2", &"text")];
        assert_eq!(failed(Outcome::emit(operations)), r#"the transform's result is no JSON object: "text""#);
    }

    #[test]
    fn an_error_is_a_failure_with_its_words() {
        let inner = |price: &str| -> Result<Outcome, std::num::ParseIntError> {
            let price: u32 = price.parse()?;
            Ok(Outcome::replace(&json!({ "price": price })))
        };
        assert_eq!(Outcome::from(inner("3")), Outcome::replace(&json!({"price": 3})));
        assert_eq!(Outcome::from(inner("3x")), Outcome::fail("invalid digit found in string"));
    }
}
