//! What a producer is told when its request is not accepted, with google.rpc error details.
//!
//! Rules that producers rely on: INVALID_ARGUMENT and ALREADY_EXISTS are never worth a retry, and RESOURCE_EXHAUSTED is
//! worth one exactly if it carries a RetryInfo.

use std::{collections::HashMap, time::Duration};

use plugin_api::{identity::RequestId, operation::Action};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt};

use super::{indexes::TooManyIndexes, refusals::Refusal};
use crate::{
    contract::SERVICE_NAME,
    log::interface::{AppendError, ContentDigest},
};

/// The fields of a request that break a rule.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    told: Vec<FieldViolation>,
    told_bytes: usize,
    more: usize,
}

/// As many violations as are told of one by one.
const TOLD_MAX: usize = 100;
/// As many bytes as they may take. Error details travel in a header: some clients take no more than 8 KiB of headers,
/// and a third is added by base64.
const TOLD_BYTES_MAX: usize = 3584;
/// Characters of a field's path: a deep one is cut in its middle.
const FIELD_MAX: usize = 160;
/// Characters of the message's account of a violation. Each may take nine bytes in its header.
const MESSAGE_MAX: usize = 200;

/// The reason in the ErrorInfo of a key that came with other content.
const KEY_REUSED: &str = "IDEMPOTENCY_KEY_REUSED";
/// The reason in the ErrorInfo of what no rule allows.
const NOT_PERMITTED: &str = "NOT_PERMITTED";

/// When to try again after something that passes in a moment.
const SOON: Duration = Duration::from_secs(1);
/// When to try again after something that takes a restart.
const AFTER_RESTART: Duration = Duration::from_secs(5);
/// When to try again after something that takes an operator.
const AFTER_OPERATOR: Duration = Duration::from_secs(30);

impl Violations {
    pub(crate) fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let violation = FieldViolation::new(abridged(&field.into(), FIELD_MAX), description);
        let bytes = violation.field.len() + violation.description.len() + 8;
        if self.more > 0 || self.told.len() == TOLD_MAX || self.told_bytes + bytes > TOLD_BYTES_MAX {
            self.more += 1;
            return;
        }
        self.told_bytes += bytes;
        self.told.push(violation);
    }

    /// Counts violations that are not told of one by one.
    pub(crate) fn push_untold(&mut self, count: usize) {
        self.more += count;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.more == 0
    }

    /// INVALID_ARGUMENT with a BadRequest.
    pub(crate) fn into_status(mut self) -> Status {
        let count = self.told.len() + self.more;
        let first =
            |first: &FieldViolation| abridged(&format!("{} {}", first.field, first.description), MESSAGE_MAX);
        let first = self.told.first().map(first);
        let message = match first {
            Some(first) if count == 1 => first,
            first => format!("{count} violations, the first: {}", first.unwrap_or_default()),
        };
        if self.more > 0 {
            self.told.push(FieldViolation::new("", format!("and {} more violations", self.more)));
        }
        Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(self.told))
    }
}

/// A limit on the whole request that waiting does not lift.
pub(crate) fn over_limit(limit: &str, description: String) -> Status {
    let message = format!("{description} ({limit})");
    let violation = QuotaViolation::new(limit, description);
    Status::with_error_details(
        Code::ResourceExhausted,
        message,
        ErrorDetails::with_quota_failure([violation].to_vec()),
    )
}

/// The message is longer than `limits.request_bytes_max`.
pub(crate) fn request_too_large(bytes: usize, limit: usize) -> Status {
    over_limit("limits.request_bytes_max", format!("request has {bytes} bytes, the limit is {limit}"))
}

/// There are more payloads than `limits.request_records_max`.
pub(crate) fn too_many_records(records: usize, limit: usize) -> Status {
    over_limit("limits.request_records_max", format!("request has {records} records, the limit is {limit}"))
}

/// The index is new and one too many.
pub(crate) fn too_many_indexes(index: &str, error: TooManyIndexes) -> Status {
    let TooManyIndexes { max } = error;
    over_limit("limits.indexes_max", format!("index \"{index}\" is new, and there are {max} already"))
}

/// The caller has used up what it may send in this time.
pub(crate) fn too_fast(caller: Option<&str>, wait: Duration) -> Status {
    let whose =
        caller.map_or_else(|| "callers without a name".to_owned(), |caller| format!("caller \"{caller}\""));
    let message = format!("{whose} sent as much as limits.caller_rate_limit allows: try again in {wait:.1?}");
    retry(Code::ResourceExhausted, message, wait)
}

/// PERMISSION_DENIED with an ErrorInfo: no rule lets the caller do this to the index.
pub(crate) fn not_permitted(caller: Option<&str>, index: &str, action: Action) -> Status {
    let whose =
        caller.map_or_else(|| "a caller without a name".to_owned(), |caller| format!("caller \"{caller}\""));
    let action = action.as_str();
    let message =
        format!("{whose} may not {action} in index \"{index}\": no rule of [[permissions]] allows it");
    let metadata = [("caller", caller.unwrap_or_default()), ("index", index), ("action", action)];
    informed(Code::PermissionDenied, message, NOT_PERMITTED, metadata)
}

/// Others take all that there is at the moment; `what` says of what.
pub(crate) fn busy(what: &str) -> Status {
    retry(Code::ResourceExhausted, what, SOON)
}

/// Other requests take all the bytes that there are for requests.
pub(crate) fn no_bytes() -> Status {
    busy("requests being received take as many bytes as limits.decoding_bytes_max allows")
}

/// The agent is stopping.
pub(crate) fn stopping() -> Status {
    retry(Code::Unavailable, "agent is shutting down", SOON)
}

/// An operator wants no requests.
pub(crate) fn draining() -> Status {
    retry(Code::Unavailable, "agent is draining: its operator takes no requests for now", AFTER_OPERATOR)
}

/// The sender was too slow.
pub(crate) fn too_slow(what: &str, limit: Duration) -> Status {
    Status::deadline_exceeded(format!("{what} did not arrive within {limit:?} (limits.receive_timeout)"))
}

/// A destination cannot take more of this index until an operator has acted or letters have expired.
pub(crate) fn index_refused(index: &str, refusal: &Refusal) -> Status {
    let Refusal { destination, reason } = refusal;
    let message = format!("destination \"{destination}\" takes no more of index \"{index}\": {reason}");
    retry(Code::ResourceExhausted, message, AFTER_OPERATOR)
}

/// The log did not take the request.
pub(crate) fn not_appended(error: &AppendError) -> Status {
    match error {
        AppendError::Full { retry_after, .. }
        | AppendError::BacklogFull { retry_after, .. }
        | AppendError::NoSpace { retry_after } => {
            retry(Code::ResourceExhausted, error.to_string(), *retry_after)
        }
        AppendError::TooLarge { bytes, limit } => over_limit(
            "the log's frame",
            format!("request takes {bytes} bytes in the log, the limit is {limit}"),
        ),
        // The cause names files of this machine; the log has told the operator.
        AppendError::Poisoned { .. } => {
            retry(Code::Unavailable, "log failed and the agent must restart; outcome unknown", AFTER_RESTART)
        }
        AppendError::KeyReused { earlier, digest, request_id } => key_reused(earlier, digest, request_id),
        AppendError::Closed => stopping(),
    }
}

/// ALREADY_EXISTS with an ErrorInfo: what the earlier request with the key held, and which one it was.
fn key_reused(earlier: &ContentDigest, digest: &ContentDigest, request_id: &RequestId) -> Status {
    let (earlier, digest, request_id) = (earlier.to_string(), digest.to_string(), request_id.to_string());
    let message = format!(
        "idempotency_key was accepted with other content in request {request_id}: SHA-256 {earlier} there, {digest} here"
    );
    let metadata =
        [("accepted_digest", &*earlier), ("digest", &*digest), ("accepted_request_id", &*request_id)];
    informed(Code::AlreadyExists, message, KEY_REUSED, metadata)
}

/// With an ErrorInfo.
fn informed(code: Code, message: String, reason: &str, metadata: [(&str, &str); 3]) -> Status {
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let details = ErrorDetails::with_error_info(reason, SERVICE_NAME, HashMap::from(metadata));
    Status::with_error_details(code, message, details)
}

fn retry(code: Code, message: impl Into<String>, after: Duration) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(after)))
}

/// The text, or its beginning and its end where it has more than `characters`.
fn abridged(text: &str, characters: usize) -> String {
    let count = text.chars().count();
    if count <= characters {
        return text.to_owned();
    }
    let half = characters / 2;
    text.chars().take(half).chain(['…']).chain(text.chars().skip(count - half)).collect()
}

#[cfg(test)]
mod tests {
    use tonic::body::Body;

    use super::*;

    /// Whatever the paths are, at least the first violation is told, and the answer's headers stay below the 8 KiB
    /// that some clients take.
    #[test]
    fn long_paths_fit_the_headers() {
        for (name, count) in [("名".repeat(5000), 1), ("a".repeat(5000), 300), ("😀".repeat(300), 200)] {
            let mut violations = Violations::default();
            (0..count).for_each(|_| violations.push(format!("payloads[0].data.{name}.n"), "is NaN"));
            let status = violations.into_status();
            let told = status.get_error_details().bad_request().unwrap().field_violations[0].field.clone();
            assert!(told.starts_with("payloads[0].data.") && told.ends_with(".n"), "{told}");
            let headers = status.into_http::<Body>().into_parts().0.headers;
            let bytes: usize =
                headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 8192, "{bytes} bytes of headers for {count} x {} bytes", name.len());
        }
    }
}
