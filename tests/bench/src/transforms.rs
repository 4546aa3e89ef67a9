//! Transforms: what one that redacts costs on the way to three destinations, what records notice of new modules, and what
//! an index whose module never ends costs an index without a transform.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use harness::{
    guests,
    load::{
        options::{Options, Pace, Until},
        run::run,
    },
};

use crate::{
    cli::Bench,
    fanout::Fanout,
    ingest::batches,
    scratch::median,
    swaps,
    table::{Table, Target},
};

const NAME: &str = "transforms";
/// How often each is measured; medians are shown.
const ROUNDS: usize = 3;
/// What three destinations have to sustain behind the transform.
const RECORDS_PER_SECOND: f64 = 55_000.0;
/// Records a second to the index whose module never ends.
const ENDLESS_PER_SECOND: f64 = 100.0;
/// The destinations, as the config has them.
const ALL: &str = "[\"archive\", \"search\", \"mirror\"]";
/// That index; its module ends but for the load's first object.
const ENDLESS: &str = "endless";

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    redacted(bench, table).await?;
    swaps::measure(bench, table).await?;
    beside_an_endless_one(bench, table).await
}

/// Through the example that redacts, as fast as accepted.
async fn redacted(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let module = module("transforms", "redact")?;
    let rules = rules("*", &module, ALL, "{ fields = [\"brand\", \"url\"] }");
    let mut fanout = Fanout::start_with(bench, false, "", &rules).await?;
    let records = (bench.window.as_secs_f64() * RECORDS_PER_SECOND) as u64;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(fanout.capacity(records).await?);
    }
    let rate = median(rounds.iter().map(|round| round.per_second));
    let label = "through `redact` to file, Algolia and Elasticsearch, as fast as accepted";
    table.add(NAME, label, rate, "records/s").target(Target::AtLeast(RECORDS_PER_SECOND));
    let cpu = median(rounds.iter().map(|round| round.cpu_per_million[0]));
    table.add(NAME, "  agent's CPU per million records", cpu, "s");
    let peak = fanout.agent.usage().resident_bytes_max as f64 / 1e6;
    table.add(NAME, "  agent's peak resident", peak, "MB");
    Ok(())
}

/// Half of what it sustains to an index without a transform, with and without records to one whose module never ends.
async fn beside_an_endless_one(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let module = module("tests/guests", "misbehaves")?;
    let rules = rules(ENDLESS, &module, ALL, "{ behave = \"loop\", only = \"0000-00000000\" }");
    let mut fanout = Fanout::start_with(bench, false, "", &rules).await?;
    let records = (bench.window.as_secs_f64() * RECORDS_PER_SECOND) as u64;
    let offered = fanout.capacity(records).await?.per_second / 2.0;
    table.add(NAME, "offered to an index without a transform", offered, "records/s");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let alone = delivered(&mut fanout, bench, offered, false).await?;
        let beside = delivered(&mut fanout, bench, offered, true).await?;
        ratios.push(beside / alone);
    }
    let ratio = median(ratios.into_iter());
    table.add(NAME, "  beside one that never ends, to without it", ratio, "x").target(Target::AtLeast(0.95));
    Ok(())
}

/// The rate at which what is offered arrives everywhere.
async fn delivered(fanout: &mut Fanout, bench: &Bench, offered: f64, endless: bool) -> anyhow::Result<f64> {
    let pace =
        |per_second: f64, records: usize| Pace::Open { requests_per_second: per_second / records as f64 };
    let until = Until::Elapsed(bench.window);
    let beside = Options {
        until,
        pace: pace(ENDLESS_PER_SECOND, 1),
        index: ENDLESS.to_owned(),
        keys: 1,
        request_timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let address = fanout.agent.address();
    let beside = endless.then(|| tokio::spawn(run(address, beside)));
    let (start, first) = (Instant::now(), fanout.sent);
    let options =
        Options { until, pace: pace(offered, batches().request_records), in_flight: 4, ..batches() };
    fanout.send(options).await?;
    fanout.drained().await?;
    let rate = (fanout.sent - first) as f64 / start.elapsed().as_secs_f64();
    if let Some(beside) = beside {
        beside.await?.context("the load to the endless index")?;
    }
    Ok(rate)
}

/// A rule that sends an index through a module, and everything else past it.
pub(crate) fn rules(index: &str, module: &Path, destinations: &str, config: &str) -> String {
    format!(
        "[[indexes]]\nmatch = {index:?}\ndestinations = {destinations}\ntransform = \"bench\"\n\
         [transforms.bench]\npath = {module:?}\nconfig = {config}\n"
    )
}

/// Builds the modules of a folder of this project.
pub(crate) fn module(folder: &str, name: &str) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = guests::build(&root.join(folder), &root.join("target/guests"))?;
    Ok(built.join(format!("{name}.wasm")))
}
