//! Requests that their producers trace, as a lane meets them.

use std::sync::Arc;

use plugin_api::identity::{Position, RequestId, Timestamp};

use crate::{log::interface::Frame, runtime::TraceContext};

/// A request with a sampled traceparent.
#[derive(Clone, Debug)]
pub struct TracedRequest {
    /// Where its producer's span is.
    pub context: TraceContext,
    /// Where its first record lies.
    pub first: Position,
    /// How many records it has.
    pub records: u32,
    /// What its producer got.
    pub request_id: RequestId,
    /// Who sent it, where that is known.
    pub caller: Option<Arc<str>>,
}

/// A transform that ran on records of such a request, among others'.
#[derive(Clone, Debug)]
pub struct TracedTransform {
    /// Which request.
    pub request: TracedRequest,
    /// Which transform.
    pub transform: Arc<str>,
    /// On which index.
    pub index: Arc<str>,
    /// How many of the request's records failed.
    pub failed: u64,
    /// Since when they had waited for it.
    pub began: Timestamp,
    /// When all of them had an outcome.
    pub ended: Timestamp,
}

impl TracedRequest {
    /// The request of a frame, if it is traced.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let context = TraceContext::sampled(frame.attributes.traceparent.as_deref()?)?;
        let Frame { position, records, request_id, .. } = frame;
        let caller = frame.attributes.caller.clone();
        Some(Self { context, first: *position, records: *records, request_id: *request_id, caller })
    }
}
