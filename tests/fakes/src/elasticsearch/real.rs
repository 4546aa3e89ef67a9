//! A real cluster behind the fake, which then stores nothing itself: it is asked, and what it said goes back.

use std::{error::Error, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;

use super::answer::Answer;

/// Where it is.
pub(super) struct Real(pub(super) SocketAddr);

/// Its answer.
pub(super) struct Said {
    status: u16,
    body: Bytes,
}

/// The part of a bulk answer that tells what became of each item.
#[derive(Deserialize)]
struct Bulk {
    items: Vec<Box<RawValue>>,
}

impl Real {
    /// Asks it over a connection of its own.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Said, Box<dyn Error + Send + Sync>> {
        let Self(address) = self;
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the sender.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, address.to_string());
        let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok(Said { status, body: response.into_body().collect().await?.to_bytes() })
    }
}

impl Said {
    /// To a write of nothing.
    pub(super) fn nothing() -> Self {
        Self { status: 200, body: Bytes::from_static(br#"{"errors":false,"items":[]}"#) }
    }

    /// What it said of each item, if they were looked at one by one.
    pub(super) fn items(&self) -> Option<Vec<Box<RawValue>>> {
        let Bulk { items } = serde_json::from_slice(&self.body).ok().filter(|_| self.status == 200)?;
        Some(items)
    }

    pub(super) fn into_answer(self) -> Answer {
        Answer::json(self.status, self.body)
    }
}
