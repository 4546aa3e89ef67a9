//! Fifty destinations under load: what it costs to look at them, and what one that stays notices of reloads.
//!
//! The load goes to five of them, the others pass it over. Turns with somebody who looks every 200 ms and turns without take
//! turns. Then probes go to one destination at a fixed rate while another one is added and removed every 500 ms.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use harness::{
    history::Outcome,
    load::{
        control::Control,
        options::{Options, Pace, Until},
        probes::probe,
        run::run,
    },
    process::Agent,
};
use sync_agent::admin::{Client, Reload};

use crate::{
    arrivals::{FileArrivals, latencies, quantile},
    cli::Bench,
    fake::{PROBES, micros},
    ingest::batches,
    scratch::median,
    table::{Table, Target},
};

const NAME: &str = "operators";
const DESTINATIONS: usize = 50;
/// Of them receive the load.
const BUSY: usize = 5;
const TURNS: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const PROBE_EVERY: Duration = Duration::from_millis(5);
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// Records a second beside the probes.
const BESIDE: f64 = 10_000.0;
/// What is under way then is no probe of the turn.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let agent = start(bench).await?;
    let client = Client::new(&agent.data_directory());
    let (mut without, mut with, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_sequence = 1;
    for _ in 0..TURNS {
        for looking in [false, true] {
            let control = Control::default();
            let until = Until::Elapsed(bench.window / 2);
            let options = Options { until, first_sequence, control: control.clone(), ..batches() };
            let load = tokio::spawn(run(agent.address(), options));
            while looking && !load.is_finished() {
                let start = Instant::now();
                client.status().await.context("look at the agent")?;
                looks.push(start.elapsed());
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let report = load.await??;
            first_sequence = report.next_sequence;
            let rate = report.records_per_second();
            if looking { with.push(rate) } else { without.push(rate) }
        }
    }
    looks.sort_unstable();
    let (without, with) = (median(without.into_iter()), median(with.into_iter()));
    table.add(NAME, "fifty destinations, accepted", without, "records/s");
    let figure = table.add(NAME, "  with status every 200 ms", with, "records/s");
    figure.ratio("without", without).target(Target::AtLeast(0.99 * without));
    table.add_time(NAME, "  status under load, p50", quantile(&looks, 0.5));
    table.add_time(NAME, "  status under load, p99", quantile(&looks, 0.99)).target(Target::AtMost(50.0));
    reloads(bench, &agent, &client, first_sequence, table).await
}

async fn reloads(
    bench: &Bench,
    agent: &Agent,
    client: &Client,
    first_sequence: u64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let path = agent.directory().join("config.toml");
    let base = fs::read_to_string(&path)?;
    let control = Control::default();
    let pace = Pace::Open { requests_per_second: BESIDE / 100.0 };
    let until = Until::Elapsed(Duration::from_secs(86_400));
    let options =
        Options { until, pace, first_sequence, control: control.clone(), in_flight: 4, ..batches() };
    let load = tokio::spawn(run(agent.address(), options));
    let arrivals = FileArrivals::watch(&directory_of(agent, 0))?;
    let probes = tokio::spawn(probe(agent.address(), PROBES.to_owned(), PROBE_EVERY, control.clone()));
    tokio::time::sleep(SETTLE).await;

    let calm = (SystemTime::now(), SystemTime::now() + bench.window);
    tokio::time::sleep(bench.window).await;
    let began = SystemTime::now();
    let (until, mut taken) = (Instant::now() + bench.window, Vec::new());
    while Instant::now() < until {
        let added = taken.len() % 2 == 0;
        let extra =
            format!("[destinations.extra]\ntype = \"file\"\ndir = {:?}\n", agent.directory().join("extra"));
        fs::write(&path, if added { format!("{base}{extra}") } else { base.clone() })?;
        let start = Instant::now();
        client.reload(&Reload { dry_run: false }).await.context("reload")?;
        taken.push(start.elapsed());
        tokio::time::sleep(RELOAD_EVERY).await;
    }
    let reloading = (began, SystemTime::now());
    tokio::time::sleep(SETTLE).await;
    control.stop();
    load.await??;
    let answered = probes.await??;
    let taken_all = answered.iter().all(|probe| matches!(probe.outcome, Outcome::Acknowledged { .. }));
    ensure!(taken_all, "probes were refused");
    let mut accepted: Vec<u64> = answered.iter().map(|probe| micros(probe.at)).collect();
    accepted.sort_unstable();
    tokio::time::sleep(SETTLE).await;
    let arrived = arrivals.taken().await?;
    taken.sort_unstable();
    table.add_time(NAME, "a reload with fifty destinations, p50", quantile(&taken, 0.5));
    let worst = |span| anyhow::Ok(latencies(&accepted, &arrived, span)?.last().copied().unwrap_or_default());
    let p99 = |span| anyhow::Ok(quantile(&latencies(&accepted, &arrived, span)?, 0.99));
    table.add_time(NAME, "accepted to delivered, one that stays, p99", p99(calm)?);
    table.add_time(NAME, "  while another is added and removed, p99", p99(reloading)?);
    table.add_time(NAME, "  the longest, without reloads", worst(calm)?);
    let figure = table.add_time(NAME, "  the longest, with reloads", worst(reloading)?);
    figure.target(Target::AtMost(50.0 + worst(calm)?.as_secs_f64() * 1e3));
    Ok(())
}

async fn start(bench: &Bench) -> anyhow::Result<Agent> {
    let mut setup = bench.agent()?;
    for number in 0..DESTINATIONS {
        setup = setup.file(&name(number));
    }
    let busy: Vec<String> = (0..BUSY).map(name).collect();
    let rules = format!(
        "[[indexes]]\nmatch = \"{PROBES}\"\ndestinations = [\"{}\"]\n[[indexes]]\nmatch = \"*\"\ndestinations = {busy:?}\n",
        name(0)
    );
    Ok(setup.config(&rules).start().await?)
}

fn name(number: usize) -> String {
    format!("d{number:02}")
}

fn directory_of(agent: &Agent, number: usize) -> PathBuf {
    agent.output(&name(number))
}
