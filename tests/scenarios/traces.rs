//! What a collector of OpenTelemetry is told: by its own types, over a real socket.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use fakes::algolia::{Fault, HostState};
use harness::{
    contract::{Action, SyncPayload, UPSERT_OBJECTS, UpsertObjectsRequest, UpsertObjectsResponse},
    guests::stamps,
    metrics::scrape,
    process::Agent,
};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data},
    trace::v1::{Span, span::SpanKind},
};
use sync_agent::telemetry::metrics::FAMILIES;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use crate::support::{DEADLINE, IMPATIENT, eventually, fake, setup};

/// A collector that keeps what it is told.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<Metric>>>,
    /// It answers nothing.
    hangs: Arc<AtomicBool>,
}

impl Collector {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (collector, address) = (Self::default(), listener.local_addr().unwrap());
        let (traces, metrics) = (collector.clone(), collector.clone());
        tokio::spawn(async move {
            let router = Server::builder().add_service(TraceServiceServer::new(traces));
            let router = router.add_service(MetricsServiceServer::new(metrics));
            router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        (collector, address)
    }

    /// Everything that it was told.
    pub(crate) fn told(&self) -> String {
        format!("{:?} {:?}", self.spans.lock().unwrap(), self.metrics.lock().unwrap())
    }

    /// The spans of a trace, in the order of their beginning.
    fn spans_of(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap().clone();
        let mut spans: Vec<_> = spans.into_iter().filter(|span| hex(&span.trace_id) == trace).collect();
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        spans
    }

    async fn until(&self, trace: &str, what: &str, is: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        eventually(what, || std::future::ready(is(&self.spans_of(trace)))).await;
        self.spans_of(trace)
    }

    async fn answer<T: Default>(&self) -> Result<Response<T>, Status> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        for of_resource in resources {
            let attributes = of_resource.resource.unwrap().attributes;
            assert_eq!(text(&attributes, "service.name"), "sync-agent");
            assert!(!text(&attributes, "service.instance.id").is_empty());
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        self.answer().await
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        *self.metrics.lock().unwrap() = scopes.flat_map(|scope| scope.metrics).collect();
        self.answer().await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value =
        attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2 && !status.message.is_empty())
}

/// Sends one object, by a producer whose span is this one.
pub(crate) async fn save(agent: &Agent, index: &str, traceparent: Option<&str>) -> Result<String, Status> {
    let channel = Endpoint::from_shared(format!("http://{}", agent.address())).unwrap().connect_lazy();
    // An object of its own, so that none takes the place of another that waits.
    let object_id = traceparent.unwrap_or("untraced").to_owned();
    let payloads = vec![SyncPayload { object_id, data: Some(prost_types::Struct::default()) }];
    let message =
        UpsertObjectsRequest { index_name: index.to_owned(), action_type: Action::Save as i32, payloads };
    let mut request = Request::new(message);
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<_, UpsertObjectsResponse>::default();
    let answer = client.unary(request, UPSERT_OBJECTS.parse().unwrap(), codec).await?;
    Ok(answer.into_inner().request_id)
}

const PARENT: &str = "b7ad6b7169203331";

fn trace(number: u8) -> String {
    format!("0af7651916cd43dd8448eb211c8031{number:02x}")
}

pub(crate) fn sampled(number: u8) -> String {
    format!("00-{}-{PARENT}-01", trace(number))
}

/// Scenario: a traced request passes a transform and goes to a file and to an Algolia that fails twice; others are not
/// sampled, or not traced, or refused. Another is accepted while Algolia is down, and the agent is killed. The collector
/// is changed for another, and hangs.
///
/// Protects that a producer finds in one trace, its own, all that became of the request, retries included and over a
/// restart; that only what producers sample is told; and that deliveries never wait for a collector.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_tells_all_that_became_of_a_request() {
    let (collector, address) = Collector::start().await;
    let search = fake().await;
    let setup = setup().file("archive").algolia("search", &search.url()).config(IMPATIENT);
    let module = setup.directory().join("stamps.wasm");
    fs::write(&module, stamps(1)).unwrap();
    let config = format!(
        "[telemetry]\notlp = \"http://{address}\"\n[[indexes]]\nmatch = \"*\"\ndestinations = [\"archive\", \"search\"]\n\
         transform = \"stamps\"\n[transforms.stamps]\npath = {module:?}\n"
    );
    let mut agent = setup.config(&config).start().await.unwrap();

    search.fail_next(2, Fault::Refused { status: 503, message: "later".to_owned() });
    let request_id = save(&agent, "products", Some(&sampled(1))).await.unwrap();
    let whole = |spans: &[Span]| {
        ["deliver archive", "deliver search", "transform stamps", "accept"]
            .iter()
            .all(|name| named(spans, name).len() == 1)
    };
    let spans = collector.until(&trace(1), "the trace is whole", whole).await;
    tells_all(&spans, &request_id);
    // Only now, so that the failures were the first one's.
    save(&agent, "products", Some(&sampled(2).replace("-01", "-00"))).await.unwrap();
    save(&agent, "products", None).await.unwrap();
    assert!(save(&agent, "", Some(&sampled(3))).await.is_err());
    let refused = collector.until(&trace(3), "the refusal is told", |spans| spans.len() == 1).await;
    assert!(refused[0].name == "accept" && failed(&refused[0]) && refused[0].kind == SpanKind::Server as i32);
    let traces: BTreeSet<_> =
        collector.spans.lock().unwrap().iter().map(|span| hex(&span.trace_id)).collect();
    assert_eq!(traces, [trace(1), trace(3)].into(), "nothing of what is not sampled");
    metrics_are_told(&collector).await;

    // Over a restart.
    search.set_hosts(HostState::Refusing).await.unwrap();
    save(&agent, "products", Some(&sampled(4))).await.unwrap();
    let accepted = |spans: &[Span]| !named(spans, "accept").is_empty() && !named(spans, "attempt").is_empty();
    collector.until(&trace(4), "it is accepted and tried", accepted).await;
    agent.kill();
    search.set_hosts(HostState::Serving).await.unwrap();
    agent.restart().await.unwrap();
    let delivered = |spans: &[Span]| named(spans, "deliver search").len() == 1;
    let spans = collector.until(&trace(4), "it is delivered after the restart", delivered).await;
    assert_eq!(only(&spans, "deliver search").parent_span_id, only(&spans, "accept").span_id);

    // Another collector, without a restart; then one that hangs.
    let (other, address_of_other) = Collector::start().await;
    let path = agent.directory().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&address.to_string(), &address_of_other.to_string())).unwrap();
    assert!(agent.execute(&["reload"]).status.success());
    save(&agent, "products", Some(&sampled(5))).await.unwrap();
    other.until(&trace(5), "the other one is told", whole).await;
    assert_eq!(collector.spans_of(&trace(5)), []);
    other.hangs.store(true, Ordering::Relaxed);
    for number in 6..100 {
        save(&agent, "products", Some(&sampled(number))).await.unwrap();
    }
    let labels = [("destination", "search")];
    eventually("all is delivered", async || {
        scrape(agent.http_address()).await.value("sync_agent_lag_records", &labels) == 0.0
    })
    .await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success(), "it does not wait for the collector either");
    assert_eq!(agent.dead_letters(), []);
}

/// Accept under the producer's span, everything else under accept, attempts under their delivery.
fn tells_all(spans: &[Span], request_id: &str) {
    let accept = only(spans, "accept");
    assert_eq!((hex(&accept.parent_span_id).as_str(), accept.kind), (PARENT, SpanKind::Server as i32));
    assert_eq!(text(&accept.attributes, "request_id"), request_id);
    assert_eq!(
        (text(&accept.attributes, "index"), text(&accept.attributes, "records")),
        ("products".into(), "1".into())
    );
    for (name, attempts) in [("deliver archive", 1), ("deliver search", 3)] {
        let delivery = only(spans, name);
        assert_eq!((&delivery.parent_span_id, failed(delivery)), (&accept.span_id, false), "{name}");
        assert_eq!(text(&delivery.attributes, "attempts"), attempts.to_string());
        let own: Vec<_> = spans.iter().filter(|span| span.parent_span_id == delivery.span_id).collect();
        assert_eq!(own.len(), attempts, "{name}: {own:#?}");
        for (number, attempt) in own.iter().enumerate() {
            let last = number + 1 == attempts;
            assert_eq!((failed(attempt), attempt.kind), (!last, SpanKind::Client as i32), "{attempt:#?}");
            assert_eq!(text(&attempt.attributes, "attempt"), (number + 1).to_string());
            assert_eq!(text(&attempt.attributes, "written"), u8::from(last).to_string());
            assert!(attempt.start_time_unix_nano >= delivery.start_time_unix_nano - 1_000);
            assert!(attempt.end_time_unix_nano <= delivery.end_time_unix_nano);
        }
    }
    let transform = only(spans, "transform stamps");
    assert_eq!((&transform.parent_span_id, failed(transform)), (&accept.span_id, false));
    assert_eq!(spans.len(), 1 + 1 + 2 + 4, "{spans:#?}");
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "each has an id of its own");
    assert!(spans.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
}

async fn metrics_are_told(collector: &Collector) {
    let appends = || {
        let metrics = collector.metrics.lock().unwrap().clone();
        let found = metrics.into_iter().find(|metric| metric.name == "sync_agent_log_appends_total");
        found.map(|metric| match metric.data {
            Some(Data::Sum(sum)) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
                match sum.data_points[0].value {
                    Some(Value::AsDouble(value)) => value,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        })
    };
    eventually("the metrics are told", || std::future::ready(appends() == Some(3.0))).await;
    let metrics = collector.metrics.lock().unwrap().clone();
    for metric in metrics {
        let family = FAMILIES.iter().find(|family| family.name == metric.name).unwrap();
        assert_eq!(metric.description, family.help);
        if let Some(Data::Histogram(histogram)) = metric.data {
            for point in histogram.data_points {
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{}", family.name);
            }
        }
    }
}
