//! Leads a call to its service: ours behind its gate, health and reflection within bounds of their own.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::{Status, body::Body};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    answer,
    intake::{Gate, Intake},
    service::{UpsertService, Upserts},
};
use crate::{
    config::Limits,
    contract::{DESCRIPTOR_SET, server::sync_service_server::SyncServiceServer},
};

/// Every service of the port, by path.
#[derive(Clone)]
pub(crate) struct Services {
    upserts: Intake<SyncServiceServer<UpsertService>>,
    health: Rare,
    reflection_v1: Rare,
    reflection_v1alpha: Rare,
    /// One for each open call to health or reflection: a client watches health once a connection.
    rare_calls: Arc<Semaphore>,
    receive_timeout: Duration,
}

type Rare = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

const UPSERT_OBJECTS: &str = "/sync.v1.SyncService/UpsertObjects";
/// Health and reflection take a name.
const RARE_MESSAGE_BYTES_MAX: usize = 4 * 1024;

impl Services {
    pub(crate) fn new(
        gate: Gate,
        upserts: Upserts,
        health: HealthServer<impl Health>,
        limits: &Limits,
    ) -> Result<Self, tonic_reflection::server::Error> {
        // The gate has the limit that counts, and answers in our words.
        let upserts =
            SyncServiceServer::new(UpsertService(Arc::new(upserts))).max_decoding_message_size(usize::MAX);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                // With it tools show the details of a refusal in words.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1()?.max_decoding_message_size(RARE_MESSAGE_BYTES_MAX);
        let v1alpha = reflection().build_v1alpha()?.max_decoding_message_size(RARE_MESSAGE_BYTES_MAX);
        let health = health.max_decoding_message_size(RARE_MESSAGE_BYTES_MAX);
        let calls_max = limits.connections_max.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            upserts: Intake::new(gate, upserts),
            health: BoxCloneSyncService::new(health),
            reflection_v1: BoxCloneSyncService::new(v1),
            reflection_v1alpha: BoxCloneSyncService::new(v1alpha),
            rare_calls: Arc::new(Semaphore::new(calls_max)),
            receive_timeout: limits.receive_timeout,
        })
    }

    fn call_rare(&self, service: &Rare, request: Request<Body>) -> Answer {
        let Ok(permit) = self.rare_calls.clone().try_acquire_owned() else {
            return refuse(answer::busy(
                "as many calls to health and reflection are open as limits.connections_max allows",
            ));
        };
        let (call, limit) = (service.clone().oneshot(request), self.receive_timeout);
        Box::pin(async move {
            match timeout(limit, call).await {
                Ok(answer) => {
                    answer.map(|answer| answer.map(|body| Body::new(Held { body, _permit: permit })))
                }
                Err(_) => Ok(answer::too_slow("message", limit).into_http()),
            }
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
            let limit = deadline(request.headers());
            return in_time(limit, self.upserts.call(request));
        }
        match path.split('/').nth(1) {
            Some("grpc.health.v1.Health") => self.call_rare(&self.health, request),
            Some("grpc.reflection.v1.ServerReflection") => self.call_rare(&self.reflection_v1, request),
            Some("grpc.reflection.v1alpha.ServerReflection") => {
                self.call_rare(&self.reflection_v1alpha, request)
            }
            _ => refuse(Status::unimplemented("there is no such method")),
        }
    }
}

/// Answers DEADLINE_EXCEEDED just before the call's own deadline, at which tonic would answer CANCELLED.
fn in_time(limit: Option<Duration>, answer: Answer) -> Answer {
    const EARLY: Duration = Duration::from_millis(2);
    let Some(limit) = limit else { return answer };
    Box::pin(async move {
        let late = |_| Ok(Status::deadline_exceeded("deadline passed; outcome unknown").into_http());
        timeout(limit.saturating_sub(EARLY), answer).await.unwrap_or_else(late)
    })
}

/// The time that the caller gives this call: at most eight digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

fn refuse(status: Status) -> Answer {
    Box::pin(async { Ok(status.into_http()) })
}

/// A response that counts as an open call until its end.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(ctx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every unit of the protocol is read, and what is none of its deadlines is none.
    #[test]
    fn deadlines() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            deadline(&headers).map(|deadline| deadline.as_nanos())
        };
        let read = ["1H", "2M", "3S", "40m", "50u", "99999999n"].map(of);
        let nanoseconds = [3600 * 10_u128.pow(9), 120 * 10_u128.pow(9), 3 * 10_u128.pow(9)];
        assert_eq!(read[..3], nanoseconds.map(Some));
        assert_eq!(read[3..], [Some(40_000_000), Some(50_000), Some(99_999_999)]);
        for text in ["", "S", "1", "1x", "-1S", "123456789S", "1 S"] {
            assert_eq!(of(text), None, "{text:?}");
        }
        assert_eq!(deadline(&HeaderMap::new()), None);
    }
}
