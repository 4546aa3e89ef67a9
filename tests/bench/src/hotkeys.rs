//! Nine saves in ten concern a hundred objects, as fast as the agent takes them: how many operations coalescing leaves.
//!
//! What is measured goes to fakes that count. That nothing is lost and no older save follows a newer one is checked beside
//! it, with fewer records and fakes that keep what they applied: the load shares no key between requests in flight, so
//! that a key's sequence numbers are its accept order, and the history checker judges by them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use fakes::{
    algolia::{self, FakeAlgolia},
    elasticsearch::{self, FakeElasticsearch},
};
use harness::{
    history::{Applied, Destination, Event, check},
    load::{
        options::{Choice, Options, Until},
        report::Report,
        run::run,
    },
    process::Agent,
};

use crate::{
    child::{Child, Role},
    cli::Bench,
    table::{Table, Target},
};

const NAME: &str = "hotkeys";
/// Records of the load that is checked.
const CHECKED_RECORDS: u64 = 200_000;
/// Everything has been delivered once nothing has come for so long.
const QUIET: Duration = Duration::from_secs(1);
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

/// 20 connections with 5 hot objects each.
fn load(until: Until) -> Options {
    let choice = Choice::Hot { keys: 100, share: 0.9 };
    // A late answer is a figure here, not a failure.
    let request_timeout = Duration::from_secs(60);
    Options { until, choice, connections: 20, request_records: 100, request_timeout, ..Options::default() }
}

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    counted(bench, table).await?;
    checked(bench, table).await
}

async fn counted(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (mut algolia, mut elasticsearch) = (Child::start(Role::Algolia)?, Child::start(Role::Elasticsearch)?);
    let agent = agent(bench, algolia.url(), elasticsearch.url()).await?;
    let (start, before) = (Instant::now(), agent.usage().cpu);
    let report = accepted(&agent, Until::Elapsed(bench.window)).await?;
    let quiet_since = quiet(|| Ok(algolia.count()? + elasticsearch.count()?)).await?;
    let records = report.records.acknowledged as f64;
    table.add(NAME, "accepted", report.records_per_second(), "records/s");
    table.add_time(NAME, "  p99 of the answers", report.latency(0.99));
    table.add_time(NAME, "  the latest answer", report.latency(1.0));
    let rate = records / (quiet_since - start).as_secs_f64();
    table.add(NAME, "  of them delivered or superseded", rate, "records/s");
    let cpu = (agent.usage().cpu - before).as_secs_f64() * 1e6 / records;
    table.add(NAME, "  agent's CPU per million records", cpu, "s");
    for (name, child) in [("Algolia", &mut algolia), ("Elasticsearch", &mut elasticsearch)] {
        let label = format!("operations to {name} for each record accepted");
        table.add(NAME, label, child.count()? as f64 / records, "").target(Target::AtMost(0.2));
    }
    Ok(())
}

async fn checked(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let options = algolia::Options {
        app_id: "app".to_owned(),
        api_key: "key".to_owned(),
        detail: algolia::Detail::Attribute("seq".to_owned()),
        ..algolia::Options::default()
    };
    let algolia = FakeAlgolia::start(options).await?;
    let detail = elasticsearch::Detail::Attribute("seq".to_owned());
    let options = elasticsearch::Options { detail, ..elasticsearch::Options::default() };
    let elasticsearch = FakeElasticsearch::start(options).await?;
    let agent = agent(bench, &algolia.url(), &elasticsearch.url()).await?;
    let report = accepted(&agent, Until::Records(CHECKED_RECORDS)).await?;
    quiet(|| Ok(algolia.operation_count() + elasticsearch.operation_count())).await?;

    let from_algolia = harness::algolia::destination(&algolia.journal(), &harness::algolia::Marks::default());
    let from_elasticsearch = destination(&elasticsearch.journal());
    for (name, destination) in [("Algolia", from_algolia), ("Elasticsearch", from_elasticsearch)] {
        let findings = check(&report.history, &destination);
        ensure!(findings.hold(), "{name}: {findings}");
        let label = format!("checked at {name}: in order, none lost");
        table.add(NAME, label, (findings.applied + findings.superseded) as f64, "records");
    }
    Ok(())
}

async fn agent(bench: &Bench, algolia: &str, elasticsearch: &str) -> anyhow::Result<Agent> {
    let setup = bench.agent()?.algolia("search", algolia).config("gzip = false");
    Ok(setup.elasticsearch("mirror", elasticsearch).config("gzip = false").start().await?)
}

async fn accepted(agent: &Agent, until: Until) -> anyhow::Result<Report> {
    let recorded = matches!(until, Until::Records(_));
    let report = run(agent.address(), Options { recorded, ..load(until) }).await?;
    ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
    Ok(report)
}

/// Waits until a count stands still, and returns since when.
async fn quiet(mut count: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<Instant> {
    let (start, mut last, mut since) = (Instant::now(), 0, Instant::now());
    while since.elapsed() < QUIET {
        ensure!(start.elapsed() < DRAIN_DEADLINE, "not everything was delivered within {DRAIN_DEADLINE:?}");
        let now = count()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(since)
}

/// The history of a fake that keeps the sequence numbers.
fn destination(journal: &[elasticsearch::Applied]) -> Destination {
    let batches = journal.chunk_by(|before, next| before.request == next.request);
    let events = batches.map(|batch| Event::Batch {
        operations: batch.iter().map(applied).collect(),
        answered: batch.iter().all(|applied| applied.answered),
    });
    Destination { coalesces: true, events: events.collect(), dead_letters: Vec::new() }
}

fn applied(journaled: &elasticsearch::Applied) -> Applied {
    Applied {
        index: journaled.index.as_str().into(),
        object_id: journaled.object_id.clone(),
        sequence: journaled.body.as_u64(),
        request_id: None,
        identity: None,
        version: None,
    }
}
