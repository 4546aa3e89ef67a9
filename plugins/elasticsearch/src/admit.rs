//! The rules by which an operation is refused before it is sent: one item that breaks them would take the whole request
//! with it, or mean something else here than at Algolia.

use plugin_api::{
    identity::Version,
    operation::{Action, Operation},
    verdict::{Reason, ReasonCode},
};
use plugin_http::attributes::{Attributes, may_hold_operation, operation_among};

use crate::encode::VERSION_FACTOR;

/// Bytes of a document's id, inclusive.
const ID_BYTES_MAX: usize = 512;

/// Bytes of an index's name, inclusive.
const INDEX_BYTES_MAX: usize = 255;

/// Bytes of a document, inclusive: what a node takes in one request, unless its `http.max_content_length` was changed.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Characters that no index's name has.
const FORBIDDEN: &str = "\\/*?\"<>| ,#:";

/// The greatest version that leaves room for the next one's: a greater one is answered with a 500 for ever.
const VERSION_MAX: Version = Version((i64::MAX / VERSION_FACTOR) as u64 - 1);

/// Algolia's built-in operations.
const BUILT_IN: [&str; 7] =
    ["Increment", "Decrement", "Add", "Remove", "AddUnique", "IncrementFrom", "IncrementSet"];

/// Checks one operation.
pub(crate) fn admit(operation: &Operation) -> Result<(), Reason> {
    index(&operation.key.index)?;
    let bytes = operation.key.object_id.len();
    if !(1..=ID_BYTES_MAX).contains(&bytes) {
        return refuse(format!("the object id has {bytes} bytes, 1 to {ID_BYTES_MAX} are allowed"));
    }
    if operation.version > VERSION_MAX {
        return refuse(format!("the version {} is greater than {VERSION_MAX}", operation.version));
    }
    match operation.action {
        Action::Delete => Ok(()),
        Action::Save | Action::PartialUpdate | Action::PartialUpdateNoCreate => {
            let body = operation.body.trim_ascii();
            if !(body.starts_with(b"{") && body.ends_with(b"}")) {
                return refuse("the body is not a JSON object".into());
            }
            if body.len() > BODY_BYTES_MAX {
                let message = format!("the body has {} bytes, {BODY_BYTES_MAX} are allowed", body.len());
                return Err(Reason::new(ReasonCode::TooLarge, message));
            }
            attributes(body)
        }
    }
}

/// Checks an index's name by Elasticsearch's rules.
pub(crate) fn index(name: &str) -> Result<(), Reason> {
    let bytes = name.len();
    if !(1..=INDEX_BYTES_MAX).contains(&bytes) {
        return refuse(format!("the index name has {bytes} bytes, 1 to {INDEX_BYTES_MAX} are allowed"));
    }
    let problem = if matches!(name, "." | "..") {
        "is not allowed".to_owned()
    } else if name.starts_with(['_', '-', '+']) {
        "starts with one of _ - +".to_owned()
    } else if let Some(forbidden) = name.chars().find(|c| FORBIDDEN.contains(*c) || c.is_control()) {
        format!("has the character {forbidden:?} in it")
    } else if name.to_lowercase() != name {
        "is not in lowercase".to_owned()
    } else {
        return Ok(());
    };
    refuse(format!("the index name {name:?} {problem}"))
}

/// Refuses first-level attributes such as `{"_operation": "Increment", "value": 1}`: nobody would compute them here, and
/// they would be stored as they are.
fn attributes(body: &[u8]) -> Result<(), Reason> {
    // Parsed only where one of these may stand, plainly or with an escaped letter.
    if !may_hold_operation(body) {
        return Ok(());
    }
    let Attributes(attributes) = match serde_json::from_slice(body) {
        Ok(entries) => entries,
        Err(error) => return refuse(format!("the body is not a JSON object: {error}")),
    };
    match attributes.iter().find_map(|(name, value)| Some((name, operation_among(value, &BUILT_IN)?))) {
        Some((name, operation)) => refuse(format!(
            "the operation {operation} of {name:?} is one of Algolia's, which Elasticsearch does not have"
        )),
        None => Ok(()),
    }
}

fn refuse(message: String) -> Result<(), Reason> {
    Err(Reason::new(ReasonCode::NotAdmitted, message))
}
