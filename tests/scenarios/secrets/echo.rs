//! A server that repeats whatever it is sent, keys included, in every part of its answer: as gateways and debug pages do.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// See the module's text. Its clones are one.
#[derive(Clone)]
pub(super) struct Echo(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    /// What it answers with.
    status: AtomicU16,
    /// Where a redirect leads.
    elsewhere: String,
    answered: Mutex<BTreeMap<u16, u64>>,
}

impl Echo {
    pub(super) async fn start(elsewhere: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (status, answered) = (AtomicU16::new(500), Mutex::default());
        let echo = Self(Arc::new(Inner { address, status, elsewhere, answered }));
        let serving = echo.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                // Whoever goes away while it is answered is not answered.
                tokio::spawn(async move { serving.answer(stream).await });
            }
        });
        echo
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn set_status(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }

    /// How many requests it has answered so.
    pub(super) fn answered(&self, status: u16) -> u64 {
        self.0.answered.lock().unwrap().get(&status).copied().unwrap_or_default()
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        let head = loop {
            match stream.read(&mut part).await? {
                0 => return Ok(()),
                length => request.extend_from_slice(&part[..length]),
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                break head.to_owned();
            }
        };
        let of_body = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = head.len() + 4 + of_body.map_or(0, |length| length.parse().unwrap());
        while request.len() < whole {
            match stream.read(&mut part).await? {
                0 => return Ok(()),
                length => request.extend_from_slice(&part[..length]),
            }
        }
        let status = self.0.status.load(Ordering::SeqCst);
        let one_line = head.replace("\r\n", " ");
        let error = json!({ "type": "illegal_argument_exception", "reason": head });
        let body = json!({ "status": status, "message": head, "error": error }).to_string();
        let elsewhere = &self.0.elsewhere;
        let answer = format!(
            "HTTP/1.1 {status} {one_line}\r\ncontent-type: application/json\r\nlocation: {elsewhere}\r\n\
             www-authenticate: {one_line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        *self.0.answered.lock().unwrap().entry(status).or_default() += 1;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }
}
