//! `transform bench`: what a module costs, beside what it costs to call one at all.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount};
use plugin_api::operation::Action;
use serde::Serialize;

use super::{
    EXIT_CODES, Outcome, Streams, lines,
    lines::Case,
    subject::{self, Subject},
    test::{action_parser, cases},
    trial::BATCH,
};
use crate::{
    cli::{
        output::{BAD, HEADING, styled},
        text,
    },
    record::Record,
    transform::{Engine, Instance, LogTarget, Outcome as Became},
};

/// Starts that are measured.
const STARTS: u32 = 20;

/// Measure a module on the records of a file.
///
/// One thread hands it batches of 256 records, again and again, as an agent's worker does. The row `unchanged` is a
/// module that looks at nothing: what is above it is the transform's own work.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  sync-agent transform bench redact.wasm --input in.ndjson --config '{{ fields = [\"email\"] }}'
  sync-agent log dump --limit 10000 | sync-agent transform bench rename.wasm --input -

{}

{EXIT_CODES}", lines::INPUT))]
pub(super) struct Bench {
    #[command(flatten)]
    subject: subject::Arguments,
    /// The records, or - for stdin
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The action of lines that name none
    #[arg(long, value_name = "ACTION", default_value = "save", value_parser = action_parser())]
    action: Action,
    /// How long to measure each module
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    records: usize,
    bytes_a_record: u64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    module: String,
    records_per_second: f64,
    ns_per_record: f64,
    /// The longest call, of 256 records.
    batch_ms_max: f64,
    /// What one instance holds at the end.
    memory_bytes: usize,
    /// Until an instance can be called.
    start_us: f64,
    compile_ms: f64,
    /// Of all records, how many it failed.
    failed_share: f64,
}

impl Bench {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
        let wasm = self.subject.read()?;
        let cases = cases(&self.input, self.action, &self.subject.index)?;
        let engine = subject::engine()?;
        let name = self.subject.module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let loaded = self.subject.load(&engine, &wasm).map_err(|error| error.to_string());
        let row = match loaded.and_then(|subject| self.measure(&subject, &cases, name)) {
            Ok(row) => row,
            Err(problem) => {
                let words = format!("{}: {problem}", self.subject.module.display());
                writeln!(streams.errors, "{} {}", styled(BAD, "refused"), text::printable(&words))?;
                return Ok(Outcome::Failed);
            }
        };
        let mut rows = vec![row];
        rows.extend(self.floor(&engine, &cases)?);
        let bytes: usize = cases.iter().map(|case| case.record.body.len()).sum();
        let report =
            Report { records: cases.len(), bytes_a_record: (bytes / cases.len().max(1)) as u64, rows };
        if self.json {
            serde_json::to_writer_pretty(&mut *streams.out, &report).map_err(io::Error::from)?;
            writeln!(streams.out)?;
        } else {
            write_text(&report, streams)?;
        }
        Ok(Outcome::Done)
    }

    /// What every module costs; a binary without the demo has no module to tell it.
    #[cfg(feature = "demo")]
    fn floor(&self, engine: &Arc<Engine>, cases: &[Case]) -> anyhow::Result<Option<Row>> {
        let loaded =
            self.subject.load(engine, crate::cli::guests::UNCHANGED).map_err(|error| error.to_string());
        match loaded.and_then(|subject| self.measure(&subject, cases, "unchanged".to_owned())) {
            Ok(row) => Ok(Some(row)),
            Err(problem) => anyhow::bail!("the module to compare with: {problem}"),
        }
    }

    #[cfg(not(feature = "demo"))]
    fn floor(&self, _engine: &Arc<Engine>, _cases: &[Case]) -> anyhow::Result<Option<Row>> {
        Ok(None)
    }

    /// Calls the module for the time that was asked for. The error says which call went wrong.
    fn measure(&self, subject: &Subject, cases: &[Case], module: String) -> Result<Row, String> {
        let batches = batches(cases);
        let start = || subject.start(LogTarget::Nowhere).map_err(|error| error.to_string());
        let started = Instant::now();
        let mut instance = start()?;
        for _ in 1..STARTS {
            instance = start()?;
        }
        let start_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(STARTS);
        // Once through without a clock, so that the first call's costs are not counted.
        for batch in &batches {
            call(&mut instance, subject, batch)?;
        }
        let (mut records, mut failed, mut longest) = (0, 0, Duration::ZERO);
        let (begun, wanted) = (Instant::now(), Duration::from_secs_f64(self.seconds));
        'measured: loop {
            for batch in &batches {
                let called = Instant::now();
                failed += call(&mut instance, subject, batch)?;
                longest = longest.max(called.elapsed());
                records += batch.len();
                if begun.elapsed() >= wanted {
                    break 'measured;
                }
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Row {
            module,
            records_per_second: (records as f64 / seconds).round(),
            ns_per_record: (seconds * 1e9 / records as f64).round(),
            batch_ms_max: rounded(longest.as_secs_f64() * 1e3),
            memory_bytes: instance.memory_bytes(),
            start_us: rounded(start_us),
            compile_ms: rounded(subject.compile_took.as_secs_f64() * 1e3),
            failed_share: failed as f64 / records as f64,
        })
    }
}

/// How many records failed.
fn call(instance: &mut Instance, subject: &Subject, batch: &[Record]) -> Result<usize, String> {
    let outcomes = instance.call(batch, subject.limits.cpu_max).map_err(|error| {
        format!("a call with {} records: {error}; `transform test` shows which one", batch.len())
    })?;
    Ok(outcomes.iter().filter(|outcome| matches!(outcome, Became::Failed(_))).count())
}

/// Full batches; a file of few records is repeated.
fn batches(cases: &[Case]) -> Vec<Vec<Record>> {
    let count = cases.len().div_ceil(BATCH).max(1) * BATCH;
    let records: Vec<_> = cases.iter().cycle().take(count).map(|case| case.record.clone()).collect();
    records.chunks(BATCH).map(<[Record]>::to_vec).collect()
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.01 to 600".to_owned()),
    }
}

fn write_text(report: &Report, streams: &mut Streams<'_>) -> io::Result<()> {
    let out = &mut *streams.out;
    let (records, bytes) = (HumanCount(report.records as u64), HumanBytes(report.bytes_a_record));
    writeln!(out, "{records} records of {bytes} on average, in batches of {BATCH} on one thread\n")?;
    let titles = format!(
        "{:20} {:>12} {:>12} {:>14} {:>10} {:>10} {:>10}",
        "MODULE", "RECORDS/S", "NS/RECORD", "LONGEST CALL", "MEMORY", "START", "COMPILE"
    );
    writeln!(out, "{}", styled(HEADING, titles))?;
    for row in &report.rows {
        writeln!(
            out,
            "{:20} {:>12} {:>12} {:>14} {:>10} {:>10} {:>10}",
            text::shortened(&text::printable(&row.module), 20),
            HumanCount(row.records_per_second as u64).to_string(),
            HumanCount(row.ns_per_record as u64).to_string(),
            format!("{} ms", row.batch_ms_max),
            HumanBytes(row.memory_bytes as u64).to_string(),
            format!("{} us", row.start_us),
            format!("{} ms", row.compile_ms),
        )?;
    }
    if let [row, ..] = report.rows.as_slice()
        && row.failed_share > 0.0
    {
        writeln!(
            out,
            "\n{:.1} % of the records fail: `transform test` shows them",
            row.failed_share * 100.0
        )?;
    }
    Ok(())
}
