//! The server: HTTP/1.1 with JSON and server-sent events, on a unix socket in the data directory for the command line and,
//! where the config says so, on a TCP port.
//!
//! On the socket the file's permission (0600) is what lets somebody in; on TCP every request needs the token that lies in
//! the data directory, but for the files of the dashboard's page, which hold no data. Read in the order in which a request
//! goes: connections, guard, routes (with the page), changes (with the audit log) or events, answer.
//!
//! Invariants: nothing but an answer to a GET, or to a question (`find`, `tail`, a list of dead letters, one of them), is given
//! before the audit log has the request on disk; a change goes on when its client goes away.

mod answer;
mod audit;
mod changes;
mod connections;
mod events;
mod guard;
mod page;
mod routes;
mod socket;
mod token;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;

use self::{audit::Audit, changes::Api, connections::Listener, socket::Socket, token::Token};
use super::control::Control;
use crate::runtime::{Clock, Stop, TaskKind, Tasks};

pub use self::socket::socket_path;

/// A server that listens and does not accept yet.
#[derive(Debug)]
pub struct Server {
    audit: Audit,
    socket: Socket,
    tcp: Option<Tcp>,
}

#[derive(Debug)]
struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
    token: Arc<Token>,
}

/// Why there is no server.
#[derive(Debug, Error)]
pub enum BindError {
    /// The socket's path is longer than the operating system takes.
    #[error(
        "{path} is {bytes} bytes long, and the path of a unix socket has {} at most: choose a data.dir with a \
         shorter path, such as a relative one",
        socket::PATH_BYTES_MAX
    )]
    SocketPathTooLong {
        /// Where the socket was to be.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Something else lies where the socket is to be.
    #[error("{path} is in the way of the agent's socket and is none: move it away")]
    NotASocket {
        /// What lies there.
        path: PathBuf,
    },
    /// The operating system refused the socket.
    #[error("cannot listen on {path}: {source}")]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The operating system refused the address.
    #[error("cannot listen on {address}, the config's listen.admin: {source}")]
    Listen {
        /// From `listen.admin`.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// The token can neither be read nor made.
    #[error("{path}: {reason}")]
    Token {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl Server {
    /// Listens in a data directory, which exists and of which the caller holds the lock: the socket of an agent that was
    /// killed there is replaced. With an address, also there.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is left behind then but, perhaps, the token's file.
    pub fn bind(data_dir: &Path, address: Option<SocketAddr>) -> Result<Self, BindError> {
        let tcp = address.map(|address| Tcp::bind(data_dir, address)).transpose()?;
        let socket = Socket::bind(data_dir)?;
        Ok(Self { audit: Audit::new(data_dir), socket, tcp })
    }

    /// The TCP address, with the port that the system chose, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|tcp| tcp.address)
    }

    /// Serves until the stop. It then lets answers that have begun end within a few seconds, and changes as they will;
    /// the socket's file is removed, so the data directory's lock must be held until the tasks have ended.
    pub fn start(self, control: Arc<dyn Control>, clock: Arc<dyn Clock>, stop: &Stop, tasks: &Tasks) {
        let Self { audit, socket, tcp } = self;
        let api = Arc::new(Api::new(control, audit, clock, stop.clone(), tasks.clone()));
        // No page is ever served from the socket, where no browser comes.
        let mut served = vec![(Listener::Unix(socket), routes::router(api.clone(), Router::new()))];
        if let Some(tcp) = tcp {
            served.push((Listener::Tcp(tcp.listener, tcp.token), routes::router(api, page::router())));
        }
        for (listener, router) in served {
            let accepting = connections::accept(listener, router, stop.clone(), tasks.clone());
            tasks.spawn(TaskKind::Admin, "connections", accepting);
        }
    }
}

impl Tcp {
    fn bind(data_dir: &Path, address: SocketAddr) -> Result<Self, BindError> {
        let refused = |source| BindError::Listen { address, source };
        let token = Arc::new(Token::find_or_make(data_dir)?);
        let listener = std::net::TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let listener = TcpListener::from_std(listener).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, token })
    }
}
