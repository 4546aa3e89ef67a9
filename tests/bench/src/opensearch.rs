//! A real cluster: the agent against a bulk loader with bodies of the same size, compressed the same way, and as many
//! requests in flight.
//!
//! A new virtual machine needs many documents to get up to speed, so that both go first without being measured. Then they
//! take turns, each with an index of its own that grows as fast as the other's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{
    load::{
        options::{Choice, Options, Until},
        run::run,
    },
    process::Agent,
};
use plugin_http::client::client;
use reqwest::Client;
use serde_json::Value;

use crate::{
    cli::Bench,
    ingest::batches,
    job::Job as _,
    loader::{Loaded, Loader},
    records::{BATCH_RECORDS, Sample, sample},
    scratch::median,
    table::{Table, Target},
};

const NAME: &str = "opensearch";
const AGENT_INDEX: &str = "bench-agent";
const LOADER_INDEX: &str = "bench-loader";
/// Requests in flight, of the agent at most.
const REQUESTS: usize = 4;
/// Batches that the loader sends, again and again under new ids: documents that repeat too soon cost a cluster less, in
/// its index and in its CPU.
const SAMPLE_BATCHES: u64 = 100;
/// Batches that each sends first.
const WARM_UP_BATCHES: u64 = 30;
/// Records a second that a turn is meant for.
const RECORDS_PER_SECOND: f64 = 4_000.0;
const ROUNDS_MAX: usize = 5;
const DEADLINE: Duration = Duration::from_secs(300);
/// Between two looks at what was written: a cluster works for each of them, and a turn takes many times as long.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let Some(url) = &bench.opensearch else {
        anstream::eprintln!("opensearch is skipped: it needs the URL of a cluster (--opensearch)");
        return Ok(());
    };
    let mut duel = Duel::start(bench, url.trim_end_matches('/')).await?;
    duel.agent(WARM_UP_BATCHES).await?;
    duel.loader(WARM_UP_BATCHES)?;
    let batches = (bench.window.as_secs_f64() * RECORDS_PER_SECOND) as u64 / BATCH_RECORDS;
    let mut rounds = Vec::new();
    for number in 0..bench.rounds.min(ROUNDS_MAX) {
        let (delivered, loaded);
        if number % 2 == 0 {
            delivered = duel.agent(batches).await?;
            loaded = duel.loader(batches)?;
        } else {
            loaded = duel.loader(batches)?;
            delivered = duel.agent(batches).await?;
        }
        rounds.push((delivered, loaded));
    }
    duel.forget().await?;
    show(&rounds, table);
    Ok(())
}

fn show(rounds: &[(Delivered, Loaded)], table: &mut Table) {
    let of = |value: fn(&(Delivered, Loaded)) -> f64| median(rounds.iter().map(value));
    table.add(NAME, "agent", of(|(agent, _)| agent.per_second), "records/s");
    table.add(NAME, "  its CPU per million records", of(|(agent, _)| agent.cpu_per_million), "s");
    let rate = of(|(_, loader)| loader.per_second());
    table.add(
        NAME,
        format!("bulk loader, {REQUESTS} requests of {BATCH_RECORDS} records"),
        rate,
        "records/s",
    );
    table.add(NAME, "  its CPU per million records", of(|(_, loader)| loader.cpu_per_million()), "s");
    let ratio = of(|(agent, loader)| agent.per_second / loader.per_second());
    table.add(NAME, "  agent to it", ratio, "x").target(Target::AtLeast(0.9));
}

/// The agent and the loader at one cluster.
struct Duel {
    sample: Sample,
    agent: Agent,
    client: Client,
    url: String,
    /// Records that the agent has accepted, and the next sequence number.
    sent: u64,
    next_sequence: u64,
    /// Batches that were loaded.
    loaded: u64,
}

/// What the agent did in a turn.
struct Delivered {
    per_second: f64,
    cpu_per_million: f64,
}

impl Duel {
    async fn start(bench: &Bench, url: &str) -> anyhow::Result<Self> {
        let sample = sample(bench, SAMPLE_BATCHES).await?;
        let setup = bench.agent()?.elasticsearch("mirror", url);
        let agent = setup.config(&format!("requests_max = {REQUESTS}")).start().await?;
        let client = client("bench", None)?;
        let duel = Self { sample, agent, client, url: url.to_owned(), sent: 0, next_sequence: 1, loaded: 0 };
        // An earlier run may have been cut short.
        duel.forget().await?;
        Ok(duel)
    }

    /// From the first request until the cluster has written everything.
    async fn agent(&mut self, count: u64) -> anyhow::Result<Delivered> {
        let (start, before) = (Instant::now(), self.agent.usage().cpu);
        let options = Options {
            until: Until::Records(count * BATCH_RECORDS),
            choice: Choice::InTurn,
            first_sequence: self.next_sequence,
            index: AGENT_INDEX.to_owned(),
            ..batches()
        };
        let report = run(self.agent.address(), options).await?;
        ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
        self.next_sequence = report.next_sequence;
        self.sent += report.records.acknowledged;
        while self.written(AGENT_INDEX).await? < self.sent {
            ensure!(start.elapsed() < DEADLINE, "the cluster has not got everything within {DEADLINE:?}");
            tokio::time::sleep(LOOK).await;
        }
        let records = report.records.acknowledged as f64;
        let cpu = (self.agent.usage().cpu - before).as_secs_f64();
        Ok(Delivered {
            per_second: records / start.elapsed().as_secs_f64(),
            cpu_per_million: cpu * 1e6 / records,
        })
    }

    fn loader(&mut self, batches: u64) -> anyhow::Result<Loaded> {
        let loader = Loader {
            sample: self.sample.path.clone(),
            url: self.url.clone(),
            index: LOADER_INDEX.to_owned(),
            first_batch: self.loaded,
            batches,
            requests: REQUESTS,
            gzip: true,
        };
        self.loaded += batches;
        loader.run()
    }

    /// Documents that were written to an index, whether or not they can be searched yet.
    async fn written(&self, index: &str) -> anyhow::Result<u64> {
        let path = "_stats/indexing?ignore_unavailable=true&filter_path=_all.primaries.indexing.index_total";
        let answer = self.client.get(format!("{}/{index}/{path}", self.url)).send().await?;
        let body = answer.error_for_status().context("ask for the indexing statistics")?.bytes().await?;
        let statistics: Value = serde_json::from_slice(&body)?;
        Ok(statistics["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or_default())
    }

    /// Removes both indexes.
    async fn forget(&self) -> anyhow::Result<()> {
        let url = format!("{}/{AGENT_INDEX},{LOADER_INDEX}?ignore_unavailable=true", self.url);
        self.client.delete(url).send().await?.error_for_status().context("remove the indexes")?;
        Ok(())
    }
}
