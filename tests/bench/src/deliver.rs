//! The whole way: from the producer to a file, a fake Algolia and a fake Elasticsearch over real HTTP.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::load::options::{Options, Pace, Until};

use crate::{
    child::{Child, Role},
    cli::Bench,
    fanout::{Capacity, Fanout},
    ingest::batches,
    job::Job as _,
    records::{Sample, sample},
    scratch::{Scratch, median},
    simple::{Sent, Simple},
    table::{Table, Target},
};

const NAME: &str = "deliver";
/// How long a lone record may be on its way, before the run counts as failed.
const LONE_DEADLINE: Duration = Duration::from_secs(30);
/// What the destinations have to sustain.
const RECORDS_PER_SECOND: f64 = 80_000.0;
/// The same where bodies are compressed.
const GZIP_RECORDS_PER_SECOND: f64 = 40_000.0;
/// How often agent and simple program take turns; medians are shown.
const ROUNDS: usize = 3;

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let sample = sample(bench, 1).await?;
    let mut fanout = Fanout::start(bench, false, "").await?;
    Compared::of(&mut fanout, bench, &sample, false).await?.show("", table);
    offered(&mut fanout, bench, table).await?;
    peak(&fanout, table);
    idle_latency(&mut fanout, table).await?;
    idle_cpu(&fanout, bench, table).await?;
    drop(fanout);

    let mut fanout = Fanout::start(bench, true, "").await?;
    Compared::of(&mut fanout, bench, &sample, true).await?.show(", gzip", table);
    peak(&fanout, table);
    Ok(())
}

fn peak(fanout: &Fanout, table: &mut Table) {
    let peak = fanout.agent.usage().resident_bytes_max as f64 / 1e6;
    table.add(NAME, "agent's peak resident", peak, "MB").target(Target::AtMost(100.0));
}

/// The agent and the simple program, with as many records each.
struct Compared {
    gzip: bool,
    rounds: Vec<(Capacity, Sent)>,
}

impl Compared {
    async fn of(fanout: &mut Fanout, bench: &Bench, sample: &Sample, gzip: bool) -> anyhow::Result<Self> {
        let rate = if gzip { GZIP_RECORDS_PER_SECOND } else { RECORDS_PER_SECOND };
        let records = (bench.window.as_secs_f64() * rate) as u64;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let capacity = fanout.capacity(records).await?;
            let scratch = Scratch::new()?;
            let (algolia, elasticsearch) = (Child::start(Role::Algolia)?, Child::start(Role::Elasticsearch)?);
            let simple = Simple {
                sample: sample.path.clone(),
                dir: scratch.path("simple"),
                algolia: algolia.url().to_owned(),
                elasticsearch: elasticsearch.url().to_owned(),
                gzip,
                records,
            };
            rounds.push((capacity, simple.run()?));
        }
        Ok(Self { gzip, rounds })
    }

    /// Ratios are each round's own.
    fn show(&self, words: &str, table: &mut Table) {
        let of = |value: fn(&(Capacity, Sent)) -> f64| median(self.rounds.iter().map(value));
        let label = format!("to file, Algolia and Elasticsearch{words}, as fast as accepted");
        let target = if self.gzip { GZIP_RECORDS_PER_SECOND } else { RECORDS_PER_SECOND };
        let rate = of(|(agent, _)| agent.per_second);
        table.add(NAME, label, rate, "records/s").target(Target::AtLeast(target));
        let accepted = of(|(agent, _)| agent.accepted.as_secs_f64());
        table.add(NAME, "  of it accepted within", accepted, "s");
        let cpu = table.add(
            NAME,
            "  agent's CPU per million records",
            of(|(agent, _)| agent.cpu_per_million[0]),
            "s",
        );
        if !self.gzip {
            cpu.target(Target::AtMost(12.0));
        }
        let ratio = of(|(agent, simple)| agent.cpu_per_million[0] / simple.cpu_per_million());
        table.add(NAME, "  to that of the simple program", ratio, "x");
        let cpu = of(|(agent, _)| agent.cpu_per_million[1]);
        table.add(NAME, "  fake Algolia's CPU per million", cpu, "s");
        let cpu = of(|(agent, _)| agent.cpu_per_million[2]);
        table.add(NAME, "  fake Elasticsearch's CPU per million", cpu, "s");
        let rate = of(|(_, simple)| simple.per_second());
        table.add(NAME, format!("a simple program that does the same{words}"), rate, "records/s");
        let cpu = of(|(_, simple)| simple.cpu_per_million());
        table.add(NAME, "  its CPU per million records", cpu, "s");
        let ratio = of(|(agent, simple)| agent.per_second / simple.per_second());
        table.add(NAME, "  agent's rate to it", ratio, "x");
    }
}

/// At the required rate: how far behind the destinations are when it ends.
async fn offered(fanout: &mut Fanout, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let pace = Pace::Open { requests_per_second: RECORDS_PER_SECOND / 100.0 };
    let options = Options { until: Until::Elapsed(bench.window), pace, ..batches() };
    let (start, before, first) = (Instant::now(), fanout.agent.usage().cpu, fanout.sent);
    fanout.send(Options { in_flight: 4, ..options }).await?;
    let end = Instant::now();
    fanout.drained().await?;
    table.add_time(NAME, "behind after 80,000 records/s", end.elapsed());
    let records = (fanout.sent - first) as f64;
    table.add(NAME, "  of them delivered", records / start.elapsed().as_secs_f64(), "records/s");
    let cpu = (fanout.agent.usage().cpu - before).as_secs_f64() * 1e6 / records;
    table.add(NAME, "  agent's CPU per million records", cpu, "s").target(Target::AtMost(12.0));
    Ok(())
}

/// One record at a time, from before it is sent, over a new connection, until each destination has it.
async fn idle_latency(fanout: &mut Fanout, table: &mut Table) -> anyhow::Result<()> {
    const REQUESTS: usize = 200;
    let mut latencies = [const { Vec::new() }; 3];
    for _ in 0..REQUESTS {
        let start = Instant::now();
        fanout.send(Options { until: Until::Records(1), ..Options::default() }).await?;
        let mut arrived = [None; 3];
        while arrived.contains(&None) {
            ensure!(start.elapsed() < LONE_DEADLINE, "a lone record was not delivered");
            let (counts, sent) = (fanout.counts()?, fanout.sent);
            let counts = [counts.file, counts.algolia, counts.elasticsearch];
            for (arrived, count) in arrived.iter_mut().zip(counts) {
                if arrived.is_none() && count >= sent {
                    *arrived = Some(start.elapsed());
                }
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        for (latencies, arrived) in latencies.iter_mut().zip(arrived) {
            latencies.extend(arrived);
        }
    }
    for (name, mut latencies) in ["file", "Algolia", "Elasticsearch"].into_iter().zip(latencies) {
        latencies.sort_unstable();
        let label = format!("a lone record to the {name}, p50");
        table.add_time(NAME, label, latencies[REQUESTS / 2]).target(Target::AtMost(10.0));
    }
    Ok(())
}

async fn idle_cpu(fanout: &Fanout, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (start, before) = (Instant::now(), fanout.agent.usage().cpu);
    tokio::time::sleep(bench.window).await;
    let cpu = (fanout.agent.usage().cpu - before).as_secs_f64() / start.elapsed().as_secs_f64();
    table.add(NAME, "idle CPU", cpu * 100.0, "% of a core").target(Target::AtMost(1.0));
    Ok(())
}
