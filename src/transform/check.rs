//! Believes nothing that a guest returned: a body is one JSON object within the limits, an object id may be sent. What
//! is not so becomes a failure of its record, with words for the transform's author.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use plugin_api::{
    operation::Action,
    verdict::{Reason, ReasonCode},
};

use super::{
    contract::{self, types::Operation},
    json,
    outcome::{Outcome, Product},
    words::tamed,
};
use crate::record::{OBJECT_ID_BYTES_MAX, Record};

/// Checks outcomes.
#[derive(Debug)]
pub(super) struct Checker {
    /// What one body may have.
    pub(super) record_bytes_max: usize,
}

impl Default for Checker {
    fn default() -> Self {
        Self { record_bytes_max: usize::MAX }
    }
}

impl Checker {
    /// What the outcome of a record comes to.
    pub(super) fn check(&self, record: &Record, outcome: contract::Outcome) -> Outcome {
        let invalid = |problem| Outcome::Failed(Reason::new(ReasonCode::TransformInvalid, problem));
        match outcome {
            contract::Outcome::Unchanged => Outcome::Unchanged,
            contract::Outcome::Skip => Outcome::Skip,
            contract::Outcome::Fail(words) if words.is_empty() => {
                Outcome::Failed(Reason::new(ReasonCode::TransformFailed, "the transform gave no reason"))
            }
            contract::Outcome::Fail(words) => {
                Outcome::Failed(Reason::new(ReasonCode::TransformFailed, tamed(&words)))
            }
            contract::Outcome::Replace(_) if record.action == Action::Delete => {
                invalid("replace: a delete has no body to replace; emit a save instead".to_owned())
            }
            contract::Outcome::Replace(text) => {
                self.body("replace", &record.object_id, text).map_or_else(invalid, Outcome::Replace)
            }
            // Nothing to deliver; said in one way.
            contract::Outcome::Emit(operations) if operations.is_empty() => Outcome::Skip,
            contract::Outcome::Emit(operations) => {
                let products = operations.into_iter().enumerate();
                let products = products.map(|(number, operation)| self.product(record, number, operation));
                products.collect::<Result<_, _>>().map_or_else(invalid, Outcome::Emit)
            }
        }
    }

    fn product(&self, record: &Record, number: usize, operation: Operation) -> Result<Product, String> {
        let (action, object_id, data) = match operation {
            Operation::Save(document) => (Action::Save, document.object_id, Some(document.data)),
            Operation::PartialUpdate(document) => {
                (Action::PartialUpdate, document.object_id, Some(document.data))
            }
            Operation::PartialUpdateNoCreate(document) => {
                (Action::PartialUpdateNoCreate, document.object_id, Some(document.data))
            }
            Operation::Delete(object_id) => (Action::Delete, object_id, None),
        };
        let object_id = checked_id(record, number, &object_id)?;
        let body = match data {
            Some(text) => self.body(format_args!("emit[{number}].data"), &object_id, text)?,
            None => Bytes::new(),
        };
        Ok(Product { action, object_id, body })
    }

    fn body(&self, field: impl fmt::Display, object_id: &str, text: String) -> Result<Bytes, String> {
        let own_ids = json::scan(&text, object_id).map_err(|fault| format!("{field} {fault}"))?;
        let text = if own_ids.is_empty() { text } else { json::without(&text, &own_ids) };
        if text.len() > self.record_bytes_max {
            let (bytes, limit) = (text.len(), self.record_bytes_max);
            return Err(format!(
                "{field} has {bytes} bytes, the limit for a record is {limit}: leave something out, or emit several records"
            ));
        }
        Ok(text.into())
    }
}

fn checked_id(record: &Record, number: usize, object_id: &str) -> Result<Arc<str>, String> {
    if object_id.is_empty() {
        return Err(format!("emit[{number}].object-id is empty: name the object that the operation is for"));
    }
    if object_id.len() > OBJECT_ID_BYTES_MAX {
        let bytes = object_id.len();
        return Err(format!(
            "emit[{number}].object-id has {bytes} bytes, the limit is {OBJECT_ID_BYTES_MAX}: shorten it, for instance with a hash"
        ));
    }
    // Most often it is the record's own.
    if object_id == &*record.object_id { Ok(record.object_id.clone()) } else { Ok(object_id.into()) }
}
