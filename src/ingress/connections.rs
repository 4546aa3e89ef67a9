//! Accepts connections, so many at once and no more, and closes those that do not begin to speak HTTP/2 in time. With TLS each
//! shakes hands in a task of its own, so that one that is slow or silent delays nobody.
//!
//! What comes after the first bytes is guarded elsewhere: half a frame by HTTP/2's keepalive, a request by `intake`.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep, sleep_until, timeout_at},
};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{caller::Peer, policy::Policy, tls, transport::Transport};

/// A listener's connections.
pub(crate) struct Connections {
    listener: TcpListener,
    policy: Arc<Policy>,
    permits: Arc<Semaphore>,
    first_bytes_within: Duration,
    cut: CancellationToken,
    /// None of them yields a connection that failed.
    handshakes: JoinSet<Option<Connection>>,
    /// Set while accepting is given a rest after an error such as "too many open files".
    rest: Option<Pin<Box<Sleep>>>,
}

/// One connection; its permit lives as long as it does.
pub(crate) struct Connection {
    transport: Transport,
    peer: Peer,
    /// Bytes of the preface that are still to come, and until when.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113, 3.4)
const PREFACE_BYTES: usize = 24;
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

impl Connections {
    /// `cut` closes every connection at once.
    pub(crate) fn new(
        listener: TcpListener,
        policy: Arc<Policy>,
        connections_max: usize,
        first_bytes_within: Duration,
        cut: CancellationToken,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { listener, policy, permits, first_bytes_within, cut, handshakes: JoinSet::new(), rest: None }
    }

    /// The connection, unless it is refused or shakes hands first.
    fn admit(&mut self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            tracing::debug!(peer = %address, "connection refused: limits.connections_max are open");
            return None;
        };
        // Answers are small and complete; holding them back would only delay them.
        stream.set_nodelay(true).ok()?;
        let (cut, deadline) = (self.cut.clone(), Instant::now() + self.first_bytes_within);
        let open = move |transport, peer| Connection {
            transport,
            peer,
            preface: Some((PREFACE_BYTES, Box::pin(sleep_until(deadline)))),
            cut: Box::pin(cut.cancelled_owned()),
            _permit: permit,
        };
        let Some(acceptor) = self.policy.terms().entrance.acceptor() else {
            return Some(open(Transport::Plain(stream), Peer::Plain));
        };
        self.handshakes.spawn(async move {
            match timeout_at(deadline, tls::handshake(acceptor, stream)).await {
                Ok(Ok((stream, peer))) => return Some(open(Transport::Tls(Box::new(stream)), peer)),
                Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(peer = %address, "TLS handshake took too long"),
            }
            None
        });
        None
    }

    /// The next connection that has shaken hands.
    fn poll_handshakes(&mut self, ctx: &mut Context<'_>) -> Option<Connection> {
        while let Poll::Ready(Some(ended)) = self.handshakes.poll_join_next(ctx) {
            match ended.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(Some(connection)) => return Some(connection),
                Err(Ok(panic)) => resume_unwind(panic),
                Ok(None) | Err(Err(_)) => {}
            }
        }
        None
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(connection) = self.poll_handshakes(ctx) {
                return Poll::Ready(Some(Ok(connection)));
            }
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(ctx));
                self.rest = None;
            }
            match ready!(self.listener.poll_accept(ctx)) {
                Ok((stream, peer)) => {
                    if let Some(connection) = self.admit(stream, peer) {
                        return Poll::Ready(Some(Ok(connection)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    self.rest = Some(Box::pin(sleep(REST_AFTER_ERROR)));
                }
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.cut.as_mut().poll(ctx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.transport).poll_read(ctx, buffer);
        if let Some((missing, timer)) = &mut this.preface {
            *missing = missing.saturating_sub(buffer.filled().len() - before);
            if *missing == 0 {
                this.preface = None;
            } else if timer.as_mut().poll(ctx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(ctx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(ctx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(ctx)
    }
}
