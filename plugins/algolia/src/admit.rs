//! The rules by which an operation is refused before it is sent: it could take its batch with it, count twice, or
//! reach another object than its own.
//!
//! Sizes are left to the service: a record's limit depends on the plan.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use plugin_api::{
    operation::{Action, Operation},
    verdict::{Reason, ReasonCode},
};
use plugin_http::attributes::{Attributes, may_hold_operation, operation_among};

/// Bytes of an object's id, inclusive.
const OBJECT_ID_BYTES_MAX: usize = 512;

/// Bytes of an index's name, inclusive.
const INDEX_BYTES_MAX: usize = 256;

/// Operations that count twice when they are sent twice.
const NON_IDEMPOTENT: [&str; 3] = ["Increment", "Decrement", "Add"];

static OBJECT_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("objectID"));

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
    if !may_hold_operation(body) && OBJECT_ID.find(body).is_none() {
        return Ok(());
    }
    let Attributes(attributes) = match serde_json::from_slice(body) {
        Ok(entries) => entries,
        Err(error) => return refuse(format!("the body is not a JSON object: {error}")),
    };
    for (name, value) in attributes {
        if name == "objectID" {
            return refuse("the body carries an objectID of its own".into());
        }
        if !non_idempotent_operations && let Some(operation) = operation_among(value, &NON_IDEMPOTENT) {
            return refuse(format!(
                "the operation {operation} of {name:?} is not idempotent and would count twice when it is sent \
                 twice; `non_idempotent_operations = \"allow\"` admits it"
            ));
        }
    }
    Ok(())
}

fn refuse(message: String) -> Result<(), Reason> {
    Err(Reason::new(ReasonCode::NotAdmitted, message))
}
