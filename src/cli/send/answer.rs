//! What an answer of the agent means for the request that got it.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What to do next with a request that was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Send the same again, with the same idempotency key, not before this delay if there is one.
    Retry { after: Option<Duration>, reason: String },
    /// These payloads, by number, are refused for good; without them the request may be sent as a new one.
    Payloads(Vec<(usize, String)>),
    /// Halve it; a single record is refused for good.
    TooLarge(String),
    /// No request of this kind will ever be accepted.
    Refused(String),
}

/// Reads a status by the rules of the contract; `payloads` is how many the request had.
pub(super) fn classify(status: &Status, payloads: usize) -> Failure {
    let reason = || {
        let code = status.code();
        if status.message().is_empty() { code.to_string() } else { status.message().to_owned() }
    };
    let details = status.get_error_details();
    let after = details.retry_info().and_then(|retry| retry.retry_delay);
    match status.code() {
        Code::InvalidArgument => {
            let refused = payload_violations(status, payloads);
            if refused.is_empty() { Failure::Refused(reason()) } else { Failure::Payloads(refused) }
        }
        Code::ResourceExhausted if after.is_some() => Failure::Retry { after, reason: reason() },
        Code::ResourceExhausted => {
            // More indexes than allowed is the only limit that a smaller request does not meet.
            let indexes = |quota: &tonic_types::QuotaViolation| quota.subject == "limits.indexes_max";
            match details.quota_failure() {
                Some(failure) if failure.violations.iter().any(indexes) => Failure::Refused(reason()),
                _ => Failure::TooLarge(reason()),
            }
        }
        Code::OutOfRange => Failure::TooLarge(reason()),
        // The outcome may be unknown; the idempotency key makes the repeat safe.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unknown
        | Code::Internal
        | Code::Ok => Failure::Retry { after, reason: reason() },
        Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Failure::Refused(reason()),
    }
}

/// The payloads that a BadRequest names, each once with all of its reasons; nothing if it names anything else of the
/// request, since that would not get better without these payloads.
///
/// The agent may not name all of them one by one ("and 7 more violations", without a field): the rest is told of when
/// the request is sent again without these.
fn payload_violations(status: &Status, payloads: usize) -> Vec<(usize, String)> {
    let Some(bad_request) = status.get_details_bad_request() else { return Vec::new() };
    let mut refused: Vec<(usize, String)> = Vec::new();
    for violation in bad_request.field_violations {
        if violation.field.is_empty() {
            continue;
        }
        let number = violation.field.strip_prefix("payloads[").and_then(|rest| rest.split_once(']'));
        let Some((Ok(number), field)) = number.map(|(number, rest)| (number.parse::<usize>(), rest)) else {
            return Vec::new();
        };
        if number >= payloads {
            return Vec::new();
        }
        let reason = format!("{} {}", field.trim_start_matches('.'), violation.description);
        match refused.iter_mut().find(|(known, _)| *known == number) {
            Some((_, reasons)) => reasons.push_str(&format!("; {}", reason.trim())),
            None => refused.push((number, reason.trim().to_owned())),
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation};

    use super::*;

    fn invalid(fields: &[(&str, &str)]) -> Failure {
        let violations: Vec<_> =
            fields.iter().map(|(field, what)| FieldViolation::new(*field, *what)).collect();
        let details = ErrorDetails::with_bad_request(violations);
        classify(&Status::with_error_details(Code::InvalidArgument, "invalid", details), 3)
    }

    #[test]
    fn violations_are_collected_by_payload() {
        let refused = invalid(&[
            ("payloads[2].data.price", "is not finite"),
            ("payloads[0].object_id", "is empty"),
            ("payloads[2]", "is too large"),
            ("", "and 7 more violations"),
        ]);
        let expected = vec![
            (2, "data.price is not finite; is too large".to_owned()),
            (0, "object_id is empty".to_owned()),
        ];
        assert_eq!(refused, Failure::Payloads(expected));
    }

    /// Without this the rest would be sent again and again.
    #[test]
    fn a_violation_of_the_request_itself_refuses_it() {
        let refused = || Failure::Refused("invalid".to_owned());
        assert_eq!(invalid(&[("payloads[0].data", "x"), ("index_name", "is empty")]), refused());
        assert_eq!(invalid(&[("payloads[3]", "there is no such payload")]), refused());
        assert_eq!(invalid(&[("", "and 7 more violations")]), refused());
        assert_eq!(classify(&Status::invalid_argument("invalid"), 3), refused());
    }

    #[test]
    fn exhaustion_is_retried_exactly_with_a_retry_info() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(70)));
        let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let after = Some(Duration::from_millis(70));
        assert_eq!(classify(&full, 3), Failure::Retry { after, reason: "full".to_owned() });

        let quota = |subject: &str| {
            let details = ErrorDetails::with_quota_failure(vec![QuotaViolation::new(subject, "x")]);
            classify(&Status::with_error_details(Code::ResourceExhausted, "no", details), 3)
        };
        assert_eq!(quota("limits.request_bytes_max"), Failure::TooLarge("no".to_owned()));
        assert_eq!(quota("limits.indexes_max"), Failure::Refused("no".to_owned()));
    }
}
