//! `/metrics` for a scraper, `/healthz` and `/readyz` for whoever runs the agent, on a port that anybody who reaches it may
//! read. Nothing can be changed here, and no record, key or error text is shown.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use axum::{Router, body::Body, extract::State, response::Response, routing::get};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::metrics::{Exposition, Format, Sink};
use crate::runtime::{
    Stop, TaskKind, Tasks,
    connections::{self, Listener},
};

/// What is looked at.
#[async_trait]
pub trait Observed: Send + Sync + 'static {
    /// Adds every sample there is.
    async fn metrics(&self, out: &mut dyn Sink);

    /// Why no requests should be sent here, in words; `None` if they should.
    fn unready(&self) -> Option<&'static str>;
}

/// A port that listens and does not accept yet.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why there is no port.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address}, the config's listen.http: {source} (choose another port there, or \"off\")"
)]
pub struct PortError {
    /// From `listen.http`.
    address: SocketAddr,
    /// What the operating system said.
    source: io::Error,
}

/// Those who look.
struct Observers {
    listener: TcpListener,
    router: Router,
}

impl Port {
    /// Listens there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn bind(address: SocketAddr) -> Result<Self, PortError> {
        let refused = |source| PortError { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let listener = TcpListener::from_std(listener).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the stop.
    pub fn start(self, observed: Arc<dyn Observed>, stop: Stop, tasks: &Tasks) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || text(StatusCode::OK, "alive")))
            .route("/readyz", get(ready))
            .fallback(async || text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz"))
            .with_state(observed);
        let observers = Observers { listener: self.listener, router };
        tasks.spawn(TaskKind::Telemetry, "http", connections::accept(observers, stop, tasks.clone()));
    }
}

impl Listener for Observers {
    type Connection = TcpStream;

    const WHAT: &str = "metrics and health";
    const KIND: TaskKind = TaskKind::Telemetry;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    fn serve(&self, stream: TcpStream, stop: Stop) -> impl Future<Output = ()> + Send + 'static {
        let router = self.router.clone();
        let answer = move |request: Request<Incoming>| router.clone().oneshot(request.map(Body::new));
        connections::serve(stream, answer, stop)
    }
}

async fn metrics(State(observed): State<Arc<dyn Observed>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::of(accept);
    let mut out = Exposition::new(format);
    observed.metrics(&mut out).await;
    answer(StatusCode::OK, format.content_type(), out.finish())
}

async fn ready(State(observed): State<Arc<dyn Observed>>) -> Response {
    match observed.unready() {
        None => text(StatusCode::OK, "ready"),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn text(status: StatusCode, words: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", format!("{words}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
