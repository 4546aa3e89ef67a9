//! The client of the API, for the commands: through the socket in the data directory of a running agent.

use std::{
    fmt, io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::net::UnixStream;

use super::{
    error::ControlError,
    reports::{
        DrainReport, DropReport, ForgetReport, FoundReport, PauseReport, ProbeReport, ReloadReport,
        ReplayProgress, ResetReport, ResumeReport, TransformReport,
    },
    requests::{Drain, DropLetters, Find, Forget, Pause, Reload, Replay, ResetCursor, Resume, Tail},
    server::socket_path,
    status::Status,
    tail::TailEvent,
};

/// What a name may have stays as it is.
const NAME_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The body of a command without arguments.
#[derive(Serialize)]
struct Nothing {}

/// An event that is longer is no status of an agent.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Asks the agent that runs on a data directory; each request on a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or none that was hoped for.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no agent runs on {}: start it with `sync-agent run`, or name the directory of the one that runs with \
         --config or --data-dir",
        data_dir.display()
    )]
    NotRunning {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The socket is another user's.
    #[error("{} belongs to another user: run the command as the agent's user, or as root", socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The agent did not carry it out.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The connection broke.
    #[error("the agent at {} went away: {reason}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// The answer is none of this version's.
    #[error("the agent's answer cannot be read, it may be of another version than this command: {0}")]
    Unreadable(String),
}

/// Events as they come, each with a `T`; ends with the agent, or when the agent has no more to tell.
pub struct Events<T> {
    client: Client,
    body: Incoming,
    received: BytesMut,
    /// So much of it holds no end of an event.
    searched: usize,
    of: PhantomData<fn() -> T>,
}

impl Client {
    /// A client of the agent with this data directory.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { socket: socket_path(data_dir) }
    }

    /// Whether somebody listens there.
    pub async fn finds_agent(&self) -> bool {
        !matches!(self.connect().await, Err(ClientError::NotRunning { .. }))
    }

    /// `GET /v1/status`
    ///
    /// # Errors
    /// See [`ClientError`], here and below.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let response = self.send::<()>(Method::GET, "/v1/status", None).await?;
        self.read(response).await
    }

    /// `GET /v1/events`: the status now, and every second.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn watch(&self) -> Result<Events<Status>, ClientError> {
        let response = self.send::<()>(Method::GET, "/v1/events", None).await?;
        self.events(response).await
    }

    /// `POST /v1/tail`: what happens to records from now on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tail(&self, request: &Tail) -> Result<Events<TailEvent>, ClientError> {
        let response = self.send(Method::POST, "/v1/tail", Some(request)).await?;
        self.events(response).await
    }

    /// `POST /v1/reload`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reload(&self, request: &Reload) -> Result<ReloadReport, ClientError> {
        self.post("/v1/reload", request).await
    }

    /// `POST /v1/drain`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain(&self, request: &Drain) -> Result<DrainReport, ClientError> {
        self.post("/v1/drain", request).await
    }

    /// `POST /v1/find`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn find(&self, request: &Find) -> Result<FoundReport, ClientError> {
        self.post("/v1/find", request).await
    }

    /// `POST /v1/destinations/NAME/pause`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause(&self, destination: &str, request: &Pause) -> Result<PauseReport, ClientError> {
        self.post(&path("destinations", destination, "pause"), request).await
    }

    /// `POST /v1/destinations/NAME/resume`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume(&self, destination: &str, request: &Resume) -> Result<ResumeReport, ClientError> {
        self.post(&path("destinations", destination, "resume"), request).await
    }

    /// `POST /v1/destinations/NAME/probe`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn probe(&self, destination: &str) -> Result<ProbeReport, ClientError> {
        self.post(&path("destinations", destination, "probe"), &Nothing {}).await
    }

    /// `POST /v1/destinations/NAME/forget`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget(&self, destination: &str, request: &Forget) -> Result<ForgetReport, ClientError> {
        self.post(&path("destinations", destination, "forget"), request).await
    }

    /// `POST /v1/destinations/NAME/reset-cursor`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reset_cursor(
        &self,
        destination: &str,
        request: &ResetCursor,
    ) -> Result<ResetReport, ClientError> {
        self.post(&path("destinations", destination, "reset-cursor"), request).await
    }

    /// `POST /v1/transforms/NAME/resume`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_transform(&self, transform: &str) -> Result<TransformReport, ClientError> {
        self.post(&path("transforms", transform, "resume"), &Nothing {}).await
    }

    /// `POST /v1/dead-letters/replay`. Dropping the events ends the replay.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn replay(&self, request: &Replay) -> Result<Events<ReplayProgress>, ClientError> {
        let response = self.send(Method::POST, "/v1/dead-letters/replay", Some(request)).await?;
        self.events(response).await
    }

    /// `POST /v1/dead-letters/drop`
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drop_letters(&self, request: &DropLetters) -> Result<DropReport, ClientError> {
        self.post("/v1/dead-letters/drop", request).await
    }

    async fn post<R: DeserializeOwned>(
        &self,
        path: &str,
        request: &(impl Serialize + Sync),
    ) -> Result<R, ClientError> {
        let response = self.send(Method::POST, path, Some(request)).await?;
        self.read(response).await
    }

    async fn send<Q: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Q>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| self.broken(error))?;
        // It ends with the answer; what goes wrong with it is seen there.
        tokio::spawn(connection);
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| ClientError::Unreadable(error.to_string()))?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ClientError::Unreadable(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
                data_dir: self.socket.parent().map(Path::to_owned).unwrap_or_default(),
            },
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket: self.socket.clone() },
            _ => self.broken(error),
        })
    }

    async fn read<R: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<R, ClientError> {
        if response.status() == StatusCode::OK {
            return parse(&self.body(response).await?);
        }
        Err(self.refusal(response).await)
    }

    async fn events<T>(&self, response: Response<Incoming>) -> Result<Events<T>, ClientError> {
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let (client, body) = (self.clone(), response.into_body());
        Ok(Events { client, body, received: BytesMut::new(), searched: 0, of: PhantomData })
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        match self.body(response).await {
            Ok(body) => match serde_json::from_slice::<ControlError>(&body) {
                Ok(refused) => refused.into(),
                Err(_) => ClientError::Unreadable(format!("HTTP status {status}")),
            },
            Err(error) => error,
        }
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = response.into_body().collect().await;
        Ok(body.map_err(|error| self.broken(error))?.to_bytes())
    }

    /// The agent has stopped in the middle of something.
    #[must_use]
    pub fn gone(&self) -> ClientError {
        self.broken("it has stopped")
    }

    fn broken(&self, error: impl fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), reason: error.to_string() }
    }
}

impl<T: DeserializeOwned> Events<T> {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// What the agent had to say instead, and see [`ClientError`]; nothing follows then.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(event) = self.take() {
                return read_event(&event).map(Some);
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| self.client.broken(error))?;
            if let Ok(data) = frame.into_data() {
                self.received.extend_from_slice(&data);
            }
            if self.received.len() > EVENT_BYTES_MAX {
                return Err(ClientError::Unreadable(format!(
                    "an event of more than {EVENT_BYTES_MAX} bytes"
                )));
            }
        }
    }

    /// The first event that has been received whole.
    fn take(&mut self) -> Option<BytesMut> {
        const END: &[u8] = b"\n\n";
        let Some(found) = memchr::memmem::find(&self.received[self.searched..], END) else {
            self.searched = self.received.len().saturating_sub(END.len() - 1);
            return None;
        };
        let event = self.received.split_to(self.searched + found + END.len());
        self.searched = 0;
        Some(event)
    }
}

/// An event as the server writes it: its name and its data, a line each.
fn read_event<T: DeserializeOwned>(event: &[u8]) -> Result<T, ClientError> {
    let event = String::from_utf8_lossy(event);
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data").unwrap_or_default().as_bytes();
    match field("event") {
        Some("error") => Err(parse::<ControlError>(data)?.into()),
        _ => parse(data),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Unreadable(error.to_string()))
}

/// Names that the agent knows need no encoding; those that it does not know must not become another path.
fn path(what: &str, name: &str, command: &str) -> String {
    format!("/v1/{what}/{}/{command}", utf8_percent_encode(name, NAME_ENCODED))
}
