//! HTTP as it goes over the wire, so that a test may say what no client would.

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Bench, LONG};
use crate::admin::socket_path;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of the error that it tells.
    pub(super) fn kind(&self) -> String {
        let json = self.json();
        assert!(json["error"].is_string() && json["advice"].is_string(), "{self:?}");
        json["kind"].as_str().unwrap().to_owned()
    }
}

/// A request in its bytes: the line, the headers with their ends, and the body.
pub(super) fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

pub(super) async fn over_tcp(bench: &Bench, request: &str) -> Answer {
    exchange(TcpStream::connect(bench.address).await.unwrap(), request).await
}

pub(super) async fn over_unix(bench: &Bench, request: &str) -> Answer {
    exchange(UnixStream::connect(socket_path(bench.dir())).await.unwrap(), request).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    let mut bytes = Vec::new();
    let exchange = async {
        // A server that refuses by the head alone may close before it has read the body.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut bytes).await;
    };
    timeout(LONG, exchange).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) =
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
