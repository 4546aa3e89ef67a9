//! The gRPC server: our service, health and reflection behind one listener, and its end.
//!
//! What clients can make it hold is at most `limits.decoding_bytes_max` for requests, plus
//! [`CONNECTION_WINDOW_BYTES`] for each of `limits.connections_max` connections, which HTTP/2 lets a client send
//! before anybody reads it, and a few TLS records of 16 KiB for each that is not plain.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    budget::Budget,
    caller_rates::CallerRates,
    connections::Connections,
    dispatch::Services,
    indexes::Indexes,
    intake::Gate,
    meters::Meters,
    policy::{Policy, Terms},
    refusals::Refusals,
    service::Upserts,
};
use crate::{
    config::Limits,
    contract::SERVICE_NAME,
    log::interface::Log,
    runtime::{Stop, Tracer},
};

/// A gRPC server that listens and does not accept yet.
pub struct Server {
    listener: TcpListener,
    local_address: SocketAddr,
    services: Services,
    limits: Limits,
    policy: Arc<Policy>,
    health: HealthReporter,
    appends: TaskTracker,
    stop: Stop,
    gauge: Gauge,
    meters: Arc<Meters>,
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
/// How long clients have, once every append is answered, to take their answers and hang up.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many connections the kernel holds until they are accepted.
const ACCEPT_BACKLOG: u32 = 1024;

impl Server {
    /// Listens on `address`; port 0 takes any free one. `stop` begins the end, see [`Server::serve`].
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(
        address: SocketAddr,
        terms: Terms,
        indexes: Indexes,
        refusals: Arc<Refusals>,
        log: Arc<dyn Log>,
        tracer: Tracer,
        stop: Stop,
    ) -> Result<Self, BindError> {
        let (listener, local_address) =
            listen(address).map_err(|source| BindError::Listen { address, source })?;

        let limits = terms.limits.clone();
        let budget = Budget::new(limits.decoding_bytes_max);
        let gauge = Gauge(budget.clone());
        let policy = Policy::new(terms);
        let gate = Gate::new(budget, policy.clone(), limits.receive_timeout);
        let (health, health_server) = tonic_health::server::health_reporter();
        let (appends, meters) = (TaskTracker::new(), Arc::new(Meters::default()));
        let upserts = Upserts {
            policy: policy.clone(),
            rates: CallerRates::default(),
            indexes,
            refusals,
            log,
            health: health.clone(),
            stop: stop.clone(),
            appends: appends.clone(),
            meters: meters.clone(),
            tracer,
            decoders: Semaphore::new(available_parallelism().map_or(1, usize::from)),
        };
        let services = Services::new(gate, upserts, health_server, &limits)?;
        Ok(Self { listener, local_address, services, limits, policy, health, appends, stop, gauge, meters })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// On what terms it accepts requests.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }

    /// Tells how many bytes requests hold.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// What it counts and measures of requests.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        self.meters.clone()
    }

    /// Serves until `stop` is cancelled. Then health says NOT_SERVING and new requests get UNAVAILABLE, until every
    /// append that has begun is finished and answered; then the connections are closed.
    pub async fn serve(self) {
        self.health.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
        let (cut, drained) = (CancellationToken::new(), CancellationToken::new());
        let Limits { connections_max, receive_timeout, connection_requests_max, .. } = self.limits;
        let connections =
            Connections::new(self.listener, self.policy, connections_max, receive_timeout, cut.clone());
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
            // A client may cancel all its calls at once, and open as many anew, without losing the connection.
            .http2_max_pending_accept_reset_streams(Some(2 * connection_requests_max as usize))
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            // Closes a connection that stalls within a frame; clients that are idle answer the ping.
            .http2_keepalive_interval(Some(receive_timeout))
            .http2_keepalive_timeout(Some(receive_timeout))
            .serve_with_incoming_shutdown(self.services, connections, drain);
        let mut serve = std::pin::pin!(serve);
        tokio::select! {
            // Drives the server; it ends by itself once every client has hung up after `drain`.
            biased;
            ended = &mut serve => return report(ended),
            () = drained.cancelled() => {}
        }
        let ended = match timeout(FAREWELL, &mut serve).await {
            Ok(ended) => ended,
            // A health watch never ends of its own, and an upload may stall: their connections are cut.
            Err(_) => {
                cut.cancel();
                serve.await
            }
        };
        report(ended);
    }
}

impl Gauge {
    /// Bytes that requests hold now; never more than `limits.decoding_bytes_max`.
    #[must_use]
    pub fn leased_bytes(&self) -> usize {
        self.0.leased()
    }
}

fn report(ended: Result<(), tonic::transport::Error>) {
    if let Err(error) = ended {
        tracing::error!(%error, "gRPC server failed");
    }
}

/// Listens on the address; on every address of a machine without IPv6, that is every IPv4 address.
fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let bound = match (bind(address), address) {
        (Err(error), SocketAddr::V6(v6))
            if v6.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse =>
        {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, v6.port())))
        }
        (bound, _) => bound,
    };
    let listener = bound?.listen(ACCEPT_BACKLOG)?;
    let local_address = listener.local_addr()?;
    Ok((listener, local_address))
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
