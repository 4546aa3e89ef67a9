//! A reader that takes a whole log, as a destination does that was away.

use std::path::PathBuf;

use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};
use sync_agent::log::interface::Log as _;

use crate::{
    appenders::{Codec, open},
    child::Role,
    job::{Cost, Job, Meter},
    payload::REQUEST_RECORDS,
    reopen::forget,
};

/// Reads a log from its start to its end, from the disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) dir: PathBuf,
    pub(crate) codec: Codec,
}

/// What that took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drained {
    pub(crate) cost: Cost,
    pub(crate) requests: u64,
    /// Bytes of the payloads, decompressed.
    pub(crate) bytes: u64,
}

impl Drained {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.cost.seconds
    }

    pub(crate) fn cpu_per_million_records(&self) -> f64 {
        self.cost.cpu_seconds * 1e6 / (self.requests as f64 * f64::from(REQUEST_RECORDS))
    }
}

impl Job for Drain {
    const ROLE: Role = Role::Drain;
    type Outcome = Drained;

    fn work(self) -> anyhow::Result<Drained> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let log = open(&self.dir, &[])?;
            forget(&self.dir)?;
            let meter = Meter::start()?;
            let end = log.status().end.offset;
            let mut reader = log.read_from(Position::default()).await?;
            let (mut next, mut requests, mut bytes) = (0, 0, 0);
            while next < end {
                for frame in reader.next().await? {
                    bytes += self.codec.decode(&frame)? as u64;
                    requests += 1;
                    next = frame.position.offset + u64::from(frame.records);
                }
            }
            let cost = meter.stop()?;
            log.close().await;
            Ok(Drained { cost, requests, bytes })
        })
    }
}
