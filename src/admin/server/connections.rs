//! Accepts connections, so many at once and no more, and serves one request after the other on each.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::either::Either;
use tower::ServiceExt as _;

use super::{answer, audit::Peer, guard::Guard, socket::Socket, token::Token};
use crate::runtime::{Stop, TaskKind, Tasks};

/// On each listener, so that what comes over TCP leaves room on the socket.
const CONNECTIONS_MAX: usize = 64;
/// A request's head, and the pause before the next one.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Answers that have begun at the stop.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) enum Listener {
    Unix(Socket),
    Tcp(TcpListener, Arc<Token>),
}

struct Connection {
    stream: Either<UnixStream, TcpStream>,
    peer: Peer,
    guard: Guard,
}

/// Accepts until the stop.
pub(super) async fn accept(listener: Listener, router: Router, stop: Stop, tasks: Tasks) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            // A stop first: nobody is let in after it.
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the admin API");
                sleep(REST_AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!(peer = ?connection.peer, "{CONNECTIONS_MAX} connections to the admin API are open, one more is refused");
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        tasks.spawn(TaskKind::Admin, "connection", async move {
            connection.serve(router, stop).await;
            drop(permit);
        });
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok(Connection { stream: Either::Left(stream), peer: Peer::Unix { uid }, guard: Guard::Unix })
            }
            Self::Tcp(listener, token) => {
                let (stream, address) = listener.accept().await?;
                let guard = Guard::Tcp(token.clone(), stream.local_addr()?.ip());
                Ok(Connection { stream: Either::Right(stream), peer: Peer::Tcp { address }, guard })
            }
        }
    }
}

impl Connection {
    async fn serve(self, router: Router, stop: Stop) {
        let Self { stream, peer, guard } = self;
        let service = service_fn(|request: Request<Incoming>| {
            let allowed = guard.check(&request);
            let router = router.clone();
            async move {
                if let Err(error) = allowed {
                    return Ok(answer::refused(&error));
                }
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(peer);
                router.oneshot(request).await
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            // A stop first: it lets the request end that is being answered.
            biased;
            () = stop.cancelled() => {}
            _ = connection.as_mut() => return,
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWERS_WITHIN, connection).await;
    }
}
