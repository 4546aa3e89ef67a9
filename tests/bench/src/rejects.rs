//! One of two destinations rejects every record: how fast its dead letters are filed, and what producers and the other
//! destination notice.
//!
//! First at the rate that must be borne, with and without rejects; then as fast as the agent takes the records.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use harness::{
    load::{
        options::{Choice, Options, Pace, Until},
        report::Report,
        run::run,
    },
    process::Agent,
};
use sync_agent::dead_letter::{Filter, Order, View, store_path};

use crate::{
    child::{Child, Role},
    cli::Bench,
    ingest::batches,
    lines::Lines,
    table::{Figure, Table, Target},
};

const NAME: &str = "rejects";
const DESTINATION: &str = "mirror";
/// Rejects a second that must not stall ingest.
const RECORDS_PER_SECOND: f64 = 10_000.0;
/// Records of the load without a pace, for each second of a measurement.
const UNPACED_RECORDS: f64 = 40_000.0;
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let mut rejecting = Rejecting::start(bench).await?;
    let requests_per_second = RECORDS_PER_SECOND / batches().request_records as f64;
    let paced = Options {
        until: Until::Elapsed(bench.window),
        pace: Pace::Open { requests_per_second },
        in_flight: 4,
        ..batches()
    };
    let records = (bench.window.as_secs_f64() * UNPACED_RECORDS) as u64;
    let unpaced = Options { until: Until::Records(records), ..batches() };

    let taken = rejecting.send(paced.clone()).await?;
    let taken_unpaced = rejecting.send(unpaced.clone()).await?;
    rejecting.elasticsearch.reject()?;
    let rejected = rejecting.send(paced).await?;
    rejected.show("10,000 records/s", &taken, table).target(Target::AtLeast(0.95 * RECORDS_PER_SECOND));
    let rejected = rejecting.send(unpaced).await?;
    rejected.show("as fast as accepted", &taken_unpaced, table);
    let peak = rejecting.agent.usage().resident_bytes_max as f64 / 1e6;
    table.add(NAME, "agent's peak resident", peak, "MB");
    Ok(())
}

/// The agent with a file and an Elasticsearch, and what it accepted.
struct Rejecting {
    agent: Agent,
    lines: Lines,
    elasticsearch: Child,
    /// Records that were accepted.
    sent: u64,
    next_sequence: u64,
}

/// What came of one load.
struct Sent {
    report: Report,
    /// Records a second until the file had all of them, and until all were taken or filed.
    to_file: f64,
    to_end: f64,
    cpu_per_million: f64,
}

impl Rejecting {
    async fn start(bench: &Bench) -> anyhow::Result<Self> {
        let elasticsearch = Child::start(Role::Elasticsearch)?;
        let setup = bench.agent()?.file("archive").elasticsearch(DESTINATION, elasticsearch.url());
        let agent = setup.config("dead_letters = { bytes_max = \"8GiB\" }").start().await?;
        let lines = Lines::new(agent.output("archive"));
        Ok(Self { agent, lines, elasticsearch, sent: 0, next_sequence: 1 })
    }

    /// Sends a load and waits until every record has come to its end.
    async fn send(&mut self, options: Options) -> anyhow::Result<Sent> {
        let (start, before, first) = (Instant::now(), self.agent.usage().cpu, self.sent);
        let options = Options { choice: Choice::InTurn, first_sequence: self.next_sequence, ..options };
        let report = run(self.agent.address(), options).await?;
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        self.sent += report.records.acknowledged;
        self.next_sequence = report.next_sequence;
        let records = (self.sent - first) as f64;
        let (mut to_file, mut to_end) = (None, None);
        while to_file.is_none() || to_end.is_none() {
            let per_second = records / start.elapsed().as_secs_f64();
            if self.lines.count()? >= self.sent {
                to_file.get_or_insert(per_second);
            }
            if self.elasticsearch.count()? + self.letters()? >= self.sent {
                to_end.get_or_insert(per_second);
            }
            ensure!(start.elapsed() < DEADLINE, "not every record came to its end within {DEADLINE:?}");
            tokio::time::sleep(LOOK).await;
        }
        let cpu_per_million = (self.agent.usage().cpu - before).as_secs_f64() * 1e6 / records;
        let (to_file, to_end) = (to_file.unwrap_or_default(), to_end.unwrap_or_default());
        Ok(Sent { report, to_file, to_end, cpu_per_million })
    }

    /// Letters that were filed: they are numbered from 1, and none is ever deleted here.
    fn letters(&self) -> anyhow::Result<u64> {
        let path: PathBuf = store_path(&self.agent.data_directory(), DESTINATION);
        let view = View::open(&path).context("open the dead letters")?;
        let filter = Filter { limit: Some(1), ..Filter::default() };
        match view.letters(filter, Order::NewestFirst).next() {
            Some(newest) => Ok(newest?.id.0),
            None => Ok(0),
        }
    }
}

impl Sent {
    /// Shows it beside the same load without rejects; returns the rate at which letters were filed.
    fn show<'a>(&self, words: &str, taken: &Self, table: &'a mut Table) -> &'a mut Figure {
        table
            .add(
                NAME,
                format!("accepted, {words}, all rejected"),
                self.report.records_per_second(),
                "records/s",
            )
            .ratio("all taken", taken.report.records_per_second());
        let p99 = |sent: &Self| sent.report.latency(0.99);
        table
            .add_time(NAME, "  p99 of the answers", p99(self))
            .ratio("all taken", p99(taken).as_secs_f64() * 1e3);
        table.add(NAME, "  to the file", self.to_file, "records/s").ratio("all taken", taken.to_file);
        table
            .add(NAME, "  agent's CPU per million records", self.cpu_per_million, "s")
            .ratio("all taken", taken.cpu_per_million);
        table.add(NAME, "  dead letters filed", self.to_end, "letters/s")
    }
}
