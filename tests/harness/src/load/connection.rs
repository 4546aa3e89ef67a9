//! One HTTP/2 connection that calls `UpsertObjects` with bytes that are gRPC already.
//!
//! Below tonic on purpose: the payload is handed to the socket without a copy, and the answer is read for its status
//! and request id only.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use percent_encoding::percent_decode;
use prost::Message as _;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    contract::{UPSERT_OBJECTS, UpsertObjectsResponse},
    history::Outcome,
    tls::Client,
};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// Not connected.
    #[error("could not connect to {address}")]
    Connect {
        /// To whom.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The connection or the stream broke.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// The answer is no gRPC.
    #[error("not a gRPC answer: {0}")]
    Protocol(String),
}

/// A connection; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    send: SendRequest<Bytes>,
    uri: Uri,
}

impl Connection {
    /// Connects; a task drives the connection until it breaks or its last clone is gone.
    ///
    /// # Errors
    /// If nobody listens, nobody speaks HTTP/2 there, or TLS fails.
    pub async fn open(address: SocketAddr, tls: Option<&Client>) -> Result<Self, ConnectionError> {
        let connect_error = |source| ConnectionError::Connect { address, source };
        if let Some(tls) = tls {
            return Self::over(tls.connect(address).await.map_err(connect_error)?, address).await;
        }
        let stream = TcpStream::connect(address).await.map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;
        Self::over(stream, address).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
    ) -> Result<Self, ConnectionError> {
        let (send, connection) = h2::client::handshake(stream).await?;
        // Its error is seen by every stream, too.
        tokio::spawn(async move { drop(connection.await) });
        let uri = format!("http://{address}{UPSERT_OBJECTS}");
        let uri = uri.parse().expect("an address and a fixed path make a URI");
        Ok(Self { send, uri })
    }

    /// Sends a message with its gRPC prefix and returns what became of it.
    ///
    /// # Errors
    /// If no gRPC status came back: the outcome is not known.
    pub async fn upsert(&mut self, message: Bytes) -> Result<Outcome, ConnectionError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));

        let mut send = self.send.clone().ready().await?;
        let (response, mut body) = send.send_request(request, false)?;
        body.send_data(message, true)?;
        let (head, body) = response.await?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return outcome(&head.headers, &[]);
        }
        let (message, trailers) = read(body).await?;
        outcome(&trailers, &message)
    }
}

async fn read(mut body: RecvStream) -> Result<(BytesMut, HeaderMap), ConnectionError> {
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((message, trailers.ok_or_else(|| ConnectionError::Protocol("no trailers".to_owned()))?))
}

/// Reads a status. A code that the agent gives before it appends is a refusal; after any other one the request may
/// have been accepted.
fn outcome(headers: &HeaderMap, message: &[u8]) -> Result<Outcome, ConnectionError> {
    let text = |name| {
        let bytes = headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        percent_decode(bytes).decode_utf8_lossy().into_owned()
    };
    let code = text("grpc-status");
    let code: i32 = code.parse().map_err(|_| ConnectionError::Protocol(format!("grpc-status {code:?}")))?;
    let status = || format!("{:?}: {}", tonic::Code::from_i32(code), text("grpc-message"));
    match tonic::Code::from_i32(code) {
        tonic::Code::Ok => {
            let mut message = message;
            message.advance(message.len().min(5));
            let answer = UpsertObjectsResponse::decode(message);
            let answer = answer.map_err(|error| ConnectionError::Protocol(error.to_string()))?;
            Ok(Outcome::Acknowledged { request_id: answer.request_id })
        }
        tonic::Code::InvalidArgument
        | tonic::Code::PermissionDenied
        | tonic::Code::ResourceExhausted
        | tonic::Code::OutOfRange
        | tonic::Code::Unimplemented => Ok(Outcome::Refused { status: status() }),
        tonic::Code::Cancelled
        | tonic::Code::Unknown
        | tonic::Code::DeadlineExceeded
        | tonic::Code::NotFound
        | tonic::Code::AlreadyExists
        | tonic::Code::FailedPrecondition
        | tonic::Code::Aborted
        | tonic::Code::Internal
        | tonic::Code::Unavailable
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated => Ok(Outcome::Unknown { reason: status() }),
    }
}
