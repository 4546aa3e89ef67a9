//! Turns a request's bytes into what the log appends, or into an answer that names everything that is wrong with it.
//!
//! Whole or nothing: nothing leaves this file unless every payload is valid.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use plugin_api::operation::Action;
use ring::digest;
use tonic::Status;

use super::{
    answer::{self, Violations},
    budget::Lease,
    caller_rates::CallerRates,
    fault::{Faults, shortened},
    policy::Terms,
    request::{Payload, Request},
    transcode::{Rules, Transcoder},
};
use crate::{
    config::NonIdempotent,
    contract::server::ActionType,
    log::interface::{Append, Attributes, Idempotency},
    record::{INDEX_BYTES_MAX, OBJECT_ID_BYTES_MAX, PayloadWriter},
};

/// A valid request.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) index: String,
    pub(crate) append: Append,
    /// Its caller has used up what it may send, and has to wait so long; a repeat of what was accepted has not.
    pub(crate) too_fast: Option<Duration>,
}

/// What is known of a request beside its message.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Who sends it.
    pub(crate) caller: Option<Arc<str>>,
    /// The W3C traceparent that it came with.
    pub(crate) traceparent: Option<String>,
}

const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// Checks a request and lays out its records. CPU work: about 2 us a record.
///
/// # Errors
/// With the status that the producer gets.
pub(crate) fn validate(
    message: &Bytes,
    origin: Origin,
    terms: &Terms,
    rates: &CallerRates,
    lease: &Lease,
) -> Result<Valid, Status> {
    let limits = &terms.limits;
    let request = Request::read(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
    if request.payload_count > limits.request_records_max {
        return Err(answer::too_many_records(request.payload_count, limits.request_records_max));
    }
    let mut violations = Violations::default();
    let index = index_name(request.index_name, &mut violations);
    let key = idempotency_key(request.idempotency_key, &mut violations);
    let action = action(request.action_type, &mut violations);
    let caller = origin.caller.as_deref();
    if let Some(action) = action
        && !index.is_empty()
        && !terms.permissions.allow(caller, index, action)
    {
        return Err(answer::not_permitted(caller, index, action));
    }
    let too_fast = rates.take(caller, message.len(), limits.caller_rate_limit, Instant::now()).err();
    if let Some(wait) = too_fast.filter(|_| key.is_empty()) {
        // It can be no repeat.
        return Err(answer::too_fast(caller, wait));
    }
    if request.payload_count == 0 {
        violations.push("payloads", "is empty: give at least one");
    }
    let mut payloads = Payloads {
        writer: PayloadWriter::new(action.unwrap_or(Action::Save), index, message.len()),
        transcoder: Transcoder::new(Rules {
            bytes_max: limits.record_bytes_max,
            allow_non_idempotent: limits.non_idempotent_operations == NonIdempotent::Allow,
            sorted: !key.is_empty(),
        }),
        action,
        lease,
        leased_bytes: message.len().max(1),
    };
    for (number, payload) in request.payloads().enumerate() {
        payloads.add(number, payload, &mut violations)?;
    }
    if !violations.is_empty() {
        return Err(violations.into_status());
    }
    let records = payloads.writer.records();
    let payload = payloads.writer.into_bytes();
    let idempotency = (!key.is_empty()).then(|| idempotency(key, &payload));
    let Origin { caller, traceparent } = origin;
    let attributes = Attributes { idempotency, caller, traceparent };
    Ok(Valid { index: index.to_owned(), append: Append { records, payload, attributes }, too_fast })
}

/// The records of one request on their way into its frame.
struct Payloads<'a> {
    writer: PayloadWriter,
    transcoder: Transcoder,
    /// `None` if the request's is not valid; only the other fields are checked then.
    action: Option<Action>,
    lease: &'a Lease,
    /// How much of the lease is for what is written here.
    leased_bytes: usize,
}

impl Payloads<'_> {
    /// # Errors
    /// If the JSON is so much larger than the message that there is no memory for it now.
    fn add(&mut self, number: usize, message: &[u8], violations: &mut Violations) -> Result<(), Status> {
        let field = |name: &str| format!("payloads[{number}]{name}");
        let payload = match Payload::read(message) {
            Ok(payload) => payload,
            Err(error) => {
                violations.push(field(""), error.to_string());
                return Ok(());
            }
        };
        let id = object_id(payload.object_id).unwrap_or_else(|problem| {
            violations.push(field(".object_id"), problem);
            None
        });
        match (self.action, payload.data) {
            (_, Some(_)) if payload.data_twice => {
                violations.push(field(".data"), "is given twice in one message")
            }
            (Some(Action::Delete), Some(_)) => {
                violations.push(field(".data"), "must be absent for DELETE_OBJECT")
            }
            (Some(Action::Delete), None) => self.write(number, id, None, violations),
            (Some(_), None) => {
                violations.push(field(".data"), "is missing: an object without attributes is an empty Struct")
            }
            (None, None) => {}
            (_, Some(data)) => self.write(number, id, Some(data), violations),
        }
        while self.writer.size() > self.leased_bytes {
            // As the writer's buffer does, the lease doubles.
            self.lease.grow(self.leased_bytes).map_err(|_| answer::no_bytes())?;
            self.leased_bytes *= 2;
        }
        Ok(())
    }

    fn write(&mut self, number: usize, id: Option<&str>, data: Option<&[u8]>, violations: &mut Violations) {
        // Without a valid id the data is still checked; the request is refused anyway.
        let object_id = id.unwrap_or_default();
        let transcoder = &mut self.transcoder;
        let written = self.writer.record(object_id, |out| match data {
            Some(data) => transcoder.transcode(data, object_id, out),
            None => Ok(()),
        });
        if let Err(Faults { first, more }) = written {
            for fault in first {
                violations.push(format!("payloads[{number}].data{}", fault.path), fault.problem.to_string());
            }
            violations.push_untold(more);
        }
    }
}

fn index_name<'a>(bytes: &'a [u8], violations: &mut Violations) -> &'a str {
    let checked = match simdutf8::basic::from_utf8(bytes) {
        Err(_) => Err("is not valid UTF-8".to_owned()),
        Ok("") => Err("is empty".to_owned()),
        Ok(name) if name.len() > INDEX_BYTES_MAX => Err(too_long(name, INDEX_BYTES_MAX)),
        Ok(name) if name.chars().any(char::is_control) => {
            Err(format!("\"{}\" has control characters", shortened(name)))
        }
        Ok(name @ ("." | ".." | "*")) => Err(format!("\"{name}\" cannot be the name of an index")),
        Ok(name) => Ok(name),
    };
    checked.unwrap_or_else(|problem| {
        violations.push("index_name", problem);
        ""
    })
}

fn idempotency_key<'a>(bytes: &'a [u8], violations: &mut Violations) -> &'a str {
    let checked = match simdutf8::basic::from_utf8(bytes) {
        Err(_) => Err("is not valid UTF-8".to_owned()),
        Ok(key) if key.len() > IDEMPOTENCY_KEY_BYTES_MAX => Err(too_long(key, IDEMPOTENCY_KEY_BYTES_MAX)),
        Ok(key) => Ok(key),
    };
    checked.unwrap_or_else(|problem| {
        violations.push("idempotency_key", problem);
        ""
    })
}

fn action(number: i32, violations: &mut Violations) -> Option<Action> {
    match ActionType::try_from(number) {
        Ok(ActionType::PartialUpdateObject) => return Some(Action::PartialUpdate),
        Ok(ActionType::SaveObject) => return Some(Action::Save),
        Ok(ActionType::PartialUpdateObjectNoCreate) => return Some(Action::PartialUpdateNoCreate),
        Ok(ActionType::DeleteObject) => return Some(Action::Delete),
        Ok(ActionType::Unspecified) => violations.push("action_type", "is not specified"),
        Err(_) => violations.push("action_type", format!("{number} is not known")),
    }
    None
}

fn object_id(bytes: &[u8]) -> Result<Option<&str>, String> {
    match simdutf8::basic::from_utf8(bytes) {
        Err(_) => Err("is not valid UTF-8".to_owned()),
        Ok("") => Err("is empty".to_owned()),
        Ok(id) if id.len() > OBJECT_ID_BYTES_MAX => Err(too_long(id, OBJECT_ID_BYTES_MAX)),
        Ok(id) => Ok(Some(id)),
    }
}

fn too_long(text: &str, limit: usize) -> String {
    format!("\"{}\" has {} bytes, the limit is {limit}", shortened(text), text.len())
}

/// The payload holds action, index, ids and bodies, attributes in order of their names and numbers in one form: equal
/// requests have equal digests, however they were encoded (the order of maps and fields, unknown fields, a merge of
/// defaults). What `transcode` writes must therefore stay the same from version to version: a repeat may come after an
/// update, and would be taken for other content.
fn idempotency(key: &str, payload: &[u8]) -> Idempotency {
    let mut content = [0; digest::SHA256_OUTPUT_LEN];
    content.copy_from_slice(digest::digest(&digest::SHA256, payload).as_ref());
    Idempotency { key: key.to_owned(), digest: content }
}
