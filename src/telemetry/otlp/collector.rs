//! A collector, asked over gRPC.

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::Duration;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::messages::{
    ExportMetrics, ExportTraces, Exported, Metric, Resource, ResourceMetrics, ResourceSpans, Scope,
    ScopeMetrics, ScopeSpans, Span, text,
};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    channel: Channel,
    resource: Resource,
}

impl Collector {
    /// The collector at an address of the config. Nothing is connected yet; `None` if it is no address.
    pub(super) fn new(address: &str, instance: &str) -> Option<Self> {
        let endpoint = Endpoint::from_shared(address.to_owned()).ok()?;
        let channel = endpoint.connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN).connect_lazy();
        let attributes = vec![
            text("service.name", "sync-agent"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", instance),
        ];
        Some(Self { channel, resource: Resource { attributes } })
    }

    pub(super) async fn take_spans(&self, spans: Vec<Span>) -> Result<(), Status> {
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
        let of_agent = ResourceSpans { resource: Some(self.resource.clone()), scope_spans };
        self.export(TRACES, ExportTraces { resource_spans: vec![of_agent] }).await
    }

    pub(super) async fn take_metrics(&self, metrics: Vec<Metric>) -> Result<(), Status> {
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
        let of_agent = ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics };
        self.export(METRICS, ExportMetrics { resource_metrics: vec![of_agent] }).await
    }

    async fn export(&self, path: &'static str, request: impl Message + 'static) -> Result<(), Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<_, Exported>::default();
        client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await.map(drop)
    }
}

/// Whether what was refused so may be sent again
/// (<https://opentelemetry.io/docs/specs/otlp/#failures>).
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    )
}

fn scope() -> Scope {
    Scope { name: "sync-agent".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
