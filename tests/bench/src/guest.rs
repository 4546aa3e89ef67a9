//! Modules alone, on one thread: what one that does real work costs a record beside native code that does the same, and
//! what a call costs that changes nothing.
//!
//! Every figure is the best of many passes over the same records: what another process costs is not of interest here.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Map, Value};
use sync_agent::{
    record::{Record, read_payload},
    transform::{Engine, Instance, Limits, LogTarget, Module, Outcome},
};

use crate::{
    cli::Bench,
    payload::{REQUEST_RECORDS, requests},
    table::{Table, Target},
    transforms::module,
};

const NAME: &str = "guest";
/// Records in a call, as the agent has it.
const BATCH: usize = 256;
/// What is removed.
const FIELDS: [&str; 2] = ["brand", "image"];

/// Runs over some records.
type Way = Box<dyn FnMut(&[Record]) -> anyhow::Result<()>>;

pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let config = serde_json::json!({ "fields": FIELDS }).to_string();
    let [native, redact, unchanged] = best(
        bench.window,
        &records()?,
        [
            Box::new(natively),
            guest("redact", &config, |outcome| matches!(outcome, Outcome::Replace(_)))?,
            guest("unchanged", "{}", |outcome| matches!(outcome, Outcome::Unchanged))?,
        ],
    )?;
    table.add(NAME, "parse, remove two fields, write: native", native * 1e9, "ns/record");
    table.add(NAME, "  by the module `redact`", redact * 1e9, "ns/record");
    table.add(NAME, "  to native", redact / native, "x").target(Target::AtMost(2.3));
    table
        .add(NAME, "a module that changes nothing", unchanged * 1e9, "ns/record")
        .target(Target::AtMost(400.0));
    Ok(())
}

fn records() -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for payload in requests() {
        records.extend(read_payload(&Bytes::from(payload), REQUEST_RECORDS)?);
    }
    records.truncate(records.len() / BATCH * BATCH);
    Ok(records)
}

/// As one would write it without an agent.
fn natively(records: &[Record]) -> anyhow::Result<()> {
    for record in records {
        let mut object: Map<String, Value> = serde_json::from_slice(&record.body)?;
        for field in FIELDS {
            object.remove(field);
        }
        black_box(serde_json::to_string(&object)?);
    }
    Ok(())
}

/// An instance of a module whose outcomes are all as `expected`.
fn guest(name: &'static str, config: &str, expected: fn(&Outcome) -> bool) -> anyhow::Result<Way> {
    let wasm = fs::read(module("transforms", name)?)?;
    let engine = Engine::new().map_err(|error| anyhow::anyhow!("{error}"))?;
    let compiled = Module::compile(&engine, &wasm)?;
    let limits = Limits { cpu_max: Duration::from_secs(10), memory_bytes_max: 64 << 20 };
    let mut instance = Instance::start(&compiled, "products", config, &limits, LogTarget::Nowhere)?;
    Ok(Box::new(move |records| {
        let outcomes = instance.call(records, limits.cpu_max)?;
        anyhow::ensure!(outcomes.iter().all(expected), "{name}: {:?}", outcomes.first());
        Ok(())
    }))
}

/// Seconds a record in the fastest pass of each, which take turns.
fn best<const N: usize>(
    window: Duration,
    records: &[Record],
    mut ways: [Way; N],
) -> anyhow::Result<[f64; N]> {
    let (begun, mut best) = (Instant::now(), [f64::INFINITY; N]);
    while begun.elapsed() < window || best[0].is_infinite() {
        for (run, best) in ways.iter_mut().zip(&mut best) {
            let pass = Instant::now();
            for batch in records.chunks(BATCH) {
                run(batch)?;
            }
            *best = best.min(pass.elapsed().as_secs_f64() / records.len() as f64);
        }
    }
    Ok(best)
}
