//! The rules by which an operation is refused before it is sent, since it could take its batch with it or count twice.
//!
//! Sizes are left to the service: a record's limit depends on the plan.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use plugin_api::{
    operation::{Action, Operation},
    verdict::{Reason, ReasonCode},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Bytes of an object's id, inclusive.
const OBJECT_ID_BYTES_MAX: usize = 512;

/// Bytes of an index's name, inclusive.
const INDEX_BYTES_MAX: usize = 256;

/// Operations that count twice when they are sent twice.
const NON_IDEMPOTENT: [&str; 3] = ["Increment", "Decrement", "Add"];

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
            if non_idempotent_operations { Ok(()) } else { idempotent(body) }
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

/// Refuses first-level attributes such as `{"_operation": "Increment", "value": 1}`.
fn idempotent(body: &[u8]) -> Result<(), Reason> {
    // Parsed only where the word may stand, plainly or with an escaped letter.
    if memmem::find(body, b"_operation").is_none() && memmem::find(body, b"\\u").is_none() {
        return Ok(());
    }
    match serde_json::from_slice(body) {
        Ok(Found(None)) => Ok(()),
        Ok(Found(Some(found))) => refuse(format!(
            "{found} is not idempotent and would count twice when it is sent twice; \
             `non_idempotent_operations = \"allow\"` admits it"
        )),
        Err(error) => refuse(format!("the body is not a JSON object: {error}")),
    }
}

fn refuse(message: String) -> Result<(), Reason> {
    Err(Reason::new(ReasonCode::NotAdmitted, message))
}

/// The first operation that is not idempotent, with its attribute.
struct Found(Option<String>);

#[derive(Deserialize)]
struct BuiltIn<'a> {
    #[serde(borrow, default, rename = "_operation")]
    operation: Cow<'a, str>,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attributes;

        impl<'de> Visitor<'de> for Attributes {
            type Value = Found;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut attributes: A) -> Result<Found, A::Error> {
                while let Some((name, value)) = attributes.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    if let Some(operation) = non_idempotent(value) {
                        while attributes.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(Found(Some(format!("the operation {operation} of {name:?}"))));
                    }
                }
                Ok(Found(None))
            }
        }

        deserializer.deserialize_map(Attributes)
    }
}

/// The operation that a first-level value asks for, if it is one that is not idempotent.
fn non_idempotent(value: &RawValue) -> Option<&'static str> {
    if !value.get().starts_with('{') {
        return None;
    }
    // An `_operation` that is no string is an attribute like any other.
    let BuiltIn { operation } = serde_json::from_str(value.get()).ok()?;
    NON_IDEMPOTENT.into_iter().find(|name| *name == operation)
}
