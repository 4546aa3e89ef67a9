//! The log's own appends, in a process that does nothing else: many appenders that each wait for their answer, and
//! readers at the tail.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};
use sync_agent::{
    log::{
        EmbeddedLog, Retention, Settings,
        interface::{Append, Attributes, BacklogLimit, Frame, Log, Reader},
    },
    runtime::SystemClock,
};
use tokio::task::JoinHandle;

use crate::{
    child::Role,
    job::{Cost, Job, Meter},
    payload::{REQUEST_RECORDS, requests},
};

/// Before anything is measured.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// Segments as the agent makes them.
pub(crate) const SEGMENT_BYTES: u64 = 128 << 20;
/// More than any scenario writes.
const DISK_BYTES_MAX: u64 = 1 << 40;

/// Appends requests for a while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Appenders {
    pub(crate) dir: PathBuf,
    pub(crate) appenders: usize,
    /// Readers at the tail.
    pub(crate) readers: usize,
    pub(crate) seconds: f64,
    pub(crate) codec: Codec,
}

/// What becomes of a payload before it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Codec {
    /// Nothing: as the agent does it.
    Raw,
    /// Each request is compressed by its appender, and decompressed by every reader.
    Lz4,
}

/// What a log or its rival took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) cost: Cost,
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Requests that the readers have read, all together.
    pub(crate) read: u64,
}

impl Taken {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.cost.seconds
    }

    pub(crate) fn cpu_per_million_records(&self) -> f64 {
        self.cost.cpu_seconds * 1e6 / (self.requests as f64 * f64::from(REQUEST_RECORDS))
    }
}

impl Codec {
    /// A payload as it is appended.
    pub(crate) fn encode(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => payload.to_vec(),
            Self::Lz4 => lz4_flex::compress_prepend_size(payload),
        }
    }

    /// Does with a frame what a reader has to; returns the payload's size.
    pub(crate) fn decode(self, frame: &Frame) -> anyhow::Result<usize> {
        match self {
            Self::Raw => Ok(frame.payload.len()),
            Self::Lz4 => Ok(lz4_flex::decompress_size_prepended(&frame.payload)?.len()),
        }
    }
}

impl Job for Appenders {
    const ROLE: Role = Role::Log;
    type Outcome = Taken;

    fn work(self) -> anyhow::Result<Taken> {
        // As the agent's.
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.append())
    }
}

impl Appenders {
    async fn append(self) -> anyhow::Result<Taken> {
        let log = Arc::new(open(&self.dir, &[])?);
        let payloads = Arc::new(requests());
        let count = Arc::new(Count::default());
        let mut readers = Vec::new();
        for _ in 0..self.readers {
            let reader = log.read_from(Position::default()).await?;
            readers.push(tokio::spawn(read(reader, self.codec, count.clone())));
        }
        let append = |first| {
            let (log, payloads, count) = (log.clone(), payloads.clone(), count.clone());
            tokio::spawn(async move {
                for payload in payloads.iter().cycle().skip(first) {
                    if count.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    log.append(request(self.codec.encode(payload))).await?;
                    count.appended.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        };
        let appenders: Vec<JoinHandle<anyhow::Result<()>>> = (0..self.appenders).map(append).collect();

        tokio::time::sleep(WARM_UP).await;
        let (meter, before) = (Meter::start()?, count.now());
        tokio::time::sleep(Duration::from_secs_f64(self.seconds)).await;
        let (after, cost) = (count.now(), meter.stop()?);
        count.stop.store(true, Ordering::Relaxed);
        for appender in appenders {
            appender.await??;
        }
        log.close().await;
        for reader in readers {
            reader.await??;
        }
        Ok(Taken { cost, requests: after.0 - before.0, read: after.1 - before.1 })
    }
}

#[derive(Debug, Default)]
struct Count {
    appended: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
}

impl Count {
    /// Requests appended and read so far.
    fn now(&self) -> (u64, u64) {
        (self.appended.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed))
    }
}

/// Reads until the log is closed or nothing more is wanted.
async fn read(mut reader: Box<dyn Reader>, codec: Codec, count: Arc<Count>) -> anyhow::Result<()> {
    while !count.stop.load(Ordering::Relaxed) {
        let Ok(frames) = reader.next().await else { break };
        for frame in &frames {
            codec.decode(frame)?;
        }
        count.read.fetch_add(frames.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Opens a log with these destinations.
pub(crate) fn open(dir: &Path, destinations: &[&str]) -> anyhow::Result<EmbeddedLog> {
    let opened = EmbeddedLog::open(settings(dir, destinations), Arc::new(SystemClock));
    Ok(opened.context("open the log")?.0)
}

/// Settings that nothing is refused by.
pub(crate) fn settings(dir: &Path, destinations: &[&str]) -> Settings {
    Settings {
        dir: dir.to_owned(),
        disk_bytes_max: DISK_BYTES_MAX,
        segment_bytes: SEGMENT_BYTES,
        // Every delivered segment goes at once.
        retention: Retention { age: Duration::ZERO, bytes_max: 0 },
        destinations: destinations.iter().map(|name| ((*name).to_owned(), BacklogLimit::UNLIMITED)).collect(),
    }
}

/// A request as ingress appends it.
pub(crate) fn request(payload: Vec<u8>) -> Append {
    Append { records: REQUEST_RECORDS, payload, attributes: Attributes::default() }
}
