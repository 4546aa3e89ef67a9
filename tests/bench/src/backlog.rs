//! A destination that is down for long: what 5 GB of backlog cost in memory, and a restart with them in time.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    load::{
        options::{Options, Until},
        run::run,
    },
    process::free_address,
};

use crate::{
    cli::Bench,
    ingest::batches,
    table::{Table, Target},
};

const NAME: &str = "backlog";
const BACKLOG_BYTES: u64 = 5_000_000_000;
/// Sent before memory is first looked at, so that what every agent needs is not counted.
const WARM_UP_RECORDS: u64 = 500_000;
const STEP_RECORDS: u64 = 1_000_000;
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let refusing = format!("http://{}", free_address());
    let mut agent = bench.agent()?.algolia("search", &refusing).start().await?;
    let mut first_sequence = accept(agent.address(), WARM_UP_RECORDS, 1).await?;
    let before = agent.usage();
    while size(&agent.data_directory())? < BACKLOG_BYTES {
        first_sequence = accept(agent.address(), STEP_RECORDS, first_sequence).await?;
    }
    let after = agent.usage();
    let growth = after.resident_bytes as f64 - before.resident_bytes as f64;
    table.add(NAME, "size", size(&agent.data_directory())? as f64 / 1e9, "GB");
    table.add(NAME, "resident before", before.resident_bytes as f64 / 1e6, "MB");
    table.add(NAME, "growth of resident", growth.max(0.0) / 1e6, "MB").target(Target::AtMost(30.0));
    let peak = after.resident_bytes_max.saturating_sub(before.resident_bytes) as f64;
    table.add(NAME, "growth at its peak", peak / 1e6, "MB");

    let status = agent.terminate(SHUTDOWN_DEADLINE).await?;
    ensure!(status.success(), "the agent ended with {status}");
    agent.restart().await?;
    let second = Target::AtMost(1000.0);
    table.add_time(NAME, "serves after a shutdown within", agent.served_after()).target(second);
    agent.restart().await?;
    table.add_time(NAME, "serves after a kill within", agent.served_after()).target(second);
    table.add(NAME, "resident after it", agent.usage().resident_bytes as f64 / 1e6, "MB");
    Ok(())
}

/// Returns the next sequence number.
async fn accept(address: std::net::SocketAddr, records: u64, first_sequence: u64) -> anyhow::Result<u64> {
    let options = Options { until: Until::Records(records), first_sequence, ..batches() };
    let report = run(address, options).await?;
    ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
    Ok(report.next_sequence)
}

/// Bytes of the files below a directory.
fn size(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("list {directory:?}"))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
