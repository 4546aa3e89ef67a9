//! The answers: JSON bodies and the texts of refusals, as real clusters word them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::json;

/// An answer that is not sent yet.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// Why one item of a request, or all of it, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(status: u16, kind: &str, reason: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), reason: reason.into() }
    }
}

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        let content_type = "application/json; charset=UTF-8";
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// An error of a whole request.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let Refusal { status, kind, reason } = refusal;
        let cause = json!({ "type": kind, "reason": reason });
        let error = json!({ "root_cause": [cause], "type": kind, "reason": reason });
        Self::json(*status, json!({ "error": error, "status": status }).to_string())
    }

    /// An error with words alone.
    pub(super) fn words(status: u16, words: &str) -> Self {
        Self::json(status, json!({ "error": words, "status": status }).to_string())
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::json(status, Bytes::new())
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

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            // A test that scripts a header which HTTP cannot carry sees it missing.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A whole request that validation refuses.
pub(super) fn invalid(problem: &str) -> Refusal {
    Refusal::new(400, "action_request_validation_exception", format!("Validation Failed: 1: {problem};"))
}

pub(super) fn argument(problem: impl Into<String>) -> Refusal {
    Refusal::new(400, "illegal_argument_exception", problem)
}

pub(super) fn version_conflict(id: &str, stored: i64, given: i64) -> Refusal {
    let reason = format!(
        "[{id}]: version conflict, current version [{stored}] is higher than the one provided [{given}]"
    );
    Refusal::new(409, "version_conflict_engine_exception", reason)
}

pub(super) fn document_exists(id: &str, stored: i64) -> Refusal {
    let reason = format!("[{id}]: version conflict, document already exists (current version [{stored}])");
    Refusal::new(409, "version_conflict_engine_exception", reason)
}

pub(super) fn document_missing(id: &str) -> Refusal {
    Refusal::new(404, "document_missing_exception", format!("[{id}]: document missing"))
}

pub(super) fn index_missing(index: &str) -> Refusal {
    Refusal::new(404, "index_not_found_exception", format!("no such index [{index}]"))
}

pub(super) fn unparsable(reason: impl Into<String>) -> Refusal {
    Refusal::new(400, "mapper_parsing_exception", reason)
}

pub(super) fn unauthorized() -> Refusal {
    Refusal::new(401, "security_exception", "unable to authenticate user for REST request [/_bulk]")
}

pub(super) fn index_forbidden(index: &str) -> Refusal {
    let reason = format!(
        "action [indices:data/write/bulk[s]] is unauthorized for API key on indices [{index}], this action is granted by \
         the index privileges [create_doc,create,delete,index,write,all]"
    );
    Refusal::new(403, "security_exception", reason)
}

/// What indexing pressure answers to a whole request.
pub(super) fn pressure(bytes: usize, bytes_max: usize) -> Refusal {
    let reason = format!(
        "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, \
         all_bytes=0, coordinating_operation_bytes={bytes}, max_coordinating_and_primary_bytes={bytes_max}]"
    );
    Refusal::new(429, "rejected_execution_exception", reason)
}

/// What a full queue answers to the items of one shard.
pub(super) fn queue_full() -> Refusal {
    let reason = "rejected execution of org.opensearch.action.support.replication.TransportWriteAction$1@4f0 on \
                  OpenSearchThreadPoolExecutor[name = node1/write, queue capacity = 1]";
    Refusal::new(429, "rejected_execution_exception", reason)
}
