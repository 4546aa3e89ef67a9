//! The answers: JSON bodies and the texts of refusals, as the real service words them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

/// An answer that is not sent yet.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "application/json; charset=UTF-8",
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// An error as the service writes it: `{"message": ..., "status": ...}`.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::error_with(status, message, json!({}))
    }

    /// The same with further attributes, such as the position of the record that is to blame.
    pub(super) fn error_with(status: u16, message: &str, mut more: Value) -> Self {
        more["message"] = message.into();
        more["status"] = status.into();
        Self::json(status, more.to_string())
    }

    /// A page of a proxy that stands before the service.
    pub(super) fn html(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self { content_type: "text/html", ..Self::json(status, body) }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Puts the answer on its way; `number` becomes its `Correlation-ID`.
    pub(super) fn into_response(self, number: u64) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert("correlation-id", HeaderValue::from(number));
        for (name, value) in self.headers {
            // A test that scripts a header which HTTP cannot carry sees it missing.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

pub(super) fn invalid_credentials() -> Answer {
    Answer::error(403, "Invalid Application-ID or API key")
}

pub(super) fn method_not_allowed() -> Answer {
    Answer::error(403, "Method not allowed with this API key")
}

pub(super) fn index_not_allowed() -> Answer {
    Answer::error(403, "Index not allowed with this API key")
}

pub(super) fn record_quota() -> Answer {
    Answer::error(
        403,
        "You have exceeded your Record quota. You’ll need to change your plan for more capacity, or delete records. \
         See more details at https://www.algolia.com/account/billing/details",
    )
}

pub(super) fn operations_quota() -> Answer {
    Answer::error(403, "Operations quota exceeded, change plan to get more Operations.")
}

pub(super) fn index_missing(index: &str) -> Answer {
    Answer::error(404, &format!("Index {index} does not exist"))
}

/// A refusal that says nothing of the culprit.
pub(super) fn invalid_request() -> Answer {
    Answer::error(400, "Invalid request")
}

/// The wording of the older clusters, with the culprit's position (from 0) and id.
pub(super) fn too_big(position: usize, object_id: &str, size: usize, size_max: usize) -> Answer {
    let message = too_big_message(position, object_id, size, size_max);
    Answer::error_with(400, &message, json!({ "position": position, "objectID": object_id }))
}

/// The same in words alone.
pub(super) fn too_big_in_words(position: usize, object_id: &str, size: usize, size_max: usize) -> Answer {
    Answer::error(400, &too_big_message(position, object_id, size, size_max))
}

/// The wording of the newer clusters, without the id as an attribute.
pub(super) fn too_big_at(position: usize, size: usize, size_max: usize) -> Answer {
    let message = format!("Record is too big: {size} bytes, your plan allows {size_max} bytes");
    Answer::error_with(400, &message, json!({ "position": position }))
}

pub(super) fn near_column(message: &str, column: usize) -> Answer {
    Answer::error(400, &format!("{message} near line:1 column:{column}"))
}

fn too_big_message(position: usize, object_id: &str, size: usize, size_max: usize) -> String {
    format!(
        "Record at the position {position} objectID={object_id} is too big size={size}/{size_max} bytes. Please \
         have a look at https://www.algolia.com/doc/guides/sending-and-managing-data/prepare-your-data/"
    )
}
