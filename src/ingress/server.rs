//! The gRPC server: our service, health and reflection behind one listener, and its end.
//!
//! What clients can make it hold is at most `limits.decoding_bytes_max` for requests, plus
//! [`CONNECTION_WINDOW_BYTES`] for each of `limits.connections_max` connections, which HTTP/2 lets a client send
//! before anybody reads it.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use thiserror::Error;
use tokio::{net::TcpSocket, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    budget::Budget,
    connections::Connections,
    indexes::Indexes,
    intake::{Gate, Intake},
    service::{UpsertService, Upserts},
};
use crate::{
    config::Limits,
    contract::{DESCRIPTOR_SET, SERVICE_NAME, server::sync_service_server::SyncServiceServer},
    log::interface::Log,
    runtime::Stop,
};

/// A gRPC server that listens and does not accept yet.
pub struct Server {
    listener: tokio::net::TcpListener,
    local_address: SocketAddr,
    services: Services,
    limits: Limits,
    health: HealthReporter,
    appends: TaskTracker,
    stop: Stop,
    gauge: Gauge,
}

/// Tells how many bytes requests hold.
#[derive(Clone, Debug)]
pub struct Gauge(Budget);

/// Why there is no server.
#[derive(Debug, Error)]
pub enum BindError {
    /// The operating system refused the address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// From `listen.grpc`.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// The descriptors for reflection are broken, which is a defect of the build.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What a client may send on one stream before anybody reads it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for a whole connection: a request that waits for the budget does not hold up the others there.
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// Metadata of one request, uncompressed.
const HEADER_BYTES_MAX: u32 = 8 * 1024;
/// Health and reflection take a name.
const SMALL_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// How long clients have, once every append is answered, to take their answers and hang up.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many connections the kernel holds until they are accepted.
const ACCEPT_BACKLOG: u32 = 1024;

const UPSERT_OBJECTS: &str = "/sync.v1.SyncService/UpsertObjects";

impl Server {
    /// Listens on `address`; port 0 takes any free one. `stop` begins the end, see [`Server::serve`].
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(
        address: SocketAddr,
        limits: Limits,
        indexes: Indexes,
        log: Arc<dyn Log>,
        stop: Stop,
    ) -> Result<Self, BindError> {
        let listen = || {
            let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
            // A restart must not wait for the old connections' TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(ACCEPT_BACKLOG)?;
            let local_address = listener.local_addr()?;
            Ok((listener, local_address))
        };
        let (listener, local_address) = listen().map_err(|source| BindError::Listen { address, source })?;

        let budget = Budget::new(limits.decoding_bytes_max);
        let gauge = Gauge(budget.clone());
        let gate = Gate::new(budget, limits.request_bytes_max, limits.receive_timeout, stop.clone());
        let (health, health_server) = tonic_health::server::health_reporter();
        let appends = TaskTracker::new();
        let upserts = Upserts {
            limits: limits.clone(),
            indexes,
            log,
            health: health.clone(),
            stop: stop.clone(),
            appends: appends.clone(),
        };
        let services = Services::new(gate, upserts, health_server)?;
        Ok(Self { listener, local_address, services, limits, health, appends, stop, gauge })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Tells how many bytes requests hold.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Serves until `stop` is cancelled. Then health says NOT_SERVING and new requests get UNAVAILABLE, until every
    /// append that has begun is finished and answered; then the connections are closed.
    pub async fn serve(self) {
        self.health.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
        let (cut, drained) = (CancellationToken::new(), CancellationToken::new());
        let Limits { connections_max, receive_timeout, connection_requests_max, .. } = self.limits;
        let connections = Connections::new(self.listener, connections_max, receive_timeout, cut.clone());
        let drain = {
            let (health, stop, appends, drained) = (self.health, self.stop, self.appends, drained.clone());
            async move {
                stop.cancelled().await;
                health.set_service_status("", ServingStatus::NotServing).await;
                health.set_service_status(SERVICE_NAME, ServingStatus::NotServing).await;
                appends.close();
                appends.wait().await;
                drained.cancel();
            }
        };
        let serve = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(connection_requests_max)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            // Closes a connection that stalls within a frame; clients that are idle answer the ping.
            .http2_keepalive_interval(Some(receive_timeout))
            .http2_keepalive_timeout(Some(receive_timeout))
            .serve_with_incoming_shutdown(self.services, connections, drain);
        let mut serve = std::pin::pin!(serve);
        tokio::select! {
            // Drives the server; it ends by itself once every client has hung up after `drain`.
            biased;
            _ = &mut serve => return,
            () = drained.cancelled() => {}
        }
        // A health watch never ends of its own, and an upload may stall: their connections are cut.
        if timeout(FAREWELL, &mut serve).await.is_err() {
            cut.cancel();
            let _ = serve.await;
        }
    }
}

impl Gauge {
    /// Bytes that requests hold now; never more than `limits.decoding_bytes_max`.
    #[must_use]
    pub fn leased_bytes(&self) -> usize {
        self.0.leased()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
type Rare = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Dispatches by path.
#[derive(Clone)]
struct Services {
    upserts: Intake<SyncServiceServer<UpsertService>>,
    health: Rare,
    reflection_v1: Rare,
    reflection_v1alpha: Rare,
}

impl Services {
    fn new(
        gate: Gate,
        upserts: Upserts,
        health: HealthServer<impl Health>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        // Ours is checked by the gate, which answers in our words.
        let upserts =
            SyncServiceServer::new(UpsertService(Arc::new(upserts))).max_decoding_message_size(usize::MAX);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1()?.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX);
        let v1alpha = reflection().build_v1alpha()?.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX);
        let health = health.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX);
        Ok(Self {
            upserts: Intake::new(gate, upserts),
            health: BoxCloneSyncService::new(health),
            reflection_v1: BoxCloneSyncService::new(v1),
            reflection_v1alpha: BoxCloneSyncService::new(v1alpha),
        })
    }
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each of them is always ready; `oneshot` asks again.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let path = request.uri().path();
        if path == UPSERT_OBJECTS {
            return self.upserts.call(request);
        }
        let rare = match path.split('/').nth(1) {
            Some("grpc.health.v1.Health") => &self.health,
            Some("grpc.reflection.v1.ServerReflection") => &self.reflection_v1,
            Some("grpc.reflection.v1alpha.ServerReflection") => &self.reflection_v1alpha,
            _ => {
                let status = Status::unimplemented(format!("there is no method {path}"));
                return Box::pin(async { Ok(status.into_http()) });
            }
        };
        Box::pin(rare.clone().oneshot(request))
    }
}
