//! Lets a request in: measures it by the prefix of its gRPC message before its body is read, takes its bytes from the
//! budget, and hands the body on with a limit on its length and on the time it may take.
//!
//! While a request waits for the budget its body is not polled, so HTTP/2 flow control stops the sender.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tokio::{
    sync::Semaphore,
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

use super::{
    answer,
    budget::{Budget, Lease},
    policy::Policy,
};

/// What every request goes through before its service sees it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    budget: Budget,
    policy: Arc<Policy>,
    receive_timeout: Duration,
    /// Bounds the requests that hold no lease yet.
    waiting: Arc<Semaphore>,
}

/// A service behind a [`Gate`].
#[derive(Clone, Debug)]
pub(crate) struct Intake<S> {
    gate: Gate,
    inner: S,
}

/// Requests at once whose length is not known yet, or that wait for the budget. Each holds its headers.
const WAITING_MAX: usize = 4096;
/// A flag for compression, and the message's length.
const PREFIX_BYTES: usize = 5;

impl Gate {
    pub(crate) fn new(budget: Budget, policy: Arc<Policy>, receive_timeout: Duration) -> Self {
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self { budget, policy, receive_timeout, waiting }
    }

    /// The request with its lease among its extensions.
    async fn admit(&self, request: Request<Body>) -> Result<(Request<Body>, Arc<Lease>), Status> {
        let _waiting =
            self.waiting.try_acquire().map_err(|_| answer::busy("too many requests are waiting"))?;
        let (mut parts, mut body) = request.into_parts();
        let deadline = Instant::now() + self.receive_timeout;
        let head = timeout_at(deadline, read_head(&mut body))
            .await
            .map_err(|_| answer::too_slow("message", self.receive_timeout))??;
        let length = message_length(&head);
        let request_bytes_max = self.policy.terms().limits.request_bytes_max;
        if length > request_bytes_max {
            return Err(answer::request_too_large(length, request_bytes_max));
        }
        let missing = (PREFIX_BYTES + length)
            .checked_sub(head.len())
            .ok_or_else(|| Status::invalid_argument("a unary call takes one message"))?;
        let lease = self.budget.lease(length).await.map_err(|_| answer::no_bytes())?;
        let lease = Arc::new(lease);
        parts.extensions.insert(lease.clone());
        let arriving = Arriving {
            head: Some(head),
            rest: body,
            missing,
            limit: self.receive_timeout,
            // Waiting for the budget was not the sender's fault.
            deadline: Instant::now() + self.receive_timeout,
            timer: None,
        };
        Ok((Request::from_parts(parts, Body::new(arriving)), lease))
    }
}

impl<S> Intake<S> {
    pub(crate) fn new(gate: Gate, inner: S) -> Self {
        Self { gate, inner }
    }
}

impl<S> Service<Request<Body>> for Intake<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(ctx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { gate, inner } = self.clone();
        Box::pin(async move {
            match gate.admit(request).await {
                Ok((request, lease)) => {
                    let response = inner.oneshot(request).await;
                    drop(lease);
                    response
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// Reads until the prefix is there; what comes with it is returned, too.
async fn read_head(body: &mut Body) -> Result<Bytes, Status> {
    let mut head = Bytes::new();
    while head.len() < PREFIX_BYTES {
        let frame = poll_fn(|ctx| Pin::new(&mut *body).poll_frame(ctx)).await;
        let data = match frame {
            Some(frame) => frame?.into_data().ok(),
            None => None,
        };
        let Some(data) = data else {
            return Err(Status::invalid_argument("the call ended before its message"));
        };
        head = if head.is_empty() {
            data
        } else {
            let mut joined = BytesMut::from(&head[..]);
            joined.extend_from_slice(&data);
            joined.freeze()
        };
    }
    Ok(head)
}

fn message_length(head: &[u8]) -> usize {
    let [_, length @ ..] = head.first_chunk::<PREFIX_BYTES>().expect("read_head returns at least the prefix");
    u32::from_be_bytes(*length) as usize
}

/// A body of known length with a deadline.
struct Arriving {
    head: Option<Bytes>,
    rest: Body,
    /// Bytes of the message that are still to come.
    missing: usize,
    limit: Duration,
    deadline: Instant,
    /// Set once there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(head) = this.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.rest).poll_frame(ctx) {
            if let Some(Ok(frame)) = &frame {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match this.missing.checked_sub(length) {
                    Some(missing) => this.missing = missing,
                    None => {
                        return Poll::Ready(Some(Err(Status::invalid_argument(
                            "a unary call takes one message",
                        ))));
                    }
                }
            }
            return Poll::Ready(frame);
        }
        let deadline = this.deadline;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        match timer.as_mut().poll(ctx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(answer::too_slow("message", this.limit)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_none() && self.rest.is_end_stream()
    }
}
