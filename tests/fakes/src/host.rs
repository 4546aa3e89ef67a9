//! One host of a fake service: its socket and connections.
//!
//! Several hosts are one application: they differ in their sockets alone. A host that is switched off refuses
//! connections and keeps its port, so that nothing else can take it meanwhile.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What all hosts of a service share, and how it answers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Serves one request that came to a host; never ends where there is to be no answer. Cancelling `cut` cuts the
    /// connection.
    fn answer(
        self: Arc<Self>,
        host: usize,
        cut: CancellationToken,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// What a host does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// It serves.
    Serving,
    /// It refuses them, and has cut those that were open.
    Refusing,
    /// It answers everything with this status.
    Failing(u16),
}

/// One host's socket.
pub(crate) struct Host {
    address: SocketAddr,
    /// Bound and never listening: it keeps the port while the host refuses connections.
    _reservation: TcpSocket,
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    /// Closes the listener and every connection of it.
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Host {
    /// Takes a port, without listening yet.
    pub(crate) fn reserve(port: Option<u16>) -> io::Result<Self> {
        let reservation = bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into())?;
        let address = reservation.local_addr()?;
        Ok(Self { address, _reservation: reservation, listening: Mutex::new(None) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections, if it does not yet.
    pub(crate) fn listen(&self, service: &Arc<impl Service>, number: usize) -> io::Result<()> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.is_none() {
            let listener = bind(self.address)?.listen(1024)?;
            let stop = CancellationToken::new();
            let task = tokio::spawn(accept(listener, Arc::clone(service), number, stop.clone()));
            *listening = Some(Listening { stop: stop.drop_guard(), task });
        }
        Ok(())
    }

    /// Closes every connection and accepts no more.
    pub(crate) async fn refuse(&self) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Listening { stop, task }) = listening {
            drop(stop);
            // Once the task has ended, its listener is closed and no connection of it applies anything any more.
            let _ = task.await;
        }
    }
}

/// A socket that can share its address with another one of ours.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, service: Arc<impl Service>, host: usize, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            // Closing comes first: a host that was switched off accepts nothing more.
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A connection that ended before it was accepted is the client's affair.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve(stream, Arc::clone(&service), host, stop.child_token()));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, service: Arc<impl Service>, host: usize, cut: CancellationToken) {
    // Without it answers would still be right, only later.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request| async {
        Ok::<_, Infallible>(Arc::clone(&service).answer(host, cut.clone(), request).await)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    select! {
        // A cut connection sends nothing more.
        biased;
        () = cut.cancelled() => {}
        // How a connection ends is the client's affair.
        _ = connection => {}
    }
}
