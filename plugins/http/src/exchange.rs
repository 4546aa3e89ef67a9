//! Sends one request and brings back what was answered, from the first host that serves.
//!
//! A host that cannot be reached, cuts the connection or answers neither 2xx nor 4xx is marked, and the next one gets
//! the same request. A time-out ends the call: the host may still be at work, and what to do then is the agent's
//! decision. If any host may have acted on the request, the outcome is unknown.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use plugin_api::verdict::{Reason, ReasonCode, WriteError};
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};

use crate::{
    body::{self, Read},
    classify,
    endpoint::Endpoint,
    hosts::Hosts,
    patience::Patience,
    retry_after::retry_after,
};

/// An answer of a host that serves: 2xx or 4xx.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed; empty where an error's body could not be read.
    pub body: Bytes,
}

impl Answer {
    /// How long it asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }
}

/// What to send, wherever it goes.
#[derive(Debug)]
pub struct Outgoing<'a, F> {
    /// Builds the request for a host.
    pub build: F,
    /// The secrets that it carries; an answer that repeats one is read without it (G10).
    pub secrets: &'a [Arc<str>],
    /// Bytes of its body on the wire, for the time-out.
    pub bytes: usize,
    /// The largest answer to read, in decompressed bytes, inclusive.
    pub answer_bytes_max: usize,
}

/// Why there is no answer.
enum Failure {
    /// No connection: nothing was sent.
    NotSent { timed_out: bool, problem: String },
    /// Sent, and no answer in time.
    TimedOut,
    /// Sent, and the connection was cut or spoke nonsense.
    Cut { problem: String },
    /// Sent, and more was answered than we read.
    AnswerTooLarge { bytes_max: usize },
}

/// Asks the hosts in their order until one serves.
///
/// # Errors
/// [`WriteError::Unknown`] if a host may have acted on the request, else [`WriteError::Unavailable`].
pub async fn exchange<F>(
    hosts: &Hosts,
    patience: &Patience,
    outgoing: Outgoing<'_, F>,
) -> Result<Answer, WriteError>
where
    F: Fn(&Endpoint) -> RequestBuilder,
{
    let mut worst = WriteError::Unavailable {
        retry_after: None,
        reason: Reason::new(ReasonCode::Unavailable, "no host is configured"),
    };
    for host in hosts.in_order(Instant::now()) {
        let request = (outgoing.build)(host.endpoint()).timeout(patience.timeout(outgoing.bytes));
        let error = match send(request, outgoing.secrets, outgoing.answer_bytes_max).await {
            Ok(answer) if answer.status.is_success() || answer.status.is_client_error() => {
                host.succeeded();
                patience.answered();
                return Ok(answer);
            }
            Ok(answer) => {
                host.failed(Instant::now());
                let words = body::excerpt(&answer.body);
                classify::not_serving(
                    answer.status,
                    answer.retry_after(),
                    format!("{}: {words}", host.endpoint()),
                )
            }
            Err(failure) => {
                match &failure {
                    Failure::TimedOut => {
                        host.timed_out(Instant::now());
                        patience.timed_out();
                    }
                    Failure::NotSent { timed_out: true, .. } => host.timed_out(Instant::now()),
                    Failure::NotSent { .. } | Failure::Cut { .. } => host.failed(Instant::now()),
                    // The host is well; the answer is not what we asked for.
                    Failure::AnswerTooLarge { .. } => {}
                }
                let error = failure.as_error(host.endpoint());
                if matches!(failure, Failure::TimedOut | Failure::AnswerTooLarge { .. }) {
                    return Err(error);
                }
                error
            }
        };
        if !matches!(worst, WriteError::Unknown { .. }) {
            worst = error;
        }
    }
    Err(worst)
}

async fn send(
    request: RequestBuilder,
    secrets: &[Arc<str>],
    answer_bytes_max: usize,
) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(Failure::of)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = match body::read(response, answer_bytes_max).await {
        Read::Whole(body) => body::without(body, secrets),
        // Of an error the status says enough.
        Read::TooLarge | Read::Failed(_) if !status.is_success() => Bytes::new(),
        Read::TooLarge => return Err(Failure::AnswerTooLarge { bytes_max: answer_bytes_max }),
        Read::Failed(error) => return Err(Failure::of(error)),
    };
    Ok(Answer { status, headers, body })
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() {
            return Self::NotSent { timed_out: error.is_timeout(), problem: chain(&error.without_url()) };
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        Self::Cut { problem: chain(&error.without_url()) }
    }

    fn as_error(&self, endpoint: &Endpoint) -> WriteError {
        let unknown = |words| WriteError::Unknown {
            retry_after: None,
            reason: Reason::new(ReasonCode::Unknown, words),
        };
        match self {
            Self::NotSent { problem, .. } => WriteError::Unavailable {
                retry_after: None,
                reason: Reason::new(ReasonCode::Unavailable, format!("{endpoint}: {problem}")),
            },
            Self::TimedOut => unknown(format!("{endpoint}: no answer in time")),
            Self::Cut { problem } => unknown(format!("{endpoint}: {problem}")),
            Self::AnswerTooLarge { bytes_max } => {
                unknown(format!("{endpoint}: the answer is larger than {bytes_max} bytes"))
            }
        }
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
