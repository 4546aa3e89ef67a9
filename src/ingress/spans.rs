//! What ingress tells of a request whose producer traces it.

use std::sync::Arc;

use plugin_api::identity::Timestamp;
use tonic::Status;

use super::validate::Origin;
use crate::{
    log::interface::Appended,
    runtime::{Attribute, Span, SpanId, SpanKind, TraceContext, Tracer},
};

/// A request that is traced.
#[derive(Debug)]
pub(crate) struct Traced {
    context: TraceContext,
    caller: Option<Arc<str>>,
    began: Timestamp,
}

impl Traced {
    /// From now on, if its producer samples it and anybody wants to know.
    pub(crate) fn of(tracer: &Tracer, origin: &Origin) -> Option<Self> {
        let context = tracer.sampled(origin.traceparent.as_deref())?;
        Some(Self { context, caller: origin.caller.clone(), began: tracer.now() })
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
        mut attributes: Vec<(&'static str, Attribute)>,
        error: Option<String>,
    ) {
        attributes.extend(self.caller.as_ref().map(|caller| ("caller", Attribute::text(caller))));
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

#[cfg(test)]
mod tests {
    use plugin_api::identity::{Position, RequestId, Version};
    use uuid::Uuid;

    use super::*;

    /// The span of a request says who sent it, whether it was accepted or not, where that is known.
    #[test]
    fn a_span_names_the_caller() {
        let (tracer, mut spans) = Tracer::new();
        tracer.switch(true);
        let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        let request_id = RequestId(Uuid::from_u128(8));
        let (position, version) = (Position::default(), Version(1));
        let appended = Appended { request_id, position, version, repeated: false };
        for caller in [Some("spiffe://mesh/shop"), None] {
            let origin = Origin { caller: caller.map(Into::into), traceparent: traceparent.clone() };
            let traced = || Traced::of(&tracer, &origin).unwrap();
            traced().refused(&tracer, &Status::invalid_argument("odd"), None);
            traced().accepted(&tracer, &appended, "products", 1);
            for _ in 0..2 {
                let told = spans.try_recv().unwrap().attributes;
                let named = told.into_iter().find(|(name, _)| *name == "caller").map(|(_, value)| value);
                assert_eq!(named, caller.map(Attribute::text));
            }
        }
    }
}
