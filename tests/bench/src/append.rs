//! The log alone: durable appends of 100 records of about 600 bytes, against one thread that writes the same groups to a
//! plain file, and against fjall.
//!
//! They take short turns, since a machine that is shared changes from one second to the next: what is compared has run
//! one after the other, each round gives a ratio of its own, and the median is shown.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    appenders::{Appenders, Codec, Taken},
    cli::Bench,
    job::Job as _,
    plain::{Plain, Written},
    scratch::{Scratch, median},
    table::{Figure, Table, Target},
};

const NAME: &str = "append";
/// What the targets are stated for.
const APPENDERS: usize = 16;

pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    for &appenders in &bench.appenders {
        let rounds: anyhow::Result<Vec<Round>> =
            (0..bench.rounds).map(|number| Round::run(bench, appenders, number)).collect();
        Shown { appenders, rounds: &rounds?, table }.all(bench.readers);
    }
    Ok(())
}

/// fjall, in both ways.
struct Rivals {
    each: Taken,
    batch: Taken,
}

/// Each of them once.
struct Round {
    alone: Taken,
    plain: Written,
    with_readers: Taken,
    rivals: Option<Rivals>,
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
                seconds: bench.turn(),
                codec: Codec::Raw,
            };
            match step {
                // It is not built in.
                2 | 3 if !cfg!(feature = "fjall") => {}
                0 => {
                    let alone = log(0).run()?;
                    own = Some((alone, plain(&scratch.path("log"), &scratch.path("plain"))?));
                }
                1 => with_readers = Some(log(bench.readers).run()?),
                2 => each = Some(rival(bench, &scratch, appenders, false)?),
                _ => batch = Some(rival(bench, &scratch, appenders, true)?),
            }
        }
        let (alone, plain) = own.context("it was run above")?;
        let with_readers = with_readers.context("it was run above")?;
        let rivals = each.zip(batch).map(|(each, batch)| Rivals { each, batch });
        Ok(Self { alone, plain, with_readers, rivals })
    }
}

fn plain(log: &Path, file: &Path) -> anyhow::Result<Written> {
    Plain { log: log.to_owned(), file: file.to_owned() }.run()
}

#[cfg(feature = "fjall")]
fn rival(bench: &Bench, scratch: &Scratch, appenders: usize, batches: bool) -> anyhow::Result<Taken> {
    use crate::rival::{Rival, Way};
    let way = if batches { Way::Batch } else { Way::Each };
    Rival { dir: scratch.path("fjall"), appenders, seconds: bench.turn(), way }.run()
}

#[cfg(not(feature = "fjall"))]
fn rival(_: &Bench, _: &Scratch, _: usize, _: bool) -> anyhow::Result<Taken> {
    anyhow::bail!("fjall is not built in: run with --features fjall")
}

/// Shows the rounds of one number of appenders.
struct Shown<'a> {
    appenders: usize,
    rounds: &'a [Round],
    table: &'a mut Table,
}

impl Shown<'_> {
    fn all(&mut self, readers: usize) {
        self.taken("log", |round| &round.alone);
        self.ratio("  to one thread, plain file, same groups", Target::AtLeast(0.85), |round| {
            round.alone.requests_per_second() / plain_per_second(round)
        });
        let group = self.median(|round| round.plain.requests as f64 / round.plain.groups as f64);
        self.table.add(NAME, "  appends in a group", group, "");
        self.peak(|round| &round.alone).target(Target::AtMost(20.0));

        self.taken(&format!("log, {readers} readers at the tail"), |round| &round.with_readers);
        self.ratio("  to the log without them", Target::AtLeast(0.9), |round| {
            round.with_readers.requests_per_second() / round.alone.requests_per_second()
        });
        let read = self.median(|round| round.with_readers.read as f64 / round.with_readers.requests as f64);
        self.table.add(NAME, "  of each append, read", read, "times");
        self.peak(|round| &round.with_readers).target(Target::AtMost(20.0));

        let plain = self.median(plain_per_second);
        self.table.add(NAME, format!("{} appenders, plain file", self.appenders), plain, "appends/s");
        self.rival("fjall, each persists", |rivals| &rivals.each);
        self.rival("fjall, one commits for all", |rivals| &rivals.batch);
    }

    fn rival(&mut self, name: &str, rival: fn(&Rivals) -> &Taken) {
        let of = |round: &Round| round.rivals.as_ref().map(|rivals| rival(rivals).requests_per_second());
        if self.rounds.iter().any(|round| round.rivals.is_none()) {
            return;
        }
        let rate = self.median(|round| of(round).unwrap_or(f64::NAN));
        self.table.add(NAME, format!("{} appenders, {name}", self.appenders), rate, "appends/s");
        self.ratio("  log to it", Target::AtLeast(2.0), |round| {
            round.alone.requests_per_second() / of(round).unwrap_or(f64::NAN)
        });
    }

    /// What was appended a second, and what that cost.
    fn taken(&mut self, name: &str, taken: fn(&Round) -> &Taken) {
        let rate = self.median(|round| taken(round).requests_per_second());
        self.table.add(NAME, format!("{} appenders, {name}", self.appenders), rate, "appends/s");
        let cpu = self.median(|round| taken(round).cpu_per_million_records());
        self.table.add(NAME, "  CPU per million records", cpu, "s");
    }

    /// The target is stated for one number of appenders only.
    fn ratio(&mut self, name: &str, target: Target, ratio: impl Fn(&Round) -> f64) {
        let ratio = self.median(ratio);
        let figure = self.table.add(NAME, name, ratio, "x");
        if self.appenders == APPENDERS {
            figure.target(target);
        }
    }

    fn peak(&mut self, taken: fn(&Round) -> &Taken) -> &mut Figure {
        let peak = self.rounds.iter().map(|round| taken(round).cost.resident_bytes_max).max();
        self.table.add(NAME, "  peak resident", peak.unwrap_or_default() as f64 / 1e6, "MB")
    }

    fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(value))
    }
}

fn plain_per_second(round: &Round) -> f64 {
    round.plain.requests as f64 / round.plain.cost.seconds
}
