//! The connections of operators, and who is on the other end of each.

use std::{future::Future, io, sync::Arc};

use axum::{Router, body::Body};
use http::Request;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::either::Either;
use tower::ServiceExt as _;

use super::{answer, audit::Peer, guard::Guard, socket::Socket, token::Token};
use crate::runtime::{
    Stop, TaskKind,
    connections::{self, Listener},
};

/// Where they come from, and what answers them.
pub(super) struct Operators {
    pub(super) from: From,
    pub(super) router: Router,
}

/// Where connections come from.
pub(super) enum From {
    Unix(Socket),
    Tcp(TcpListener, Arc<Token>),
}

pub(super) struct Connection {
    stream: Either<UnixStream, TcpStream>,
    peer: Peer,
    guard: Guard,
}

impl Listener for Operators {
    type Connection = Connection;

    const WHAT: &str = "the admin API";
    const KIND: TaskKind = TaskKind::Admin;

    async fn accept(&self) -> io::Result<Connection> {
        match &self.from {
            From::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok(Connection { stream: Either::Left(stream), peer: Peer::Unix { uid }, guard: Guard::Unix })
            }
            From::Tcp(listener, token) => {
                let (stream, address) = listener.accept().await?;
                let guard = Guard::Tcp(token.clone(), stream.local_addr()?.ip());
                Ok(Connection { stream: Either::Right(stream), peer: Peer::Tcp { address }, guard })
            }
        }
    }

    fn serve(&self, connection: Connection, stop: Stop) -> impl Future<Output = ()> + Send + 'static {
        let router = self.router.clone();
        async move {
            let Connection { stream, peer, guard } = connection;
            let answer = |request: Request<Incoming>| {
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
            };
            connections::serve(stream, answer, stop).await;
        }
    }
}
