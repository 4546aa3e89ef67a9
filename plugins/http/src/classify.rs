//! What a status means, whichever service answered it.
//!
//! 400, 403 and 404 mean something else at every service, and so are not decided here.

use std::time::Duration;

use plugin_api::verdict::{Reason, ReasonCode, Scope, WriteError};
use reqwest::StatusCode;

/// Classifies a 4xx that means the same everywhere; `None` where the service must be asked. `words` are what it said.
#[must_use]
pub fn refused(status: StatusCode, retry_after: Option<Duration>, words: &str) -> Option<WriteError> {
    let reason = |code| Reason::new(code, words).with_status(status.as_u16());
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Some(WriteError::Throttled { retry_after, reason: reason(ReasonCode::Throttled) })
        }
        StatusCode::REQUEST_TIMEOUT => {
            Some(WriteError::Unknown { retry_after, reason: reason(ReasonCode::Unknown) })
        }
        StatusCode::PAYLOAD_TOO_LARGE => Some(WriteError::TooLarge { reason: reason(ReasonCode::TooLarge) }),
        StatusCode::UNAUTHORIZED
        | StatusCode::PAYMENT_REQUIRED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(WriteError::Misconfigured {
            scope: Scope::Destination,
            reason: reason(ReasonCode::Misconfigured),
        }),
        _ => None,
    }
}

/// Classifies a status that is neither 2xx nor 4xx. After a 500 the request may have been applied; every other one
/// says that nobody took it up.
pub(crate) fn not_serving(status: StatusCode, retry_after: Option<Duration>, words: String) -> WriteError {
    let reason = |code| Reason::new(code, words).with_status(status.as_u16());
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => {
            WriteError::Unknown { retry_after, reason: reason(ReasonCode::Unknown) }
        }
        _ => WriteError::Unavailable { retry_after, reason: reason(ReasonCode::Unavailable) },
    }
}
