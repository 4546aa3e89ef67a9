//! The command line.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use harness::process::Setup;

use crate::{
    append, backlog, baseline, child, deliver, guest, hotkeys, ingest, isolation, lz4, opensearch, operators,
    rejects, reopen, retention, table::Table, transforms,
};

/// Benchmarks of the agent, on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure
    #[arg(required_unless_present = "child")]
    scenario: Option<Scenario>,

    /// Print the figures as JSON
    #[arg(long)]
    json: bool,

    /// The agent's binary [default: sync-agent beside this binary]
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,

    /// How long each measurement lasts
    #[arg(long, default_value_t = 8)]
    seconds: u64,

    /// In how many turns `append`, `lz4` and `reopen` measure what they compare; medians are shown
    #[arg(long, default_value_t = 8)]
    rounds: usize,

    /// Appenders to the log, for `append`
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 16, 64],
        value_parser = clap::value_parser!(u16).range(1..))]
    appenders: Vec<u16>,

    /// Readers at the log's tail, for `append`
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    readers: usize,

    /// Sizes of the logs that are opened, for `reopen`
    #[arg(long, value_name = "GIB", value_delimiter = ',', default_values_t = [1, 10, 50],
        value_parser = clap::value_parser!(u64).range(1..))]
    sizes: Vec<u64>,

    /// A section of so many bytes that each footer has besides, for `reopen`
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    footer_section_bytes: u64,

    /// Appends a second, for `retention`
    #[arg(long, value_name = "PER_SECOND", default_value_t = 2000.0)]
    rate: f64,

    /// How long a destination is dead, for `isolation` [default: 120, with `all` 24]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    outage: Option<u64>,

    /// A cluster without credentials, for `opensearch` [default: OPENSEARCH_URL of the environment]
    #[arg(long, value_name = "URL")]
    opensearch: Option<String>,

    #[arg(long, hide = true)]
    child: Option<child::Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Acknowledged after fdatasync, with the destination down; includes both baselines
    Ingest,
    /// From the producer to a file, a fake Algolia and a fake Elasticsearch over HTTP, and a simple program that does so
    Deliver,
    /// What coalescing leaves where most saves concern few objects
    Hotkeys,
    /// What one destination's outage costs the others, and how fast it catches up
    Isolation,
    /// A destination that rejects everything, and what ingest and another destination notice
    Rejects,
    /// Fifty destinations: what looking at them costs, and what one notices of reloads
    Operators,
    /// Modules alone, beside native code
    Guest,
    /// Three destinations behind a transform, and an index beside one whose module never ends
    Transforms,
    /// A real cluster, against a bulk loader; skipped without its URL
    Opensearch,
    /// Memory and restart with 5 GB that wait for a destination
    Backlog,
    /// The log alone against a plain file and fjall, with and without readers
    Append,
    /// What compressing each request would do
    Lz4,
    /// Opening logs of different sizes, made sparse
    Reopen,
    /// Appending at a fixed rate while segments are removed
    Retention,
    /// A gRPC server that decodes the same requests in full and keeps nothing
    DecodeBaseline,
    /// The same bytes appended to a plain file, with fdatasync
    AppendBaseline,
    /// Everything
    All,
}

/// What every scenario needs to know.
#[derive(Debug)]
pub(crate) struct Bench {
    agent: PathBuf,
    /// How long each measurement lasts.
    pub(crate) window: Duration,
    /// In how many turns what is compared is measured.
    pub(crate) rounds: usize,
    pub(crate) appenders: Vec<usize>,
    pub(crate) readers: usize,
    /// GiB of the logs that are opened.
    pub(crate) sizes: Vec<u64>,
    pub(crate) footer_section_bytes: u64,
    /// Appends a second.
    pub(crate) rate: f64,
    /// How long a destination is dead.
    pub(crate) outage: Duration,
    /// A cluster's URL.
    pub(crate) opensearch: Option<String>,
}

impl Bench {
    /// Seconds of one turn.
    pub(crate) fn turn(&self) -> f64 {
        self.window.as_secs_f64() / self.rounds as f64
    }

    /// An agent to be configured.
    pub(crate) fn agent(&self) -> anyhow::Result<Setup> {
        ensure!(
            self.agent.is_file(),
            "there is no agent at {:?}: build it with `cargo build --release`, or name one with --agent",
            self.agent
        );
        // It runs in a directory of its own.
        Ok(Setup::new(self.agent.canonicalize()?))
    }
}

pub(crate) fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.child {
        return child::main(role);
    }
    let beside = std::env::current_exe().context("find this binary")?.with_file_name("sync-agent");
    let scenario = arguments.scenario.context("clap requires a scenario")?;
    let outage = arguments.outage.unwrap_or(if scenario == Scenario::All { 24 } else { 120 });
    let bench = Bench {
        agent: arguments.agent.unwrap_or(beside),
        window: Duration::from_secs(arguments.seconds.max(1)),
        rounds: arguments.rounds.max(1),
        appenders: arguments.appenders.into_iter().map(usize::from).collect(),
        readers: arguments.readers,
        sizes: arguments.sizes,
        footer_section_bytes: arguments.footer_section_bytes,
        rate: arguments.rate,
        outage: Duration::from_secs(outage),
        opensearch: arguments.opensearch.or_else(|| std::env::var("OPENSEARCH_URL").ok()),
    };
    // One thread generates the load, so that it takes no more than one of two cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::default();
    runtime.block_on(measure(scenario, &bench, &mut table))?;
    if arguments.json {
        anstream::println!("{}", serde_json::to_string_pretty(table.figures())?);
    } else {
        anstream::print!("{table}");
    }
    Ok(())
}

async fn measure(scenario: Scenario, bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let all = scenario == Scenario::All;
    if all || scenario == Scenario::Ingest {
        ingest::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Deliver {
        deliver::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Hotkeys {
        hotkeys::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Isolation {
        isolation::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Rejects {
        rejects::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Operators {
        operators::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Guest {
        guest::measure(bench, table)?;
    }
    if all || scenario == Scenario::Transforms {
        transforms::measure(bench, table).await?;
    }
    if scenario == Scenario::Opensearch {
        opensearch::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Backlog {
        backlog::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Append {
        append::measure(bench, table)?;
    }
    if all || scenario == Scenario::Lz4 {
        lz4::measure(bench, table)?;
    }
    if all || scenario == Scenario::Reopen {
        reopen::measure(bench, table).await?;
    }
    if all || scenario == Scenario::Retention {
        retention::measure(bench, table)?;
    }
    if scenario == Scenario::DecodeBaseline {
        baseline::decode(bench, table).await?;
    }
    if scenario == Scenario::AppendBaseline {
        baseline::append(bench, table)?;
    }
    Ok(())
}
