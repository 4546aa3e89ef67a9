//! What the agent is compared with: the simplest program that brings the same records to the same three destinations.
//!
//! It appends each batch to a file with an fdatasync and posts it, one request at a time to each destination. There is no
//! gRPC, nothing is decoded, no order is kept between objects, nothing is tried again, and nothing is remembered: what is
//! left is what disk and HTTP cost. It makes the bodies of the same parts, and uses the agent's HTTP client.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use plugin_http::{body::gzip, client::client};
use reqwest::{Client, RequestBuilder, header};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task};

use crate::{
    child::Role,
    job::{Cost, Job, Meter},
    records::{BATCH_RECORDS, Records},
};

/// Batches that wait for a destination.
const WAITING_MAX: usize = 4;

/// Brings records to a file, to Algolia and to Elasticsearch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Simple {
    /// A batch of records, which is sent again and again.
    pub(crate) sample: PathBuf,
    /// The directory that it makes and writes to.
    pub(crate) dir: PathBuf,
    pub(crate) algolia: String,
    pub(crate) elasticsearch: String,
    pub(crate) gzip: bool,
    pub(crate) records: u64,
}

/// What that took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    cost: Cost,
    records: u64,
}

impl Sent {
    pub(crate) fn per_second(&self) -> f64 {
        self.records as f64 / self.cost.seconds
    }

    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cost.cpu_seconds * 1e6 / self.records as f64
    }
}

impl Job for Simple {
    const ROLE: Role = Role::Simple;
    type Outcome = Sent;

    fn work(self) -> anyhow::Result<Sent> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.send())
    }
}

impl Simple {
    async fn send(self) -> anyhow::Result<Sent> {
        let records = Arc::new(Records::read(&self.sample)?);
        let requests = records.plain();
        fs::create_dir(&self.dir).with_context(|| format!("make {:?}", self.dir))?;
        let (mut log, archive) = (create(&self.dir, "log")?, create(&self.dir, "archive")?);
        let client = client("bench", None)?;
        let algolia = client
            .post(format!("{}/1/indexes/products/batch", self.algolia))
            .header("x-algolia-application-id", "app")
            .header("x-algolia-api-key", "key");
        let elasticsearch = client
            .post(format!("{}/_bulk?timeout=20s&filter_path=errors", self.elasticsearch))
            .header(header::CONTENT_TYPE, "application/x-ndjson");

        let meter = Meter::start()?;
        let batches = self.records.div_ceil(BATCH_RECORDS);
        let [mut to_file, to_algolia, to_elasticsearch] = [(); 3].map(|()| mpsc::channel(WAITING_MAX));
        let lines = records.clone();
        let writing = task::spawn_blocking(move || write(&archive, &lines.lines, &mut to_file.1));
        let body = records.clone();
        let posting =
            task::spawn(post(to_algolia.1, client.clone(), algolia, self.gzip, move || body.algolia()));
        let indexing =
            task::spawn(post(to_elasticsearch.1, client.clone(), elasticsearch, self.gzip, move || {
                records.bulk(0, "products", 1, str::to_owned)
            }));
        let queues = [to_file.0, to_algolia.0, to_elasticsearch.0];
        for _ in 0..batches {
            task::block_in_place(|| log.write_all(&requests).and_then(|()| log.sync_data()))?;
            for queue in &queues {
                queue.send(()).await.context("a destination has ended")?;
            }
        }
        drop(queues);
        writing.await??;
        posting.await??;
        indexing.await??;
        Ok(Sent { cost: meter.stop()?, records: batches * BATCH_RECORDS })
    }
}

fn create(dir: &Path, name: &str) -> anyhow::Result<File> {
    File::create_new(dir.join(name)).with_context(|| format!("create {name} in {dir:?}"))
}

/// Appends the lines once for each word of the queue.
fn write(mut archive: &File, lines: &[u8], queue: &mut mpsc::Receiver<()>) -> anyhow::Result<()> {
    while queue.blocking_recv().is_some() {
        archive.write_all(lines)?;
        archive.sync_data()?;
    }
    Ok(())
}

/// Posts a body once for each word of the queue.
async fn post(
    mut queue: mpsc::Receiver<()>,
    client: Client,
    request: RequestBuilder,
    compressed: bool,
    body: impl Fn() -> Vec<u8> + Send,
) -> anyhow::Result<()> {
    let request = request.build()?;
    while queue.recv().await.is_some() {
        let mut request = request.try_clone().context("a request without a body can be copied")?;
        *request.body_mut() = Some(packed(&mut request, body(), compressed).await?.into());
        client.execute(request).await?.error_for_status()?.bytes().await?;
    }
    Ok(())
}

/// Compresses a body, if it is to be, and says so in the request.
pub(crate) async fn packed(
    request: &mut reqwest::Request,
    body: Vec<u8>,
    compressed: bool,
) -> anyhow::Result<Bytes> {
    if !compressed {
        return Ok(body.into());
    }
    request.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    gzip(body.into()).await.context("compress a body")
}
