//! What a lane tells of the requests that their producers trace: the transform, each attempt to deliver, and the delivery of a
//! request from when the lane has read it until the last of its records is settled.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use plugin_api::{
    identity::Timestamp,
    operation::Operation,
    verdict::{Verdict, WriteError},
};

use super::tracker::Tracker;
use crate::{
    feed::{TracedRequest, TracedTransform},
    runtime::{Attribute, Span, SpanId, SpanKind, TraceContext, Tracer},
};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: Tracer,
    destination: Arc<str>,
    /// Requests that are on their way, by the offset of their first record.
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// The offset after the last record.
    end: u64,
    /// Under which the delivery hangs.
    accept: TraceContext,
    delivery: SpanId,
    request_id: String,
    caller: Option<Arc<str>>,
    began: Timestamp,
    attempts: u64,
    rejected: u64,
}

/// One request's share of an attempt.
#[derive(Debug, Default)]
struct Share {
    operations: u64,
    written: u64,
    superseded: u64,
    retried: u64,
    rejected: u64,
    error: Option<String>,
}

/// Of so many requests a lane keeps in mind that they are traced; more are delivered all the same.
const OPEN_MAX: usize = 256;

impl Spans {
    pub(super) fn new(tracer: Tracer, destination: Arc<str>) -> Self {
        Self { tracer, destination, open: BTreeMap::new() }
    }

    /// These were read and go to this destination.
    pub(super) fn enter(&mut self, requests: Vec<TracedRequest>) {
        if requests.is_empty() || !self.tracer.is_on() {
            return;
        }
        let began = self.tracer.now();
        for TracedRequest { context, first, records, request_id, caller } in requests {
            if self.open.len() >= OPEN_MAX {
                self.tracer.drop_spans(1);
                continue;
            }
            let open = Open {
                end: first.offset + u64::from(records),
                accept: context.under(SpanId::of_accept(request_id)),
                delivery: SpanId::of(request_id, &self.destination),
                request_id: request_id.to_string(),
                caller,
                began,
                attempts: 0,
                rejected: 0,
            };
            self.open.insert(first.offset, open);
        }
    }

    /// A transform has run on records of these.
    pub(super) fn transformed(&self, transforms: Vec<TracedTransform>) {
        for transform in transforms {
            let TracedTransform { request, transform, index, failed, began, ended } = transform;
            let accept = SpanId::of_accept(request.request_id);
            let records = u64::from(request.records);
            let attributes = vec![
                ("transform", Attribute::text(&transform)),
                ("index", Attribute::text(index)),
                ("records", Attribute::Number(records)),
                ("failed", Attribute::Number(failed)),
            ];
            self.tracer.tell(Span {
                parent: request.context.under(accept),
                id: SpanId::random(),
                name: format!("transform {transform}").into(),
                kind: SpanKind::Internal,
                began,
                ended,
                attributes: with_caller(attributes, request.caller.as_ref()),
                error: (failed > 0).then(|| format!("{failed} of {records} records failed")),
            });
        }
    }

    /// Whether nothing that is on its way is traced.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A batch was answered so, after so long; some operations are none of these requests'.
    pub(super) fn answered(
        &mut self,
        operations: &[Operation],
        is_others: impl Fn(&Operation) -> bool,
        answer: &Result<Vec<Verdict>, WriteError>,
        took: Duration,
    ) {
        let mut shares: BTreeMap<u64, Share> = BTreeMap::new();
        for (at, operation) in operations.iter().enumerate().filter(|(_, operation)| !is_others(operation)) {
            let offset = operation.source.position.offset;
            let Some((first, _)) =
                self.open.range(..=offset).next_back().filter(|(_, open)| offset < open.end)
            else {
                continue;
            };
            shares.entry(*first).or_default().add(answer.as_ref().map(|verdicts| verdicts.get(at)));
        }
        let ended = self.tracer.now();
        let began = Timestamp(ended.0.saturating_sub(u64::try_from(took.as_micros()).unwrap_or(0)));
        for (first, share) in shares {
            let Some(open) = self.open.get_mut(&first) else { continue };
            open.attempts += 1;
            open.rejected += share.rejected;
            let number = |name, value| (name, Attribute::Number(value));
            let attributes = vec![
                ("destination", Attribute::text(&self.destination)),
                number("attempt", open.attempts),
                number("operations", share.operations),
                number("written", share.written),
                number("superseded", share.superseded),
                number("retried", share.retried),
                number("rejected", share.rejected),
            ];
            self.tracer.tell(Span {
                parent: open.accept.under(open.delivery),
                id: SpanId::random(),
                name: "attempt".into(),
                kind: SpanKind::Client,
                began,
                ended,
                attributes: with_caller(attributes, open.caller.as_ref()),
                error: share.error,
            });
        }
    }

    /// Tells of every request of which all records are settled now.
    pub(super) fn close_settled(&mut self, tracker: &Tracker) {
        if self.open.is_empty() {
            return;
        }
        let settled = self.open.extract_if(.., |first, open| tracker.is_settled(*first, open.end));
        let settled: Vec<Open> = settled.map(|(_, open)| open).collect();
        settled.into_iter().for_each(|open| self.close(open, None));
    }

    /// Nothing that is on its way will be delivered.
    pub(super) fn give_up(&mut self, why: &str) {
        let open = std::mem::take(&mut self.open);
        open.into_values().for_each(|open| self.close(open, Some(why.to_owned())));
    }

    fn close(&self, open: Open, error: Option<String>) {
        let Open { accept, delivery, request_id, caller, began, attempts, rejected, .. } = open;
        let rejections = (rejected > 0).then(|| format!("{rejected} operations were rejected"));
        let attributes = vec![
            ("destination", Attribute::text(&self.destination)),
            ("request_id", Attribute::Text(request_id)),
            ("attempts", Attribute::Number(attempts)),
            ("rejected", Attribute::Number(rejected)),
        ];
        self.tracer.tell(Span {
            parent: accept,
            id: delivery,
            name: format!("deliver {}", self.destination).into(),
            kind: SpanKind::Internal,
            began,
            ended: self.tracer.now(),
            attributes: with_caller(attributes, caller.as_ref()),
            error: error.or(rejections),
        });
    }
}

/// And who sent the request, where that is known.
fn with_caller(
    mut attributes: Vec<(&'static str, Attribute)>,
    caller: Option<&Arc<str>>,
) -> Vec<(&'static str, Attribute)> {
    attributes.extend(caller.map(|caller| ("caller", Attribute::text(caller))));
    attributes
}

impl Share {
    fn add(&mut self, verdict: Result<Option<&Verdict>, &WriteError>) {
        self.operations += 1;
        let reason = match verdict {
            Ok(Some(Verdict::Written)) => {
                self.written += 1;
                return;
            }
            Ok(Some(Verdict::Superseded)) => {
                self.superseded += 1;
                return;
            }
            Ok(Some(Verdict::Reject(reason))) => {
                self.rejected += 1;
                reason.to_string()
            }
            Ok(Some(Verdict::Retry(reason))) => {
                self.retried += 1;
                reason.to_string()
            }
            // An answer without its verdict is an error before it comes here.
            Ok(None) => return,
            Err(error) => {
                self.retried += 1;
                if self.error.is_some() {
                    return;
                }
                error.to_string()
            }
        };
        self.error.get_or_insert(reason);
    }
}
