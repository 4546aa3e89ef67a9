//! Opening logs of different sizes: it must not take longer because there is more.
//!
//! The logs are sparse ([`crate::sparse`]); each is opened again and again in a process of its own, and what opening
//! reports is compared with what was made.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use sync_agent::{
    log::{EmbeddedLog, interface::Log as _},
    runtime::SystemClock,
};

use crate::{
    appenders::{SEGMENT_BYTES, open, settings},
    child::Role,
    cli::Bench,
    groups::segments,
    job::{Cost, Job, Meter},
    payload::{REQUEST_RECORDS, requests},
    scratch::{Scratch, median},
    sparse::{Plan, Section, room},
    table::{Table, Target},
};

const NAME: &str = "reopen";
/// Openings of one job; the first one warms up.
const TIMES: usize = 6;
/// A tag that no version knows: readers pass over it.
const UNKNOWN_TAG: u16 = 0x7F00;
/// How long a segment takes to fill: at 65 MB/s, so that many footers lie within any window of minutes.
const SEGMENT_TIME: Duration = Duration::from_secs(2);

/// Opens a log several times.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reopen {
    dir: PathBuf,
    times: usize,
    /// The page cache forgets the segments before each opening.
    cold: bool,
    /// The offset that the log must end at.
    end: u64,
}

/// How long each opening took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    milliseconds: Vec<f64>,
    cost: Cost,
}

impl Job for Reopen {
    const ROLE: Role = Role::Reopen;
    type Outcome = Opened;

    fn work(self) -> anyhow::Result<Opened> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (meter, mut milliseconds) = (Meter::start()?, Vec::new());
        for _ in 0..self.times {
            if self.cold {
                forget(&self.dir)?;
            }
            let start = Instant::now();
            let (log, report) = EmbeddedLog::open(settings(&self.dir, &[]), Arc::new(SystemClock))?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
            ensure!(report.alerts.is_empty(), "opening has something to say: {:?}", report.alerts);
            let found = (report.end.offset, report.torn_bytes);
            ensure!(
                found == (self.end, 0),
                "end and torn bytes are {found:?}, the end was made at {}",
                self.end
            );
            runtime.block_on(log.close());
        }
        Ok(Opened { milliseconds, cost: meter.stop()? })
    }
}

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    // A log that has just begun its newest segment, and one that is about to end it.
    for (state, filled) in [("half full", SEGMENT_BYTES / 2), ("just begun", 0)] {
        let mut logs = Vec::new();
        for &gibibytes in &bench.sizes {
            let scratch = Scratch::new()?;
            let segments = (gibibytes << 30) / SEGMENT_BYTES;
            if let Err(missing) =
                room(&scratch.path(""), segments, SEGMENT_BYTES, bench.footer_section_bytes)?
            {
                anstream::eprintln!(
                    "reopen: {gibibytes} GiB skipped, the disk lacks {} MB",
                    missing / 1_000_000
                );
                continue;
            }
            let dir = scratch.path("log");
            let end = make(&dir, segments, SEGMENT_BYTES, filled, bench.footer_section_bytes).await?;
            logs.push(Made { gibibytes, scratch, end, warm: Vec::new(), cold: Vec::new(), resident: 0 });
        }
        for _ in 0..bench.rounds {
            for log in &mut logs {
                log.reopen()?;
            }
        }
        show(state, &logs, table);
    }
    Ok(())
}

/// A log and how long it took to open, one median a round.
struct Made {
    gibibytes: u64,
    scratch: Scratch,
    end: u64,
    warm: Vec<f64>,
    cold: Vec<f64>,
    resident: u64,
}

impl Made {
    fn reopen(&mut self) -> anyhow::Result<()> {
        let job = |cold| Reopen { dir: self.scratch.path("log"), times: TIMES, cold, end: self.end };
        let cold = job(true).run()?;
        let warm = job(false).run()?;
        self.cold.push(median(cold.milliseconds.iter().copied()));
        self.warm.push(median(warm.milliseconds.iter().skip(1).copied()));
        self.resident = self.resident.max(warm.cost.resident_bytes_max);
        Ok(())
    }
}

async fn make(
    dir: &Path,
    segments: u64,
    segment_bytes: u64,
    newest_bytes: u64,
    section_bytes: u64,
) -> anyhow::Result<u64> {
    // Makes the directory with its identity; once it is closed, the next one may lock it.
    open(dir, &[])?.close().await;
    // Before the window of the idempotency keys: sealed segments are holes, where no frame tells its key.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)? - Duration::from_secs(3_600);
    let sections = |_| match usize::try_from(section_bytes) {
        Ok(bytes) if bytes > 0 => vec![Section { tag: UNKNOWN_TAG, value: vec![0x5A; bytes] }],
        _ => Vec::new(),
    };
    let plan = Plan {
        dir,
        segments,
        segment_bytes,
        payload: &requests().swap_remove(0),
        records: REQUEST_RECORDS,
        newest_bytes,
        segment_micros: u64::try_from(SEGMENT_TIME.as_micros())?,
        now: u64::try_from(now.as_micros())?,
        sections: &sections,
    };
    plan.make()
}

fn show(state: &str, logs: &[Made], table: &mut Table) {
    let Some(first) = logs.first() else { return };
    for log in logs {
        let size = log.gibibytes;
        let name = format!("{size} GiB, newest segment {state}");
        let warm = median(log.warm.iter().copied());
        table.add(NAME, name, warm, "ms");
        if size != first.gibibytes {
            let ratios = log.warm.iter().zip(&first.warm).map(|(large, small)| large / small);
            let figure = table.add(NAME, format!("  to {} GiB", first.gibibytes), median(ratios), "x");
            figure.target(Target::AtMost(1.5));
        }
        table.add(NAME, "  with a cold cache", median(log.cold.iter().copied()), "ms");
        let resident = table.add(NAME, "  peak resident", log.resident as f64 / 1e6, "MB");
        resident.target(Target::AtMost(20.0));
    }
}

/// Lets the page cache forget a log's segments; what is not on disk yet stays.
pub(crate) fn forget(dir: &Path) -> anyhow::Result<()> {
    for path in segments(dir)? {
        fadvise(File::open(&path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sync_agent::log::Settings;

    use super::*;
    use crate::groups::groups;

    /// G1, opening: a log that was written from the format's description alone opens without a word, ends where it was
    /// made to end, and passes over the footer's sections that nobody knows.
    #[tokio::test]
    async fn a_log_by_the_book_opens() {
        for (filled, section_bytes) in [(0, 0), (1 << 20, 1000)] {
            let scratch = Scratch::new().unwrap();
            let dir = scratch.path("log");
            let end = make(&dir, 3, 4 << 20, filled, section_bytes).await.unwrap();
            let settings = Settings { segment_bytes: 4 << 20, ..settings(&dir, &[]) };
            let (_log, report) = EmbeddedLog::open(settings, Arc::new(SystemClock)).unwrap();
            assert!(report.alerts.is_empty(), "{:?}", report.alerts);
            assert_eq!((report.segments, report.end.offset, report.torn_bytes), (3, end, 0));
            // Sealed segments are holes: only the newest one's frames are there.
            let frames: u64 = groups(&dir).unwrap().iter().map(|group| group.requests).sum();
            assert_eq!(frames > 0, filled > 0);
        }
    }
}
