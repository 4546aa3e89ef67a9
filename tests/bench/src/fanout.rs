//! An agent with three destinations: a file, a fake Algolia and a fake Elasticsearch, each fake in a process of its own.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::{
    load::{
        options::{Choice, Options, Until},
        run::run,
    },
    process::Agent,
};

use crate::{
    child::{Child, Role},
    cli::Bench,
    ingest::batches,
    lines::Lines,
};

/// How long destinations may take for what was accepted, before the run counts as failed.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

/// The agent, its destinations, and what it accepted.
pub(crate) struct Fanout {
    pub(crate) agent: Agent,
    pub(crate) lines: Lines,
    pub(crate) algolia: Child,
    pub(crate) elasticsearch: Child,
    /// Records accepted so far.
    pub(crate) sent: u64,
    pub(crate) next_sequence: u64,
}

/// Operations that each destination has got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) file: u64,
    pub(crate) algolia: u64,
    pub(crate) elasticsearch: u64,
}

/// What the agent did with as much load as it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) per_second: f64,
    /// CPU seconds of the agent, of the fake Algolia and of the fake Elasticsearch for a million records.
    pub(crate) cpu_per_million: [f64; 3],
    /// Until everything was accepted.
    pub(crate) accepted: Duration,
}

impl Fanout {
    /// `gzip` concerns what is sent to both fakes; `data` are keys of `[data]`.
    pub(crate) async fn start(bench: &Bench, gzip: bool, data: &str) -> anyhow::Result<Self> {
        Self::start_with(bench, gzip, data, "").await
    }

    /// The same with more tables at the config's end.
    pub(crate) async fn start_with(
        bench: &Bench,
        gzip: bool,
        data: &str,
        tables: &str,
    ) -> anyhow::Result<Self> {
        let (algolia, elasticsearch) = (Child::start(Role::Algolia)?, Child::start(Role::Elasticsearch)?);
        let gzip = format!("gzip = {gzip}");
        let setup = bench.agent()?.file("archive").algolia("search", algolia.url()).config(&gzip);
        let setup = setup.elasticsearch("mirror", elasticsearch.url()).config(&gzip);
        let agent = setup.config(tables).data(data).start().await?;
        let lines = Lines::new(agent.output("archive"));
        Ok(Self { agent, lines, algolia, elasticsearch, sent: 0, next_sequence: 1 })
    }

    /// So many records as fast as the agent takes them, until each destination has all of them.
    pub(crate) async fn capacity(&mut self, records: u64) -> anyhow::Result<Capacity> {
        let (start, before, first) = (Instant::now(), self.cpu()?, self.sent);
        self.send(Options { until: Until::Records(records), ..batches() }).await?;
        let accepted = start.elapsed();
        self.drained().await?;
        let (elapsed, after) = (start.elapsed(), self.cpu()?);
        let records = (self.sent - first) as f64;
        let mut cpu_per_million = [0.0; 3];
        for ((cpu, before), after) in cpu_per_million.iter_mut().zip(before).zip(after) {
            *cpu = (after - before).as_secs_f64() * 1e6 / records;
        }
        Ok(Capacity { per_second: records / elapsed.as_secs_f64(), cpu_per_million, accepted })
    }

    /// Runs a load. Its keys come in turn, so that none comes again while it waits: a destination that coalesces gets every
    /// operation, and counting tells when it has.
    pub(crate) async fn send(&mut self, options: Options) -> anyhow::Result<()> {
        let options = self.next(options);
        let report = run(self.agent.address(), options).await?;
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        self.sent += report.records.acknowledged;
        self.next_sequence = report.next_sequence;
        Ok(())
    }

    /// The load that goes on with what was sent.
    pub(crate) fn next(&self, options: Options) -> Options {
        Options { choice: Choice::InTurn, first_sequence: self.next_sequence, ..options }
    }

    pub(crate) fn counts(&mut self) -> anyhow::Result<Counts> {
        Ok(Counts {
            file: self.lines.count()?,
            algolia: self.algolia.count()?,
            elasticsearch: self.elasticsearch.count()?,
        })
    }

    /// Waits until each destination has got everything.
    pub(crate) async fn drained(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let (counts, sent) = (self.counts()?, self.sent);
            if counts.file >= sent && counts.algolia >= sent && counts.elasticsearch >= sent {
                ensure!(counts.file == sent, "{} lines for {sent} records", counts.file);
                return Ok(());
            }
            ensure!(
                start.elapsed() < DRAIN_DEADLINE,
                "of {sent} records the destinations have {counts:?} after {DRAIN_DEADLINE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn cpu(&self) -> anyhow::Result<[Duration; 3]> {
        Ok([self.agent.usage().cpu, self.algolia.usage()?.cpu, self.elasticsearch.usage()?.cpu])
    }
}
