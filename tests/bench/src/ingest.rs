//! Ingest alone: what producers get while no destination takes anything.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use harness::{
    load::{
        options::{Options, Pace, Until},
        report::Report,
        run::run,
    },
    process::{Agent, free_address},
    usage::Usage,
};

use crate::{
    baseline::{self, Baselines},
    cli::Bench,
    table::{Figure, Table, Target},
};

const NAME: &str = "ingest";
/// Records a second in requests of 100.
const BATCHES_TARGET: f64 = 250_000.0;
/// Before each measurement.
const WARM_UP: Duration = Duration::from_secs(1);

/// Requests of 100 records over 16 connections.
pub(crate) fn batches() -> Options {
    Options { connections: 16, request_records: 100, ..Options::default() }
}

/// Requests of one record, 64 in flight.
pub(crate) fn singles() -> Options {
    Options { connections: 16, in_flight: 4, ..Options::default() }
}

/// A load after its warm-up, with the CPU time that it cost the server.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) report: Report,
    server: Duration,
    generator: Duration,
}

impl Measured {
    /// Warms up, then measures.
    pub(crate) async fn of(
        address: SocketAddr,
        options: Options,
        window: Duration,
        usage: impl Fn() -> anyhow::Result<Usage>,
    ) -> anyhow::Result<Self> {
        let warm_up = Options { until: Until::Elapsed(WARM_UP), ..options.clone() };
        let first_sequence = run(address, warm_up).await?.next_sequence;
        let own_usage = || Usage::of(std::process::id());
        let (server, generator) = (usage()?.cpu, own_usage()?.cpu);
        let options = Options { until: Until::Elapsed(window), first_sequence, ..options };
        let report = run(address, options).await?;
        let (server, generator) = (usage()?.cpu - server, own_usage()?.cpu - generator);
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        Ok(Self { report, server, generator })
    }

    /// CPU seconds of the server for a million records.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.report.records.acknowledged as f64
    }

    /// CPU seconds of the load generator for a million records.
    pub(crate) fn generator_per_million(&self) -> f64 {
        self.generator.as_secs_f64() * 1e6 / self.report.records.acknowledged as f64
    }
}

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let refusing = format!("http://{}", free_address());
    let setup = bench.agent()?.algolia("search", &refusing);
    let decode = baseline::decode(bench, table).await?;
    let append = baseline::append(bench, table)?;
    let baselines = Baselines { decode, append };
    let agent = setup.start().await?;

    let batches_rate = throughput(&agent, bench, table, &baselines).await?;
    let singles_rate = single_records(&agent, bench, table, &baselines).await?;
    lone(&agent, bench, table, &baselines).await?;
    // Half of what is asked for, and half of what this machine can do.
    let target = ("batches", batches(), BATCHES_TARGET / 100.0);
    half_load(&agent, bench, table, &baselines, target).await?;
    half_load(&agent, bench, table, &baselines, ("batches", batches(), batches_rate)).await?;
    half_load(&agent, bench, table, &baselines, ("singles", singles(), singles_rate)).await?;
    let peak = agent.usage().resident_bytes_max as f64 / 1e6;
    table.add(NAME, "peak resident", peak, "MB");
    Ok(())
}

async fn agent(agent: &Agent, bench: &Bench, options: Options) -> anyhow::Result<Measured> {
    Measured::of(agent.address(), options, bench.window, || Ok(agent.usage())).await
}

/// Returns the requests a second.
async fn throughput(
    process: &Agent,
    bench: &Bench,
    table: &mut Table,
    baselines: &Baselines,
) -> anyhow::Result<f64> {
    let measured = agent(process, bench, batches()).await?;
    let rate = measured.report.records_per_second();
    let figure = table.add(NAME, "batches of 100, 16 connections", rate, "records/s");
    figure.target(Target::AtLeast(BATCHES_TARGET)).ratio("decode only", baselines.decode.batches_per_second);
    table
        .add(NAME, "  the same, to a plain append", rate, "records/s")
        .ratio("append", baselines.append.batches_per_second);
    table
        .add(NAME, "  agent's CPU per million records", measured.cpu_per_million(), "s")
        .target(Target::AtMost(4.5))
        .ratio("decode only", baselines.decode.cpu_per_million);
    table.add_time(NAME, "  p50", measured.report.latency(0.5));
    table.add_time(NAME, "  p99", measured.report.latency(0.99));
    table.add(NAME, "  load generator's CPU per million", measured.generator_per_million(), "s");
    Ok(measured.report.requests_per_second())
}

async fn single_records(
    process: &Agent,
    bench: &Bench,
    table: &mut Table,
    baselines: &Baselines,
) -> anyhow::Result<f64> {
    let measured = agent(process, bench, singles()).await?;
    let rate = measured.report.requests_per_second();
    let figure = table.add(NAME, "single records, 64 in flight", rate, "requests/s");
    figure.target(Target::AtLeast(15_000.0)).ratio("decode only", baselines.decode.singles_per_second);
    table
        .add(NAME, "  the same, to a plain append", rate, "requests/s")
        .ratio("append", baselines.append.singles_per_second);
    table.add(NAME, "  agent's CPU per million records", measured.cpu_per_million(), "s");
    table.add(NAME, "  load generator's CPU per million", measured.generator_per_million(), "s");
    table.add_time(NAME, "  p99", measured.report.latency(0.99));
    Ok(rate)
}

async fn lone(
    process: &Agent,
    bench: &Bench,
    table: &mut Table,
    baselines: &Baselines,
) -> anyhow::Result<()> {
    let measured = agent(process, bench, Options::default()).await?;
    let sync = baselines.append.sync_p50.as_secs_f64() * 1e3;
    table
        .add_time(NAME, "a lone request, p50", measured.report.latency(0.5))
        .target(Target::AtMost(1.0))
        .ratio("fdatasync", sync);
    table.add_time(NAME, "  p99", measured.report.latency(0.99));
    Ok(())
}

/// The bound is 5 ms where the disk's own p99 is under 2 ms, else that p99 and 3 ms.
async fn half_load(
    process: &Agent,
    bench: &Bench,
    table: &mut Table,
    baselines: &Baselines,
    (name, options, rate): (&str, Options, f64),
) -> anyhow::Result<()> {
    let pace = Pace::Open { requests_per_second: rate / 2.0 };
    // Enough slots that a request waits for the agent, not for one of them.
    let options = Options { pace, in_flight: options.in_flight * 4, ..options };
    let measured = agent(process, bench, options).await?;
    let sync_p99 = baselines.append.sync_p99.as_secs_f64() * 1e3;
    let bound = if sync_p99 < 2.0 { 5.0 } else { sync_p99 + 3.0 };
    let label = format!("{name} at half load ({:.0} requests/s), p99", rate / 2.0);
    let p99: &mut Figure = table.add_time(NAME, label, measured.report.latency(0.99));
    p99.target(Target::AtMost(bound)).ratio("fdatasync p99", sync_p99);
    table.add_time(NAME, "  p50", measured.report.latency(0.5));
    Ok(())
}
