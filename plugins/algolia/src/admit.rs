//! The rules by which an operation is refused before it is sent: it could take its batch with it, count twice, or
//! reach another object than its own.
//!
//! Sizes are left to the service: a record's limit depends on the plan.

use std::{borrow::Cow, fmt, sync::LazyLock};

use memchr::memmem::Finder;
use plugin_api::{
    operation::{Action, Operation},
    verdict::{Reason, ReasonCode},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Bytes of an object's id, inclusive.
const OBJECT_ID_BYTES_MAX: usize = 512;

/// Bytes of an index's name, inclusive.
const INDEX_BYTES_MAX: usize = 256;

/// Operations that count twice when they are sent twice.
const NON_IDEMPOTENT: [&str; 3] = ["Increment", "Decrement", "Add"];

static OPERATION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_operation"));
static OBJECT_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("objectID"));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u"));

/// Checks one operation.
pub(crate) fn admit(operation: &Operation, non_idempotent_operations: bool) -> Result<(), Reason> {
    index(&operation.key.index)?;
    let bytes = operation.key.object_id.len();
    if !(1..=OBJECT_ID_BYTES_MAX).contains(&bytes) {
        return refuse(format!("the object id has {bytes} bytes, 1 to {OBJECT_ID_BYTES_MAX} are allowed"));
    }
    match operation.action {
        Action::Delete => Ok(()),
        Action::Save | Action::PartialUpdate | Action::PartialUpdateNoCreate => {
            let body = operation.body.trim_ascii();
            if !(body.starts_with(b"{") && body.ends_with(b"}")) {
                return refuse("the body is not a JSON object".into());
            }
            attributes(body, non_idempotent_operations)
        }
    }
}

/// Checks an index's name. Some would name another route than the index's own.
pub(crate) fn index(name: &str) -> Result<(), Reason> {
    if !(1..=INDEX_BYTES_MAX).contains(&name.len()) {
        return refuse(format!(
            "the index name has {} bytes, 1 to {INDEX_BYTES_MAX} are allowed",
            name.len()
        ));
    }
    if matches!(name, "." | ".." | "*") || name.chars().any(char::is_control) {
        return refuse(format!("the index name {name:?} is not allowed"));
    }
    Ok(())
}

/// Refuses first-level attributes such as `{"_operation": "Increment", "value": 1}`, and an id of the body's own,
/// which would lead the record to another object.
fn attributes(body: &[u8], non_idempotent_operations: bool) -> Result<(), Reason> {
    // Parsed only where one of these may stand, plainly or with an escaped letter.
    if [&OPERATION, &OBJECT_ID, &ESCAPE].into_iter().all(|word| word.find(body).is_none()) {
        return Ok(());
    }
    let Entries(attributes) = match serde_json::from_slice(body) {
        Ok(entries) => entries,
        Err(error) => return refuse(format!("the body is not a JSON object: {error}")),
    };
    for (name, value) in attributes {
        if name == "objectID" {
            return refuse("the body carries an objectID of its own".into());
        }
        if !non_idempotent_operations && let Some(operation) = non_idempotent(value) {
            return refuse(format!(
                "the operation {operation} of {name:?} is not idempotent and would count twice when it is sent \
                 twice; `non_idempotent_operations = \"allow\"` admits it"
            ));
        }
    }
    Ok(())
}

/// The operation that a first-level value asks for, if it is one that is not idempotent.
fn non_idempotent(value: &RawValue) -> Option<&'static str> {
    // What is no object holds no operation.
    let Entries(entries) = serde_json::from_str(value.get()).ok()?;
    entries.into_iter().filter(|(name, _)| name == "_operation").find_map(|(_, operation)| {
        // An `_operation` that is no string is an attribute like any other.
        let operation: String = serde_json::from_str(operation.get()).ok()?;
        NON_IDEMPOTENT.into_iter().find(|name| *name == operation)
    })
}

fn refuse(message: String) -> Result<(), Reason> {
    Err(Reason::new(ReasonCode::NotAdmitted, message))
}

/// The entries of an object in their order, repeated names included.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = object.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
