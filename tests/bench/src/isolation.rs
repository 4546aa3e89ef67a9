//! One of three destinations is dead for a while: what the other two notice of it, and how fast it catches up.
//!
//! The load is open and fixed, half of what the three were seen to sustain at the beginning of the same run, and it goes on
//! all the time; probes beside it ([`crate::arrivals`]) tell how long the way takes. Phases: all is well; the Elasticsearch
//! refuses connections; it is back and catches up under the same load. Then it is dead once more for half as long, and
//! catches up without any load.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use harness::{
    history::Outcome,
    load::{
        connection::ConnectionError,
        control::Control,
        options::{Options, Pace, Until},
        probes::{Answered, probe},
        report::Report,
        run::run,
    },
};
use rustix::fs::statvfs;
use tokio::task::JoinHandle;

use crate::{
    arrivals::{FileArrivals, latencies, quantile},
    cli::Bench,
    fake::{PROBES, micros},
    fanout::{Counts, Fanout},
    ingest::batches,
    scratch::median,
    table::{Table, Target},
};

const NAME: &str = "isolation";
/// How often the sustained rate is measured; the median counts.
const ROUNDS: usize = 3;
/// Before the first phase: what the start of the load piled up is delivered by then.
const WARM_UP: Duration = Duration::from_secs(5);
/// One probe each.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(50);
/// How long destinations may take for what was accepted, before the run counts as failed.
const DEADLINE: Duration = Duration::from_secs(600);
/// Bytes of a record in the log and in the file together, at most.
const DISK_BYTES: f64 = 2_000.0;

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let data = "disk_bytes_max = \"256GiB\"\nretention = { bytes_max = \"256MiB\" }";
    let mut fanout = Fanout::start(bench, false, data).await?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let records = (bench.window.as_secs_f64() * 80_000.0) as u64;
        rates.push(fanout.capacity(records).await?.per_second);
    }
    let sustained = median(rates.into_iter());
    let offered = sustained / 2.0;
    table.add(NAME, "three destinations sustain", sustained, "records/s");
    table.add(NAME, "offered all the time", offered, "records/s");
    room(&fanout, offered * bench.outage.as_secs_f64() * DISK_BYTES)?;

    let mut live = Live::start(fanout, offered)?;
    live.phase(WARM_UP).await?;
    let before = live.phase(bench.outage / 4).await?;
    live.fanout.elasticsearch.set_serving(false)?;
    let outage = live.phase(bench.outage).await?;
    live.fanout.elasticsearch.set_serving(true)?;
    let (catching_up, under_load) = live.catch_up(bench.outage).await?;
    live.fanout.elasticsearch.set_serving(false)?;
    live.phase(bench.outage / 2).await?;
    let mut ended = live.stop().await?;
    let alone = ended.catch_up().await?;
    ended.show(before, &[("while one is dead", outage), ("while it catches up", catching_up)], table)?;
    for (label, caught_up, least) in
        [("it catches up under load", under_load, 1.5), ("it catches up without load", alone, 3.0)]
    {
        let rate = caught_up.per_second;
        let figure = table.add(NAME, label, rate, "records/s").ratio("offered", offered);
        figure.target(Target::AtLeast(least * offered));
        table.add(NAME, "  of a backlog of", caught_up.backlog, "records");
        table.add_time(NAME, "  noticed after", caught_up.noticed);
    }
    Ok(())
}

/// Makes sure that the disk has room for what waits during the outage.
fn room(fanout: &Fanout, bytes: f64) -> anyhow::Result<()> {
    let disk = statvfs(fanout.agent.directory()).context("look at the agent's disk")?;
    let free = (disk.f_bavail * disk.f_frsize) as f64;
    let (needed, has) = (bytes / 1e9, free / 1e9);
    ensure!(
        needed < has,
        "the outage takes {needed:.0} GB of disk and {has:.0} are free: shorten it (--outage)"
    );
    Ok(())
}

/// Load and probes that run.
struct Live {
    fanout: Fanout,
    offered: f64,
    control: Control,
    load: JoinHandle<Result<Report, ConnectionError>>,
    probes: JoinHandle<Result<Vec<Answered>, ConnectionError>>,
    file: FileArrivals,
}

/// A part of the run.
#[derive(Clone, Copy, Debug)]
struct Phase {
    start: (SystemTime, Counts),
    end: (SystemTime, Counts),
}

/// What a destination did that was dead.
#[derive(Clone, Copy, Debug)]
struct CaughtUp {
    /// From the last look before the first operation arrived again.
    per_second: f64,
    /// Operations that waited when it was back.
    backlog: f64,
    /// Until then.
    noticed: Duration,
}

impl Live {
    fn start(fanout: Fanout, offered: f64) -> anyhow::Result<Self> {
        let file = FileArrivals::watch(fanout.lines.directory())?;
        let pace = Pace::Open { requests_per_second: offered / batches().request_records as f64 };
        // Until it is stopped.
        let until = Until::Elapsed(Duration::from_secs(86_400));
        // A late answer is no failure here: the rate and the probes tell.
        let request_timeout = Duration::from_secs(60);
        let options = fanout.next(Options { until, pace, in_flight: 4, request_timeout, ..batches() });
        let (control, address) = (options.control.clone(), fanout.agent.address());
        let load = tokio::spawn(run(address, options));
        let probing = probe(address, PROBES.to_owned(), PROBE_INTERVAL, control.clone());
        let probes = tokio::spawn(probing);
        Ok(Self { fanout, offered, control, load, probes, file })
    }

    /// Lets the load go on for so long.
    async fn phase(&mut self, length: Duration) -> anyhow::Result<Phase> {
        let (begin, start) = (Instant::now(), self.now()?);
        while begin.elapsed() < length {
            tokio::time::sleep(LOOK.min(length)).await;
            self.now()?;
        }
        Ok(Phase { start, end: self.now()? })
    }

    /// Waits until the Elasticsearch has all but the last second's load, three times the outage at most.
    async fn catch_up(&mut self, outage: Duration) -> anyhow::Result<(Phase, CaughtUp)> {
        let start = self.now()?;
        let mut drain = Drain::new(start.1.elasticsearch, self.accepted());
        let deadline = 3 * outage + Duration::from_secs(60);
        loop {
            let end = self.now()?;
            drain.note(end.1.elasticsearch);
            let behind = self.accepted().saturating_sub(end.1.elasticsearch) as f64;
            if behind < self.offered || drain.since.elapsed() > deadline {
                return Ok((Phase { start, end }, drain.caught_up()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Records accepted since the agent started, without the few probes.
    fn accepted(&self) -> u64 {
        self.fanout.sent + self.control.acknowledged()
    }

    fn now(&mut self) -> anyhow::Result<(SystemTime, Counts)> {
        ensure!(!self.load.is_finished() && !self.probes.is_finished(), "load or probes ended early");
        let counts = self.fanout.counts()?;
        Ok((SystemTime::now(), counts))
    }
}

impl Live {
    /// Ends load and probes, and waits until the two other destinations have everything.
    async fn stop(mut self) -> anyhow::Result<Ended> {
        self.control.stop();
        let report = self.load.await??;
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        let mut accepted = Vec::new();
        for Answered { outcome, at } in self.probes.await?? {
            ensure!(matches!(outcome, Outcome::Acknowledged { .. }), "a probe was told {outcome:?}");
            accepted.push(micros(at));
        }
        self.fanout.sent += report.records.acknowledged + accepted.len() as u64;
        let (begin, sent) = (Instant::now(), self.fanout.sent);
        loop {
            let counts = self.fanout.counts()?;
            if counts.file >= sent && counts.algolia >= sent {
                break;
            }
            ensure!(begin.elapsed() < DEADLINE, "of {sent} records the destinations have {counts:?}");
            tokio::time::sleep(LOOK).await;
        }
        let (file, algolia) = (self.file.taken().await?, self.fanout.algolia.probed()?);
        Ok(Ended { fanout: self.fanout, accepted, file, algolia })
    }
}

/// When the load is over.
struct Ended {
    fanout: Fanout,
    /// When each probe was accepted, and when it arrived.
    accepted: Vec<u64>,
    file: Vec<u64>,
    algolia: Vec<u64>,
}

impl Ended {
    /// Lets the Elasticsearch have everything.
    async fn catch_up(&mut self) -> anyhow::Result<CaughtUp> {
        let sent = self.fanout.sent;
        let mut drain = Drain::new(self.fanout.elasticsearch.count()?, sent);
        self.fanout.elasticsearch.set_serving(true)?;
        loop {
            let count = self.fanout.elasticsearch.count()?;
            drain.note(count);
            if count >= sent {
                return Ok(drain.caught_up());
            }
            ensure!(drain.since.elapsed() < DEADLINE, "of {sent} records Elasticsearch has {count}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the two others did in each phase.
    fn show(&self, before: Phase, phases: &[(&str, Phase)], table: &mut Table) -> anyhow::Result<()> {
        let file = ("file", &self.file, (|counts| counts.file) as fn(&Counts) -> u64);
        let algolia = ("Algolia", &self.algolia, (|counts| counts.algolia) as fn(&Counts) -> u64);
        for (name, arrived, count) in [file, algolia] {
            let p99 = |phase: Phase| {
                let latencies = latencies(&self.accepted, arrived, (phase.start.0, phase.end.0))?;
                anyhow::Ok(quantile(&latencies, 0.99))
            };
            let (rate_before, p99_before) = (before.per_second(count)?, p99(before)?);
            table.add(NAME, format!("{name} before"), rate_before, "records/s");
            table.add_time(NAME, "  accepted to delivered, p99", p99_before);
            for (words, phase) in phases {
                let rate = phase.per_second(count)?;
                let figure = table.add(NAME, format!("{name} {words}"), rate, "records/s");
                figure.ratio("before", rate_before).target(Target::AtLeast(0.95 * rate_before));
                let figure = table.add_time(NAME, "  accepted to delivered, p99", p99(*phase)?);
                let before = p99_before.as_secs_f64() * 1e3;
                figure.ratio("before", before).target(Target::AtMost(2.0 * before));
            }
        }
        Ok(())
    }
}

impl Phase {
    /// Operations of a destination.
    fn per_second(&self, count: fn(&Counts) -> u64) -> anyhow::Result<f64> {
        let (start, end) = (&self.start, &self.end);
        let elapsed = end.0.duration_since(start.0).context("the system's clock went back")?;
        Ok((count(&end.1) - count(&start.1)) as f64 / elapsed.as_secs_f64())
    }
}

/// Looks at a destination that is back.
struct Drain {
    since: Instant,
    first: u64,
    backlog: u64,
    /// The last look before its first operation arrived.
    began: Option<Instant>,
    /// The last look.
    last: (Instant, u64),
}

impl Drain {
    fn new(count: u64, accepted: u64) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            first: count,
            backlog: accepted.saturating_sub(count),
            began: None,
            last: (now, count),
        }
    }

    fn note(&mut self, count: u64) {
        if count > self.first && self.began.is_none() {
            self.began = Some(self.last.0);
        }
        self.last = (Instant::now(), count);
    }

    fn caught_up(&self) -> CaughtUp {
        let began = self.began.unwrap_or(self.last.0);
        let per_second = (self.last.1 - self.first) as f64 / (self.last.0 - began).as_secs_f64();
        CaughtUp { per_second, backlog: self.backlog as f64, noticed: began - self.since }
    }
}
