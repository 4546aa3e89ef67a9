//! How the agent serves HTTP to those who look at it: so many connections at once and no more, a request after the other on
//! each, in bounded time and space.

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::response::Response;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{Stop, TaskKind, Tasks};

/// On each listener, so that one leaves room on the others.
const CONNECTIONS_MAX: usize = 64;
/// A request's head, and the pause before the next one.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Answers that have begun at the stop.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where connections come from, and how they are served.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;

    /// What is served there, for words: "the admin API".
    const WHAT: &str;

    /// The kind of its tasks.
    const KIND: TaskKind;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Connection>> + Send;

    /// Serves a connection until its end, or for a moment after the stop.
    fn serve(&self, connection: Self::Connection, stop: Stop) -> impl Future<Output = ()> + Send + 'static;
}

/// Accepts connections until the stop.
pub async fn accept<L: Listener>(listener: L, stop: Stop, tasks: Tasks) {
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
                tracing::warn!(%error, "could not accept a connection to {}", L::WHAT);
                sleep(REST_AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!("{CONNECTIONS_MAX} connections to {} are open, one more is refused", L::WHAT);
            continue;
        };
        let serving = listener.serve(connection, stop.clone());
        tasks.spawn(L::KIND, "connection", async move {
            serving.await;
            drop(permit);
        });
    }
}

/// Answers one request after the other on a stream. At the stop it lets the one end that is being answered.
pub async fn serve<A>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> A,
    stop: Stop,
) where
    A: Future<Output = Result<Response, Infallible>>,
{
    serve_within(HEAD_WITHIN, stream, answer, stop).await;
}

async fn serve_within<A>(
    head_within: Duration,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> A,
    stop: Stop,
) where
    A: Future<Output = Result<Response, Infallible>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    tokio::select! {
        // A stop first.
        biased;
        () = stop.cancelled() => {}
        _ = connection.as_mut() => return,
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWERS_WITHIN, connection).await;
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const WITHIN: Duration = Duration::from_millis(300);

    /// A client's end of a connection on which everything is answered with 200.
    fn client() -> DuplexStream {
        let (ours, theirs) = duplex(1 << 20);
        let answer = |_| async {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::OK;
            Ok(response)
        };
        tokio::spawn(serve_within(WITHIN, theirs, answer, Stop::new()));
        ours
    }

    /// A head that comes byte by byte is waited for as long as none, whether it is the first or a later one.
    #[tokio::test]
    async fn slow_heads_are_cut() {
        for before in ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut client = client();
            client.write_all(before.as_bytes()).await.unwrap();
            let drip = async {
                client.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
                while client.write_all(b"x").await.is_ok() {
                    // The pace is what is tried out.
                    sleep(WITHIN / 20).await;
                }
            };
            timeout(Duration::from_secs(20), drip).await.expect("the connection is closed");
        }
    }

    /// Heads that are too long, or of too many fields, are refused as they come.
    #[tokio::test]
    async fn oversized_heads_are_refused() {
        let long = format!("X: {}\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        let many = "X: x\r\n".repeat(HEADERS_MAX + 1);
        for (fields, status) in [("X: x\r\n", "200"), (&long, "431"), (&many, "431")] {
            let mut client = client();
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}
