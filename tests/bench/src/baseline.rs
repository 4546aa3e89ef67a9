//! What the agent is compared with, in the same run: gRPC that only decodes, and a plain file.

use std::{
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    child::{Child, Role},
    cli::Bench,
    ingest::{Measured, batches, singles},
    table::Table,
};

/// Both.
#[derive(Debug)]
pub(crate) struct Baselines {
    pub(crate) decode: Decode,
    pub(crate) append: Append,
}

/// A server that decodes with prost's tree and answers.
#[derive(Debug)]
pub(crate) struct Decode {
    /// Records a second, in requests of 100.
    pub(crate) batches_per_second: f64,
    /// Requests of one record a second.
    pub(crate) singles_per_second: f64,
    /// CPU seconds for a million records in requests of 100.
    pub(crate) cpu_per_million: f64,
}

/// A file that is appended to and synced in the groups that the agent's writer could form.
#[derive(Debug)]
pub(crate) struct Append {
    /// Records a second, in groups of 16 requests of 100.
    pub(crate) batches_per_second: f64,
    /// Records a second, in groups of 64.
    pub(crate) singles_per_second: f64,
    /// Of an append of one record with its fdatasync.
    pub(crate) sync_p50: Duration,
    /// The same.
    pub(crate) sync_p99: Duration,
}

pub(crate) async fn decode(bench: &Bench, table: &mut Table) -> anyhow::Result<Decode> {
    const NAME: &str = "decode only";
    let server = Child::start(Role::Decode)?;
    let address = server.address()?;
    let of_batches = Measured::of(address, batches(), bench.window, || server.usage()).await?;
    let of_singles = Measured::of(address, singles(), bench.window, || server.usage()).await?;
    let decode = Decode {
        batches_per_second: of_batches.report.records_per_second(),
        singles_per_second: of_singles.report.records_per_second(),
        cpu_per_million: of_batches.cpu_per_million(),
    };
    table.add(NAME, "batches of 100, 16 connections", decode.batches_per_second, "records/s");
    table.add(NAME, "  its CPU per million records", decode.cpu_per_million, "s");
    table.add(NAME, "  load generator's CPU per million", of_batches.generator_per_million(), "s");
    table.add(NAME, "single records, 64 in flight", decode.singles_per_second, "requests/s");
    table.add(NAME, "  its CPU per million records", of_singles.cpu_per_million(), "s");
    table.add(NAME, "  load generator's CPU per million", of_singles.generator_per_million(), "s");
    Ok(decode)
}

pub(crate) fn append(bench: &Bench, table: &mut Table) -> anyhow::Result<Append> {
    const NAME: &str = "append";
    let of_batches = appended(bench, batches().connections * batches().request_records)?;
    let of_singles = appended(bench, singles().connections * singles().in_flight)?;
    let of_one = appended(bench, 1)?;
    let append = Append {
        batches_per_second: of_batches.records_per_second,
        singles_per_second: of_singles.records_per_second,
        sync_p50: of_one.quantile(0.5),
        sync_p99: of_one.quantile(0.99),
    };
    table.add(NAME, "groups of 1,600 records", append.batches_per_second, "records/s");
    table.add(NAME, "groups of 64 records", append.singles_per_second, "records/s");
    table.add_time(NAME, "one record with its fdatasync, p50", append.sync_p50);
    table.add_time(NAME, "  p99", append.sync_p99);
    Ok(append)
}

struct Appended {
    records_per_second: f64,
    latencies: Histogram<u64>,
}

impl Appended {
    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }
}

/// Appends groups of so many records to a new file where the agents keep their data, each with an fdatasync.
fn appended(bench: &Bench, group_records: usize) -> anyhow::Result<Appended> {
    let directory = tempfile::tempdir()?;
    let mut file = File::create(directory.path().join("append"))?;
    let mut group = vec![0u8; group_records * batches().record_bytes];
    for (number, byte) in group.iter_mut().enumerate() {
        *byte = number as u8;
    }
    let mut latencies = Histogram::new(3)?;
    let start = Instant::now();
    while start.elapsed() < bench.window / 2 {
        let append = Instant::now();
        file.write_all(&group)?;
        file.sync_data()?;
        latencies.record(append.elapsed().as_micros() as u64)?;
    }
    let records = latencies.len() as f64 * group_records as f64;
    Ok(Appended { records_per_second: records / start.elapsed().as_secs_f64(), latencies })
}
