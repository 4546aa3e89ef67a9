//! Giving segments back while others are written: what a removal costs those who append.
//!
//! The same rate three times: nothing is removed and no cursor moves; the follower's cursor moves and another
//! destination holds everything; segments are removed all the time. What differs between the last two is the removal.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use plugin_api::identity::Position;
use serde::{Deserialize, Serialize};
use sync_agent::log::{
    EmbeddedLog,
    interface::{From, Log as _, Progress, Reader},
};
use tokio::task::JoinSet;

use crate::{
    appenders::{SEGMENT_BYTES, open, request},
    child::Role,
    cli::Bench,
    job::{Cost, Job, Meter},
    payload::{REQUEST_RECORDS, requests},
    scratch::{Scratch, median},
    table::Table,
};

const NAME: &str = "retention";
const FOLLOWER: &str = "follower";
const HOLDER: &str = "holder";
/// How often a destination persists its cursor, as in the agent.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often each way is measured; the median is shown.
const TURNS: usize = 3;
/// How long a removal may have its effect.
const AFTERMATH: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);
/// More appends in flight mean that the rate is too high for this machine.
const IN_FLIGHT_MAX: usize = 4096;

pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    const WAYS: [(Cursors, &str); 3] = [
        (Cursors::Still, "nothing moves"),
        (Cursors::Held, "a cursor moves, nothing goes"),
        (Cursors::Moving, "segments go"),
    ];
    let mut found = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        for ((cursors, _), found) in WAYS.iter().zip(&mut found) {
            let scratch = Scratch::new()?;
            let job = Follow {
                dir: scratch.path("log"),
                requests_per_second: bench.rate,
                seconds: bench.window.as_secs_f64(),
                cursors: *cursors,
            };
            found.push(job.run()?);
        }
    }
    for ((cursors, name), found) in WAYS.iter().zip(&found) {
        let of = |value: fn(&Followed) -> f64| median(found.iter().map(value));
        let label = format!("{:.0} appends/s, {name}, p50", bench.rate);
        table.add(NAME, label, of(|followed| followed.p50), "ms");
        table.add(NAME, "  p99", of(|followed| followed.p99), "ms");
        table.add(NAME, "  p99.9", of(|followed| followed.p999), "ms");
        table.add(NAME, "  max", of(|followed| followed.max), "ms");
        let around = match cursors {
            Cursors::Still => continue,
            Cursors::Held => "  the longest append around a commit",
            Cursors::Moving => "  the longest append around a removal",
        };
        let longest = median(found.iter().flat_map(|followed| followed.around.iter().copied()));
        table.add(NAME, around, longest, "ms");
        table.add(NAME, "  segments that went", of(|followed| followed.segments as f64), "");
    }
    Ok(())
}

/// Appends at a fixed rate while a destination follows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Follow {
    dir: PathBuf,
    requests_per_second: f64,
    seconds: f64,
    cursors: Cursors,
}

/// What the destinations do with their cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Cursors {
    /// Nothing.
    Still,
    /// One moves, another one holds everything.
    Held,
    /// Segments go.
    Moving,
}

/// How long appends took, in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Followed {
    cost: Cost,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// The longest append around each removal; around each commit of a cursor, where nothing is removed.
    around: Vec<f64>,
    /// The segments that went.
    segments: u64,
}

/// When something began and ended.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: Instant,
    end: Instant,
}

impl Job for Follow {
    const ROLE: Role = Role::Follow;
    type Outcome = Followed;

    fn work(self) -> anyhow::Result<Followed> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.follow())
    }
}

impl Follow {
    async fn follow(self) -> anyhow::Result<Followed> {
        let destinations: &[&str] = match self.cursors {
            Cursors::Still | Cursors::Held => &[FOLLOWER, HOLDER],
            Cursors::Moving => &[FOLLOWER],
        };
        let log = Arc::new(open(&self.dir, destinations)?);
        for destination in destinations {
            log.subscribe(destination, From::Oldest).await?;
        }
        let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let reader = log.read_from(Position::default()).await?;
        let reading = tokio::spawn(read(reader, next.clone()));
        let committing = (self.cursors != Cursors::Still)
            .then(|| tokio::spawn(commit(log.clone(), next.clone(), stop.clone())));
        let meter = Meter::start()?;
        let appends = self.load(&log).await?;
        let cost = meter.stop()?;
        stop.store(true, Ordering::Relaxed);
        let segments = gone(&log);
        let mut commits = match committing {
            Some(committing) => committing.await??,
            None => Vec::new(),
        };
        log.close().await;
        reading.await?;
        if self.cursors == Cursors::Moving {
            commits.retain(|(_, removed)| *removed);
        }
        let around = commits.iter().map(|(commit, _)| longest_around(*commit, &appends)).collect();
        let mut latencies = Histogram::<u64>::new(3)?;
        for append in &appends {
            latencies.record(append.length().as_micros() as u64)?;
        }
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let max = latencies.max() as f64 / 1e3;
        Ok(Followed { cost, p50: at(0.5), p99: at(0.99), p999: at(0.999), max, around, segments })
    }

    /// Appends at the fixed rate whether or not answers come, so that an append that waits delays no other.
    async fn load(&self, log: &Arc<EmbeddedLog>) -> anyhow::Result<Vec<Span>> {
        let payloads = requests();
        let mut payloads = payloads.iter().cycle();
        let (mut done, mut appends, mut sent) = (Vec::new(), JoinSet::new(), 0.0);
        let (start, mut tick) = (Instant::now(), tokio::time::interval(TICK));
        while start.elapsed().as_secs_f64() < self.seconds {
            tick.tick().await;
            while sent < start.elapsed().as_secs_f64() * self.requests_per_second {
                let payload = payloads.next().cloned().unwrap_or_default();
                let (log, start) = (log.clone(), Instant::now());
                appends.spawn(async move {
                    log.append(request(payload)).await.map(|_| Span { start, end: Instant::now() })
                });
                sent += 1.0;
            }
            while let Some(append) = appends.try_join_next() {
                done.push(append??);
            }
            let (waiting, rate) = (appends.len(), self.requests_per_second);
            ensure!(waiting < IN_FLIGHT_MAX, "{waiting} appends wait: {rate} a second are too many");
        }
        while let Some(append) = appends.join_next().await {
            done.push(append??);
        }
        Ok(done)
    }
}

/// The segments that are gone, by the log's start and by how many requests fill one.
fn gone(log: &EmbeddedLog) -> u64 {
    let payloads = requests();
    let frame_bytes = payloads.iter().map(Vec::len).sum::<usize>() as f64 / payloads.len() as f64 + 68.0;
    let segment_records = SEGMENT_BYTES as f64 / frame_bytes * f64::from(REQUEST_RECORDS);
    (log.status().start.offset as f64 / segment_records).round() as u64
}

async fn read(mut reader: Box<dyn Reader>, next: Arc<AtomicU64>) {
    while let Ok(frames) = reader.next().await {
        if let Some(last) = frames.last() {
            next.store(last.position.offset + u64::from(REQUEST_RECORDS), Ordering::Relaxed);
        }
    }
}

/// Commits the follower's cursor again and again; returns when, and whether segments went.
async fn commit(
    log: Arc<EmbeddedLog>,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<(Span, bool)>> {
    let mut tick = tokio::time::interval(COMMIT_EVERY);
    let mut commits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let next = Position { partition: 0, offset: next.load(Ordering::Relaxed) };
        let (start, before) = (Instant::now(), log.status().start);
        log.commit(FOLLOWER, &Progress { next, ..Progress::default() }).await?;
        commits.push((Span { start, end: Instant::now() }, log.status().start != before));
    }
    Ok(commits)
}

/// The longest append, in milliseconds, that was under way during a commit or soon after: what is removed is given back
/// with a later sync, too.
fn longest_around(commit: Span, appends: &[Span]) -> f64 {
    let under_way = |append: &&Span| append.end >= commit.start && append.start <= commit.end + AFTERMATH;
    appends.iter().filter(under_way).map(Span::length).max().unwrap_or_default().as_secs_f64() * 1e3
}

impl Span {
    fn length(&self) -> Duration {
        self.end - self.start
    }
}
