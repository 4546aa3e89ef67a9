//! The whole way: from the producer to a file and a fake Algolia over real HTTP.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use harness::{
    load::{
        options::{Options, Pace, Until},
        run::run,
    },
    process::Agent,
};

use crate::{
    child::{Child, Role},
    cli::Bench,
    ingest::batches,
    table::{Table, Target},
};

const NAME: &str = "deliver";
/// How long destinations may take for what was accepted, before the run counts as failed.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);
/// What the destinations have to sustain.
const RECORDS_PER_SECOND: f64 = 80_000.0;

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let fake = Child::start(Role::Algolia)?;
    let setup = bench.agent()?.file("archive").algolia("search", fake.url()).config("gzip = false");
    let agent = setup.start().await?;
    let lines = Lines::new(agent.output("archive"));
    let mut delivery = Delivery { agent, fake, lines, sent: 0 };
    delivery.capacity(bench, table).await?;
    delivery.sustained(bench, table).await?;
    let peak = delivery.agent.usage().resident_bytes_max as f64 / 1e6;
    table.add(NAME, "agent's peak resident", peak, "MB").target(Target::AtMost(100.0));
    delivery.idle_latency(table).await?;
    delivery.idle_cpu(bench, table).await
}

struct Delivery {
    agent: Agent,
    fake: Child,
    lines: Lines,
    /// Records accepted so far.
    sent: u64,
}

impl Delivery {
    /// As much as the agent takes, until both destinations have all of it.
    async fn capacity(&mut self, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
        let before = (self.agent.usage().cpu, self.fake.usage()?.cpu, self.sent);
        let start = Instant::now();
        let records = (bench.window.as_secs_f64() * RECORDS_PER_SECOND) as u64;
        self.send(Options { until: Until::Records(records), ..batches() }).await?;
        let accepted = start.elapsed();
        self.drained().await?;
        let millions = (self.sent - before.2) as f64 / 1e6;
        let rate = millions * 1e6 / start.elapsed().as_secs_f64();
        table
            .add(NAME, "to file and Algolia, as fast as accepted", rate, "records/s")
            .target(Target::AtLeast(RECORDS_PER_SECOND));
        let cpu = (self.agent.usage().cpu - before.0).as_secs_f64() / millions;
        table.add(NAME, "  agent's CPU per million records", cpu, "s").target(Target::AtMost(10.0));
        let cpu = (self.fake.usage()?.cpu - before.1).as_secs_f64() / millions;
        table.add(NAME, "  fake's CPU per million records", cpu, "s");
        table.add(NAME, "  of it accepted within", accepted.as_secs_f64(), "s");
        Ok(())
    }

    /// At the required rate: how far behind the destinations are when it ends.
    async fn sustained(&mut self, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
        let pace = Pace::Open { requests_per_second: RECORDS_PER_SECOND / 100.0 };
        let options = Options { until: Until::Elapsed(bench.window), pace, ..batches() };
        self.send(Options { in_flight: 4, ..options }).await?;
        let end = Instant::now();
        self.drained().await?;
        table.add_time(NAME, "behind after 80,000 records/s", end.elapsed());
        Ok(())
    }

    /// One record at a time, from before it is sent, over a new connection, until the file and the fake have it.
    async fn idle_latency(&mut self, table: &mut Table) -> anyhow::Result<()> {
        const REQUESTS: usize = 200;
        let (mut to_file, mut to_algolia) = (Vec::new(), Vec::new());
        for _ in 0..REQUESTS {
            let start = Instant::now();
            self.send(Options { until: Until::Records(1), ..Options::default() }).await?;
            let (mut file, mut algolia) = (None, None);
            while file.is_none() || algolia.is_none() {
                ensure!(start.elapsed() < DRAIN_DEADLINE, "a lone record was not delivered");
                if file.is_none() && self.lines.count()? >= self.sent {
                    file = Some(start.elapsed());
                }
                if algolia.is_none() && self.fake.count()? >= self.sent {
                    algolia = Some(start.elapsed());
                }
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            to_file.extend(file);
            to_algolia.extend(algolia);
        }
        for (name, mut latencies) in [("file", to_file), ("Algolia", to_algolia)] {
            latencies.sort_unstable();
            let label = format!("a lone record to the {name}, p50");
            table.add_time(NAME, label, latencies[REQUESTS / 2]).target(Target::AtMost(10.0));
        }
        Ok(())
    }

    async fn idle_cpu(&self, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
        let (start, before) = (Instant::now(), self.agent.usage().cpu);
        tokio::time::sleep(bench.window).await;
        let cpu = (self.agent.usage().cpu - before).as_secs_f64() / start.elapsed().as_secs_f64();
        table.add(NAME, "idle CPU", cpu * 100.0, "% of a core").target(Target::AtMost(1.0));
        Ok(())
    }

    async fn send(&mut self, options: Options) -> anyhow::Result<()> {
        let report = run(self.agent.address(), options).await?;
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        self.sent += report.records.acknowledged;
        Ok(())
    }

    async fn drained(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let (file, algolia) = (self.lines.count()?, self.fake.count()?);
            if file >= self.sent && algolia >= self.sent {
                ensure!(file == self.sent, "{file} lines for {} records", self.sent);
                return Ok(());
            }
            ensure!(
                start.elapsed() < DRAIN_DEADLINE,
                "of {} records, {file} are in the file and {algolia} at the fake after {DRAIN_DEADLINE:?}",
                self.sent
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Counts the lines of a file destination, each once, whatever its file is renamed to.
struct Lines {
    directory: PathBuf,
    /// By inode: bytes read.
    read: HashMap<u64, u64>,
    buffer: Vec<u8>,
    lines: u64,
}

impl Lines {
    fn new(directory: PathBuf) -> Self {
        Self { directory, read: HashMap::new(), buffer: vec![0; 1 << 20], lines: 0 }
    }

    fn count(&mut self) -> anyhow::Result<u64> {
        for entry in fs::read_dir(&self.directory).context("list the file destination")? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                match File::open(&path) {
                    Ok(file) => self.count_in(&file)?,
                    // Renamed since it was listed; its inode is found under the new name next time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(self.lines)
    }

    fn count_in(&mut self, file: &File) -> anyhow::Result<()> {
        let read = self.read.entry(file.metadata()?.ino()).or_default();
        loop {
            let bytes = file.read_at(&mut self.buffer, *read)?;
            if bytes == 0 {
                return Ok(());
            }
            *read += bytes as u64;
            self.lines += memchr::memchr_iter(b'\n', &self.buffer[..bytes]).count() as u64;
        }
    }
}
