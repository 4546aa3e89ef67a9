//! Answers: JSON, or a stream of events that are JSON.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use tokio_stream::{Stream, StreamExt as _};

use crate::admin::error::{ControlError, Kind};

/// What was asked for.
pub(super) fn json(value: &impl Serialize) -> Response {
    with_status(StatusCode::OK, value)
}

/// Why not.
pub(super) fn refused(error: &ControlError) -> Response {
    let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_status(status, error);
    if error.kind == Kind::Unauthorized {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Server-sent events (WHATWG HTML, 9.2), as they come.
pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    of_type(StatusCode::OK, "text/event-stream", body)
}

/// One event. JSON has no line feed of its own.
pub(super) fn event(name: &str, value: &impl Serialize) -> Bytes {
    let mut event = format!("event: {name}\ndata: ").into_bytes();
    event.extend(to_json(value));
    event.extend(b"\n\n");
    event.into()
}

fn with_status(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = to_json(value);
    body.push(b'\n');
    of_type(status, "application/json", Body::from(body))
}

/// Every type of the API has a form in JSON: their maps have strings as keys.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

fn of_type(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
