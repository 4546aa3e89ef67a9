//! One host: its socket and connections.
//!
//! Several hosts are one application: they differ in their sockets alone. A host that is switched off refuses
//! connections and keeps its port, so that nothing else can take it meanwhile.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{routes, server::Shared};

/// One host's socket.
pub(super) struct Host {
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
    pub(super) fn reserve(port: Option<u16>) -> io::Result<Self> {
        let reservation = bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into())?;
        let address = reservation.local_addr()?;
        Ok(Self { address, _reservation: reservation, listening: Mutex::new(None) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections, if it does not yet.
    pub(super) fn listen(&self, shared: &Arc<Shared>, number: usize) -> io::Result<()> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.is_none() {
            let listener = bind(self.address)?.listen(1024)?;
            let stop = CancellationToken::new();
            let task = tokio::spawn(accept(listener, Arc::clone(shared), number, stop.clone()));
            *listening = Some(Listening { stop: stop.drop_guard(), task });
        }
        Ok(())
    }

    /// Closes every connection and accepts no more.
    pub(super) async fn refuse(&self) {
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

async fn accept(listener: TcpListener, shared: Arc<Shared>, host: usize, stop: CancellationToken) {
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
                connections.spawn(serve(stream, Arc::clone(&shared), host, stop.child_token()));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, host: usize, cut: CancellationToken) {
    // Without it answers would still be right, only later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| async {
        Ok::<_, Infallible>(routes::answer(&shared, host, &cut, request).await)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    select! {
        // A cut connection sends nothing more.
        biased;
        () = cut.cancelled() => {}
        // How a connection ends is the client's affair.
        _ = connection => {}
    }
}
