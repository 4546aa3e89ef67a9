//! What the agent is compared with at a real cluster: a bulk loader that posts bodies which it makes of records in memory.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::ensure;
use plugin_http::client::client;
use reqwest::header;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    child::Role,
    job::{Cost, Job, Meter},
    records::{BATCH_RECORDS, Records},
    simple::packed,
};

/// Microseconds since 1970, about.
const VERSION: u64 = 1_795_000_000_000_000;

/// Posts so many batches of new documents.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loader {
    /// Batches of records, which are sent again and again under new ids.
    pub(crate) sample: PathBuf,
    pub(crate) url: String,
    pub(crate) index: String,
    /// The number of the first batch: no two runs on an index share one.
    pub(crate) first_batch: u64,
    pub(crate) batches: u64,
    /// Requests in flight.
    pub(crate) requests: usize,
    pub(crate) gzip: bool,
}

/// What that took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    cost: Cost,
    records: u64,
}

impl Loaded {
    pub(crate) fn per_second(&self) -> f64 {
        self.records as f64 / self.cost.seconds
    }

    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cost.cpu_seconds * 1e6 / self.records as f64
    }
}

impl Job for Loader {
    const ROLE: Role = Role::Loader;
    type Outcome = Loaded;

    fn work(self) -> anyhow::Result<Loaded> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.load())
    }
}

impl Loader {
    async fn load(self) -> anyhow::Result<Loaded> {
        let records = Records::read(&self.sample)?;
        let meter = Meter::start()?;
        let loaded = self.batches * BATCH_RECORDS;
        let (next, requests) = (AtomicU64::new(self.first_batch), self.requests);
        let shared = Arc::new((self, records, next));
        let mut posting = JoinSet::new();
        for _ in 0..requests {
            let shared = shared.clone();
            posting.spawn(async move {
                let (loader, records, next) = &*shared;
                loader.post(records, next).await
            });
        }
        while let Some(posted) = posting.join_next().await {
            posted??;
        }
        Ok(Loaded { cost: meter.stop()?, records: loaded })
    }

    async fn post(&self, records: &Records, next: &AtomicU64) -> anyhow::Result<()> {
        let client = client("bench", None)?;
        let url = format!("{}/_bulk?timeout=20s&filter_path=errors,items.*.error", self.url);
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= self.first_batch + self.batches {
                return Ok(());
            }
            // In the agent's order: a cluster finds it cheaper to look for ids that rise.
            let pass = batch / records.batches();
            // As large as the agent's.
            let version = (VERSION + batch * BATCH_RECORDS) << 10;
            let mut request =
                client.post(&url).header(header::CONTENT_TYPE, "application/x-ndjson").build()?;
            let body = records.bulk(batch, &self.index, version, |id| format!("{id}-{pass}"));
            *request.body_mut() = Some(packed(&mut request, body, self.gzip).await?.into());
            let answer = client.execute(request).await?.error_for_status()?.bytes().await?;
            ensure!(
                answer.starts_with(br#"{"errors":false"#),
                "the cluster answered {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
}
