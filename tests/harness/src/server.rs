//! A gRPC server of the published contract that decodes every request in full, as prost does, and keeps nothing.
//!
//! As a baseline it shows what gRPC and protobuf alone cost; in the harness's own tests it stands in for the agent.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::contract::{SERVICE, UPSERT_OBJECTS, UpsertObjectsRequest, UpsertObjectsResponse};

/// Answers a request that was decoded.
pub type Answer = dyn Fn(UpsertObjectsRequest) -> Result<UpsertObjectsResponse, Status> + Send + Sync;

/// Serves the contract and the health service, which says that it serves, until the future is dropped.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, answer: Arc<Answer>) -> Result<(), tonic::transport::Error> {
    let reporter = HealthReporter::new();
    reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let routes = Routes { health, answer };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().serve_with_incoming(routes, incoming).await
}

/// Accepts everything, with a new request id for each request.
#[must_use]
pub fn accept_all() -> Arc<Answer> {
    let requests = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |_| {
        let number = requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(UpsertObjectsResponse { request_id: format!("request-{number}"), message: String::new() })
    })
}

#[derive(Clone)]
struct Routes {
    health: HealthServer<HealthService>,
    answer: Arc<Answer>,
}

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _ctx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != UPSERT_OBJECTS {
            return self.health.call(request);
        }
        let method = Upsert(Arc::clone(&self.answer));
        Box::pin(async move {
            let codec = ProstCodec::<UpsertObjectsResponse, UpsertObjectsRequest>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        })
    }
}

struct Upsert(Arc<Answer>);

impl UnaryService<UpsertObjectsRequest> for Upsert {
    type Response = UpsertObjectsResponse;
    type Future = std::future::Ready<Result<Response<UpsertObjectsResponse>, Status>>;

    fn call(&mut self, request: Request<UpsertObjectsRequest>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}
