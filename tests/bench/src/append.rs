//! The log alone: durable appends of 100 records of about 600 bytes, against one thread that writes the same groups to a
//! plain file, and against fjall.
//!
//! Everything runs in rounds, one after the other, since a machine that is shared changes from one second to the next:
//! what is compared has run side by side, each round gives a ratio of its own, and the median is shown.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    appenders::{Appenders, Codec, Taken},
    cli::Bench,
    job::Job as _,
    plain::{Plain, Written},
    rival::{Rival, Way},
    scratch::{Scratch, median},
    table::{Table, Target},
};

const NAME: &str = "append";
/// What the targets are stated for.
const APPENDERS: usize = 16;

pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    for &appenders in &bench.appenders {
        let rounds: anyhow::Result<Vec<Round>> =
            (0..bench.rounds).map(|number| Round::run(bench, appenders, number)).collect();
        show(appenders, bench.readers, &rounds?, table);
    }
    Ok(())
}

/// Each of them once.
struct Round {
    alone: Taken,
    plain: Written,
    with_readers: Taken,
    each: Taken,
    batch: Taken,
}

impl Round {
    /// Every other round runs backwards, so that what grows with time favours nobody; but for the plain file, which
    /// needs its log.
    fn run(bench: &Bench, appenders: usize, number: usize) -> anyhow::Result<Self> {
        let (mut own, mut with_readers, mut each, mut batch) = (None, None, None, None);
        let mut steps = [0, 1, 2, 3];
        if number % 2 == 1 {
            steps.reverse();
        }
        for step in steps {
            // A directory for each, gone before the next one runs.
            let scratch = Scratch::new()?;
            let log = |readers| Appenders {
                dir: scratch.path("log"),
                appenders,
                readers,
                seconds: bench.window.as_secs_f64(),
                codec: Codec::Raw,
            };
            match step {
                0 => {
                    let alone = log(0).run()?;
                    own = Some((alone, plain(&scratch.path("log"), &scratch.path("plain"))?));
                }
                1 => with_readers = Some(log(bench.readers).run()?),
                2 => each = Some(rival(bench, &scratch, appenders, Way::Each)?),
                _ => batch = Some(rival(bench, &scratch, appenders, Way::Batch)?),
            }
        }
        let (alone, plain) = own.context("it was run above")?;
        let with_readers = with_readers.context("it was run above")?;
        let (each, batch) = (each.context("it was run above")?, batch.context("it was run above")?);
        Ok(Self { alone, plain, with_readers, each, batch })
    }
}

fn plain(log: &Path, file: &Path) -> anyhow::Result<Written> {
    Plain { log: log.to_owned(), file: file.to_owned() }.run()
}

fn rival(bench: &Bench, scratch: &Scratch, appenders: usize, way: Way) -> anyhow::Result<Taken> {
    Rival { dir: scratch.path("fjall"), appenders, seconds: bench.window.as_secs_f64(), way }.run()
}

fn show(appenders: usize, readers: usize, rounds: &[Round], table: &mut Table) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
    let plain_rate = |round: &Round| round.plain.requests as f64 / round.plain.cost.seconds;
    let counts = appenders == APPENDERS;
    let label = |what: &str| format!("{appenders} appenders, {what}");

    table.add(NAME, label("log"), of(|round| round.alone.requests_per_second()), "appends/s");
    let per_plain = median(rounds.iter().map(|round| round.alone.requests_per_second() / plain_rate(round)));
    let figure = table.add(NAME, "  to one thread, plain file, same groups", per_plain, "x");
    if counts {
        figure.target(Target::AtLeast(0.85));
    }
    let group = of(|round| round.plain.requests as f64 / round.plain.groups as f64);
    table.add(NAME, "  appends in a group", group, "");
    table.add(NAME, "  CPU per million records", of(|round| round.alone.cpu_per_million_records()), "s");
    let peak = rounds.iter().map(|round| round.alone.cost.resident_bytes_max).max().unwrap_or_default();
    let figure = table.add(NAME, "  peak resident", peak as f64 / 1e6, "MB");
    figure.target(Target::AtMost(20.0));

    let with = format!("log, {readers} readers at the tail");
    let rate = of(|round| round.with_readers.requests_per_second());
    table.add(NAME, label(&with), rate, "appends/s");
    let cost = of(|round| round.with_readers.requests_per_second() / round.alone.requests_per_second());
    let figure = table.add(NAME, "  to the log without them", cost, "x");
    if counts {
        figure.target(Target::AtLeast(0.9));
    }
    let read = median(
        rounds.iter().map(|round| round.with_readers.read as f64 / round.with_readers.requests as f64),
    );
    table.add(NAME, "  of each append, read", read, "times");
    let cpu = of(|round| round.with_readers.cpu_per_million_records());
    table.add(NAME, "  CPU per million records", cpu, "s");
    let peak =
        rounds.iter().map(|round| round.with_readers.cost.resident_bytes_max).max().unwrap_or_default();
    table.add(NAME, "  peak resident", peak as f64 / 1e6, "MB");

    table.add(NAME, label("plain file"), median(rounds.iter().map(plain_rate)), "appends/s");
    let ways: [(&str, fn(&Round) -> &Taken); 2] =
        [("fjall, each persists", |round| &round.each), ("fjall, one commits for all", |round| &round.batch)];
    for (name, taken) in ways {
        let rate = median(rounds.iter().map(|round| taken(round).requests_per_second()));
        table.add(NAME, label(name), rate, "appends/s");
        let times = rounds.iter().map(|round| {
            let (log, fjall) = (round.alone.requests_per_second(), taken(round).requests_per_second());
            log / fjall
        });
        let figure = table.add(NAME, "  log to it", median(times), "x");
        if counts {
            figure.target(Target::AtLeast(2.0));
        }
        let cpu = median(rounds.iter().map(|round| taken(round).cpu_per_million_records()));
        table.add(NAME, "  CPU per million records", cpu, "s");
    }
}
