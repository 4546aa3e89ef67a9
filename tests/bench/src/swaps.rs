//! What records notice while the module that they pass is replaced again and again: lone ones go through `redact` to a
//! file at a fixed rate, among others, first undisturbed and then with a new module every second.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use harness::{
    load::{
        control::Control,
        options::{Options, Pace, Until},
        probes::probe,
        run::run,
    },
    process::Agent,
};
use sync_agent::admin::Client;

use crate::{
    arrivals::{FileArrivals, latencies, quantile},
    cli::Bench,
    fake::{PROBES, micros},
    ingest::batches,
    table::{Table, Target},
    transforms::{module, rules},
};

const NAME: &str = "transforms";
const PROBE_EVERY: Duration = Duration::from_millis(5);
const SWAP_EVERY: Duration = Duration::from_secs(1);
/// Records a second beside the probes.
const BESIDE: f64 = 10_000.0;
/// What is under way then is no probe of the turn.
const SETTLE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let wasm = fs::read(module("transforms", "redact")?)?;
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("redact.wasm");
    fs::write(&path, &wasm)?;
    let rules = rules("*", &path, "[\"archive\"]", "{ fields = [\"brand\", \"url\"] }");
    let agent = bench.agent()?.file("archive").config(&rules).start().await?;
    let client = Client::new(&agent.data_directory());

    let control = Control::default();
    let options = Options {
        until: Until::Elapsed(Duration::from_secs(86_400)),
        pace: Pace::Open { requests_per_second: BESIDE / 100.0 },
        control: control.clone(),
        in_flight: 4,
        ..batches()
    };
    let load = tokio::spawn(run(agent.address(), options));
    fs::create_dir_all(agent.output("archive"))?;
    let arrivals = FileArrivals::watch(&agent.output("archive"))?;
    let probes = tokio::spawn(probe(agent.address(), PROBES.to_owned(), PROBE_EVERY, control.clone()));
    tokio::time::sleep(SETTLE).await;

    let calm = (SystemTime::now(), SystemTime::now() + bench.window);
    tokio::time::sleep(bench.window).await;
    let (began, until, mut taken) = (SystemTime::now(), Instant::now() + bench.window, Vec::new());
    while Instant::now() < until {
        taken.push(swap(&agent, &client, &wasm, &path, taken.len() as u64).await?);
        tokio::time::sleep(SWAP_EVERY).await;
    }
    let swapping = (began, SystemTime::now());
    tokio::time::sleep(SETTLE).await;
    control.stop();
    load.await??;
    let answered = probes.await??;
    let mut accepted: Vec<u64> = answered.iter().map(|probe| micros(probe.at)).collect();
    accepted.sort_unstable();
    tokio::time::sleep(SETTLE).await;
    let arrived = arrivals.taken().await?;

    taken.sort_unstable();
    table.add_time(NAME, "a module's file replaced until it serves, p50", quantile(&taken, 0.5));
    let (calm, swapping) = (latencies(&accepted, &arrived, calm)?, latencies(&accepted, &arrived, swapping)?);
    let worst = |latencies: &[Duration]| latencies.last().copied().unwrap_or_default();
    table.add_time(NAME, "  accepted to delivered, p99, one module", quantile(&calm, 0.99));
    table.add_time(NAME, "  with a new one every second, p99", quantile(&swapping, 0.99));
    table.add_time(NAME, "  the longest, one module", worst(&calm));
    let figure = table.add_time(NAME, "  the longest, with a new one every second", worst(&swapping));
    figure.target(Target::AtMost(20.0 + worst(&calm).as_secs_f64() * 1e3));
    Ok(())
}

/// Puts the module in the place of the one before, with a section by which it is another one; how long until it serves.
async fn swap(
    agent: &Agent,
    client: &Client,
    wasm: &[u8],
    path: &std::path::Path,
    number: u64,
) -> anyhow::Result<Duration> {
    let generation = async || -> anyhow::Result<u64> {
        let status = client.status().await.context("look at the agent")?;
        Ok(status.transforms.first().context("no transform is configured")?.generation)
    };
    let before = generation().await?;
    let beside = agent.directory().join("next.wasm");
    // A custom section: its kind, its size, its name's length and name, its content.
    let section = [&[0, 10, 1, b'n'][..], &number.to_le_bytes()].concat();
    fs::write(&beside, [wasm, &section].concat())?;
    let start = Instant::now();
    fs::rename(&beside, path).or_else(|_| fs::copy(&beside, path).map(drop))?;
    while generation().await? == before {
        ensure!(start.elapsed() < DEADLINE, "the module does not serve");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(start.elapsed())
}
