//! Whether compressing each request with LZ4 would pay: a measurement, the log does not do it.
//!
//! First the codec alone, then end to end: appenders that compress before they append, and a reader that decompresses
//! what it reads from the disk.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::{
    appenders::{Appenders, Codec, Taken},
    cli::Bench,
    drain::{Drain, Drained},
    job::Job as _,
    payload::{REQUEST_RECORDS, requests},
    scratch::{Scratch, median},
    table::Table,
};

const NAME: &str = "lz4";
const APPENDERS: usize = 16;

pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    alone(bench, table)?;
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        // Neither always runs first.
        let order = if number % 2 == 0 { [Codec::Raw, Codec::Lz4] } else { [Codec::Lz4, Codec::Raw] };
        let mut ways = [way(bench, order[0])?, way(bench, order[1])?];
        if number % 2 == 1 {
            ways.reverse();
        }
        rounds.push(ways);
    }
    end_to_end(&rounds, table);
    Ok(())
}

/// The codec without a log.
fn alone(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let payloads = requests();
    let compressed: Vec<Vec<u8>> = payloads.iter().map(|payload| Codec::Lz4.encode(payload)).collect();
    let bytes = |of: &[Vec<u8>]| of.iter().map(Vec::len).sum::<usize>() as f64;
    let (before, after) = (bytes(&payloads), bytes(&compressed));
    table.add(NAME, "bytes of a request", before / payloads.len() as f64, "");
    table.add(NAME, "  compressed to", after / before * 100.0, "%");
    let window = bench.window / 4;
    let compress = per_pass(window, || {
        for payload in &payloads {
            black_box(Codec::Lz4.encode(black_box(payload)));
        }
        Ok(())
    })?;
    let decompress = per_pass(window, || {
        for payload in &compressed {
            black_box(lz4_flex::decompress_size_prepended(black_box(payload))?);
        }
        Ok(())
    })?;
    let records = payloads.len() as f64 * f64::from(REQUEST_RECORDS);
    for (name, seconds) in [("compress", compress), ("decompress", decompress)] {
        table.add(NAME, format!("{name}, one thread"), before / seconds / 1e6, "MB/s");
        table.add(NAME, "  CPU per million records", seconds / records * 1e6, "s");
    }
    Ok(())
}

/// Seconds that one pass takes.
fn per_pass(window: Duration, mut pass: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (start, mut passes) = (Instant::now(), 0.0);
    while start.elapsed() < window {
        pass()?;
        passes += 1.0;
    }
    Ok(start.elapsed().as_secs_f64() / passes)
}

/// Appended with a codec, and read back.
struct Way {
    appended: Taken,
    drained: Drained,
}

fn way(bench: &Bench, codec: Codec) -> anyhow::Result<Way> {
    let scratch = Scratch::new()?;
    let dir = scratch.path("log");
    let seconds = bench.turn();
    let appended = Appenders { dir: dir.clone(), appenders: APPENDERS, readers: 0, seconds, codec }.run()?;
    let drained = Drain { dir, codec }.run()?;
    Ok(Way { appended, drained })
}

fn end_to_end(rounds: &[[Way; 2]], table: &mut Table) {
    let mut compare = |name: &str, unit, value: fn(&Way) -> f64| {
        let raw = median(rounds.iter().map(|[raw, _]| value(raw)));
        let lz4 = median(rounds.iter().map(|[_, lz4]| value(lz4)));
        table.add(NAME, format!("{name}, raw"), raw, unit);
        table.add(NAME, format!("{name}, lz4"), lz4, unit);
        let ratio = median(rounds.iter().map(|[raw, lz4]| value(lz4) / value(raw)));
        table.add(NAME, "  lz4 to raw", ratio, "x");
    };
    compare("16 appenders", "appends/s", |way| way.appended.requests_per_second());
    compare("  CPU per million records", "s", |way| way.appended.cpu_per_million_records());
    compare("read from disk", "requests/s", |way| way.drained.requests_per_second());
    compare("  CPU per million records", "s", |way| way.drained.cpu_per_million_records());
    compare("  content read", "MB/s", |way| way.drained.bytes as f64 / way.drained.cost.seconds / 1e6);
}
