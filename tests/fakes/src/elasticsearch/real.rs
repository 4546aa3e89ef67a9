//! A real cluster behind the fake: what it is asked, and what it said to each item.

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
use tokio::net::TcpStream;

use super::{
    answer::{Answer, Refusal},
    store::Done,
};

/// Where it is.
pub(super) struct Real(pub(super) SocketAddr);

/// Its answer.
pub(super) struct Said {
    status: u16,
    body: Bytes,
}

/// The parts of a bulk answer that tell what became of each item.
#[derive(Deserialize)]
struct Bulk {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item {
    Index(Told),
    Create(Told),
    Update(Told),
    Delete(Told),
}

#[derive(Deserialize)]
struct Told {
    status: u16,
    result: Option<String>,
    error: Option<Problem>,
    #[serde(rename = "_version", default)]
    version: i64,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    reason: String,
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

    /// What each item came to, if they were looked at one by one.
    pub(super) fn outcomes(&self) -> Option<Vec<Result<Done, Refusal>>> {
        let Bulk { items } = serde_json::from_slice(&self.body).ok().filter(|_| self.status == 200)?;
        Some(items.into_iter().map(Item::outcome).collect())
    }

    pub(super) fn into_answer(self) -> Answer {
        Answer::json(self.status, self.body)
    }
}

impl Item {
    fn outcome(self) -> Result<Done, Refusal> {
        let (Self::Index(told) | Self::Create(told) | Self::Update(told) | Self::Delete(told)) = self;
        let Told { status, result, error, version } = told;
        if let Some(Problem { kind, reason }) = error {
            return Err(Refusal::new(status, &kind, reason));
        }
        let results = ["created", "updated", "deleted", "not_found", "noop"];
        let result = results.into_iter().find(|known| result.as_deref() == Some(known)).unwrap_or_default();
        Ok(Done { status, result, version })
    }
}
