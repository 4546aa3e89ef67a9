//! Tests of the whole server over real sockets. The log behind it is a list in memory: nothing here is about
//! durability, which the log's own tests and the scenarios with real processes protect.

mod bounds;
mod frames;
mod fuzz;
mod original;
mod page;
mod permissions;
mod repeats;
mod requests;
mod stopping;
mod tls;
mod xfcc;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use plugin_api::identity::{LogId, Position, RequestId, Timestamp, Version};
use prost_types::{Struct, Value, value::Kind};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::*;
use crate::{
    config::{CallerRateLimit, Limits, NonIdempotent},
    contract::client::{
        ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
    },
    log::interface::{
        Append, AppendError, Appended, AtTime, ContentDigest, From, Gap, Idempotency, Located, Log,
        LogBounds, LogError, LogStatus, Progress, ReadError, Reader, Rewound, Subscription,
    },
    record::{Record, read_payload},
    runtime::{Shutdown, Tracer},
};

type Client = SyncServiceClient<Channel>;

/// A list that answers when it is allowed to, and fails when it is told to. As a log does, it answers repeats of what it
/// has accepted at once.
struct MemoryLog {
    appends: Mutex<Vec<Append>>,
    by_key: Mutex<HashMap<String, ([u8; 32], Appended)>>,
    gate: Semaphore,
    waiting: std::sync::atomic::AtomicUsize,
    failure: Mutex<Option<AppendError>>,
}

/// A running server.
struct Running {
    address: SocketAddr,
    log: Arc<MemoryLog>,
    gauge: Gauge,
    policy: Arc<Policy>,
    shutdown: Shutdown,
    refusals: Arc<Refusals>,
    serving: JoinHandle<()>,
}

fn limits() -> Limits {
    Limits {
        record_bytes_max: 1 << 20,
        request_bytes_max: 4 << 20,
        request_records_max: 10_000,
        indexes_max: 1000,
        non_idempotent_operations: NonIdempotent::Refuse,
        connections_max: 1000,
        connection_requests_max: 100,
        decoding_bytes_max: 64 << 20,
        receive_timeout: Duration::from_secs(10),
        transforms_bytes_max: 512 << 20,
        caller_rate_limit: CallerRateLimit::default(),
    }
}

/// Everybody may do everything, within these limits.
fn terms_of(limits: Limits) -> Terms {
    Terms { limits, permissions: Permissions::default(), entrance: Entrance::default() }
}

impl Running {
    fn start(limits: Limits) -> Self {
        let indexes = Indexes::new([]);
        Self::start_with(limits, indexes, MemoryLog::open())
    }

    fn start_with(limits: Limits, indexes: Indexes, log: Arc<MemoryLog>) -> Self {
        Self::start_at(Entrance::default(), limits, indexes, log)
    }

    fn start_at(entrance: Entrance, limits: Limits, indexes: Indexes, log: Arc<MemoryLog>) -> Self {
        let shutdown = Shutdown::default();
        let any_port = (Ipv4Addr::LOCALHOST, 0).into();
        let refusals = Arc::new(Refusals::default());
        let server = Server::bind(
            any_port,
            Terms { entrance, ..terms_of(limits) },
            indexes,
            refusals.clone(),
            log.clone(),
            Tracer::off(),
            shutdown.intake(),
        )
        .unwrap();
        let (address, gauge, policy) = (server.local_address(), server.gauge(), server.policy());
        Self { address, log, gauge, policy, shutdown, refusals, serving: tokio::spawn(server.serve()) }
    }

    /// Lets whoever comes from now on in by another entrance, as a reload does.
    fn enter_by(&self, entrance: Entrance) {
        self.policy.change(Terms { entrance, ..terms_of(limits()) });
    }

    async fn client(&self) -> Client {
        // Headers carry error details; the default limit is 16 KiB.
        Client::new(self.channel().await)
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// The callers of all requests that were appended, in their order.
    fn callers(&self) -> Vec<Option<String>> {
        let appends = self.log.appends.lock().unwrap();
        appends.iter().map(|append| append.attributes.caller.as_deref().map(str::to_owned)).collect()
    }

    /// The single request that was appended, as records.
    fn records(&self) -> Vec<Record> {
        let appends = self.log.appends.lock().unwrap();
        let [append] = &appends[..] else { panic!("{} requests were appended", appends.len()) };
        read_payload(&append.payload.clone().into(), append.records).unwrap()
    }
}

impl MemoryLog {
    fn open() -> Arc<Self> {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }

    /// Answers only as `gate` is given permits.
    fn closed() -> Arc<Self> {
        Self::with_permits(0)
    }

    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            appends: Mutex::default(),
            by_key: Mutex::default(),
            gate: Semaphore::new(permits),
            waiting: Default::default(),
            failure: Mutex::default(),
        })
    }

    fn waiting(&self) -> usize {
        self.waiting.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> LogId {
        LogId(Uuid::nil())
    }

    async fn append(&self, request: Append) -> Result<Appended, AppendError> {
        if let Some(repeated) = self.recall(&request).await? {
            return Ok(repeated);
        }
        self.waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        let idempotency = request.attributes.idempotency.clone();
        self.appends.lock().unwrap().push(request);
        let request_id = RequestId(Uuid::new_v4());
        let appended =
            Appended { request_id, position: Position::default(), version: Version(1), repeated: false };
        if let Some(Idempotency { key, digest }) = idempotency {
            self.by_key.lock().unwrap().insert(key, (digest, appended));
        }
        Ok(appended)
    }

    async fn recall(&self, request: &Append) -> Result<Option<Appended>, AppendError> {
        let Some(Idempotency { key, digest }) = &request.attributes.idempotency else { return Ok(None) };
        let Some((earlier, appended)) = self.by_key.lock().unwrap().get(key).copied() else {
            return Ok(None);
        };
        if earlier == *digest {
            return Ok(Some(Appended { repeated: true, ..appended }));
        }
        let (earlier, digest) = (ContentDigest::Whole(earlier), ContentDigest::Whole(*digest));
        Err(AppendError::KeyReused { earlier, digest, request_id: appended.request_id })
    }

    async fn read_from(&self, _: Position) -> Result<Box<dyn Reader>, ReadError> {
        unimplemented!()
    }

    async fn subscribe(&self, _: &str, _: From) -> Result<Subscription, LogError> {
        unimplemented!()
    }

    async fn commit(&self, _: &str, _: &Progress) -> Result<(), LogError> {
        unimplemented!()
    }

    async fn resume(&self, _: &str, _: From) -> Result<Gap, LogError> {
        unimplemented!()
    }

    async fn configure(&self, _: LogBounds) -> Result<(), LogError> {
        unimplemented!()
    }

    async fn leave(&self, _: &str) -> Result<(), LogError> {
        unimplemented!()
    }

    async fn forget(&self, _: &str) -> Result<(), LogError> {
        unimplemented!()
    }

    async fn rewind(&self, _: &str, _: From, _: bool) -> Result<Rewound, LogError> {
        unimplemented!()
    }

    async fn served(&self) -> Result<Vec<(String, Option<Progress>)>, LogError> {
        unimplemented!()
    }

    async fn at_time(&self, _: Timestamp) -> Result<AtTime, ReadError> {
        unimplemented!()
    }

    async fn gaps(&self, _: &str) -> Result<Vec<Gap>, LogError> {
        unimplemented!()
    }

    async fn give_back(&self) -> Result<(), LogError> {
        unimplemented!()
    }

    async fn locate(&self, _: RequestId) -> Result<Located, ReadError> {
        unimplemented!()
    }

    fn status(&self) -> LogStatus {
        unimplemented!()
    }

    async fn close(&self) {}
}

fn text(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn payload(object_id: &str, data: Struct) -> SyncPayload {
    SyncPayload { object_id: object_id.into(), data: Some(data) }
}

fn save(payloads: Vec<SyncPayload>) -> UpsertObjectsRequest {
    UpsertObjectsRequest {
        index_name: "products".into(),
        action_type: ActionType::SaveObject as i32,
        payloads,
        idempotency_key: String::new(),
    }
}

/// A request of one small record.
fn small() -> UpsertObjectsRequest {
    save(vec![payload("1", object([("name", text("Lamp"))]))])
}

/// The violations that a status carries, each as `field description`.
fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let bad_request = details.bad_request().expect("a BadRequest");
    bad_request.field_violations.iter().map(|it| format!("{} {}", it.field, it.description)).collect()
}

fn retry_after(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info().and_then(|info| info.retry_delay)
}

/// Polls until `condition` holds; gives up after ten seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
