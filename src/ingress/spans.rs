//! What ingress tells of a request whose producer traces it.

use plugin_api::identity::Timestamp;
use tonic::Status;

use crate::{
    log::interface::Appended,
    runtime::{Attribute, Span, SpanId, SpanKind, TraceContext, Tracer},
};

/// A request that is traced.
#[derive(Debug)]
pub(crate) struct Traced {
    context: TraceContext,
    began: Timestamp,
}

impl Traced {
    /// From now on, if its producer samples it and anybody wants to know.
    pub(crate) fn of(tracer: &Tracer, traceparent: Option<&str>) -> Option<Self> {
        tracer.sampled(traceparent).map(|context| Self { context, began: tracer.now() })
    }

    /// It is safe on disk. What becomes of it hangs under this span, but under that of the first where it is a repeat.
    pub(crate) fn accepted(self, tracer: &Tracer, appended: &Appended, index: &str, records: u32) {
        let request_id = appended.request_id;
        let id = if appended.repeated { SpanId::random() } else { SpanId::of_accept(request_id) };
        let attributes = vec![
            ("index", Attribute::text(index)),
            ("records", Attribute::Number(records.into())),
            ("request_id", Attribute::text(request_id)),
            ("repeated", Attribute::text(appended.repeated)),
        ];
        self.tell(tracer, id, attributes, None);
    }

    /// It is not accepted; its index and records if they could be read.
    pub(crate) fn refused(&self, tracer: &Tracer, status: &Status, of: Option<(&str, u32)>) {
        let mut attributes = vec![("code", Attribute::text(status.code()))];
        if let Some((index, records)) = of {
            attributes
                .extend([("index", Attribute::text(index)), ("records", Attribute::Number(records.into()))]);
        }
        self.tell(tracer, SpanId::random(), attributes, Some(status.message().to_owned()));
    }

    fn tell(
        &self,
        tracer: &Tracer,
        id: SpanId,
        attributes: Vec<(&'static str, Attribute)>,
        error: Option<String>,
    ) {
        tracer.tell(Span {
            parent: self.context,
            id,
            name: "accept".into(),
            kind: SpanKind::Server,
            began: self.began,
            ended: tracer.now(),
            attributes,
            error,
        });
    }
}
