//! The log on a simulated disk, against a model: power cuts, kills and failing operations at any step, thousands of
//! times a second.
//!
//! `disk` is the disk, made of `contents` (the bytes of files), `names` (directory entries) and `mood` (how a cut
//! goes). `run` drives the log on one thread through one `life` after the other, in which `subscribers` come and go, and
//! compares it with `model` each time it is opened and after every step; `destination` (made of `settled` records) is the
//! model of one of them. `tally` counts what happened. A run is a function of its seed; a seed that fails is printed with
//! the command that repeats it, and belongs into `seeds.txt`.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `SIMULATION_CUTS` | how many power cuts, at least | 2000 |
//! | `SIMULATION_SEED` | run this seed alone | |
//! | `SIMULATION_FIRST_SEED` | begin with another one | 1 |

mod contents;
mod destination;
mod disk;
mod disk_tests;
mod life;
mod model;
mod mood;
mod names;
mod run;
mod settled;
mod subscribers;
mod tally;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use self::{
    run::{LIVES, Run},
    tally::{Event, Tally},
};

const CUTS: u64 = 2000;

const SEEDS: &str = include_str!("seeds.txt");

/// G1, G3, rules 1 to 14: whatever strikes at whatever step, what was acknowledged or read is found again.
#[test]
fn power_cuts() {
    if let Some(seed) = variable("SIMULATION_SEED") {
        report(&Run::new(seed).run(), Instant::now());
        return;
    }
    let begun = Instant::now();
    let cuts = variable("SIMULATION_CUTS").unwrap_or(CUTS);
    let tally = simulate(cuts, variable("SIMULATION_FIRST_SEED").unwrap_or(1));
    report(&tally, begun);
    let missing = tally.missing();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// What was found once is not found again.
#[test]
fn kept_seeds() {
    let seeds = SEEDS.lines().filter(|line| !line.starts_with('#'));
    for seed in seeds.filter_map(|line| line.split_whitespace().next()) {
        if let Err(seed) = attempt(seed.parse().expect("a seed is a number")) {
            panic!("{}", advice(seed));
        }
    }
}

/// Runs one seed after the other, on every core, until there were so many cuts or one failed.
fn simulate(cuts: u64, first_seed: u64) -> Tally {
    let (next_seed, cuts_so_far) = (AtomicU64::new(first_seed), AtomicU64::new(0));
    let (failed, tally) = (AtomicBool::new(false), Mutex::new(Tally::default()));
    let work = || {
        while cuts_so_far.load(Ordering::SeqCst) < cuts && !failed.load(Ordering::SeqCst) {
            match attempt(next_seed.fetch_add(1, Ordering::SeqCst)) {
                Ok(found) => {
                    cuts_so_far.fetch_add(found.get(Event::Cut), Ordering::SeqCst);
                    tally.lock().unwrap_or_else(PoisonError::into_inner).add(&found);
                }
                Err(seed) => {
                    failed.store(true, Ordering::SeqCst);
                    panic!("{}", advice(seed));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn attempt(seed: u64) -> Result<Tally, u64> {
    panic::catch_unwind(AssertUnwindSafe(|| Run::new(seed).run())).map_err(|_| seed)
}

fn advice(seed: u64) -> String {
    format!(
        "seed {seed} failed; to repeat it:\n    SIMULATION_SEED={seed} cargo test -p sync-agent --lib \
         log::tests::simulation::power_cuts\nOnce it is mended, add the seed to src/log/tests/simulation/seeds.txt."
    )
}

/// Shown with `--nocapture`, and where a test fails.
fn report(tally: &Tally, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    let cuts = tally.get(Event::Cut);
    println!("{cuts} power cuts in {seconds:.1} s, {LIVES} lives a run\n{tally}");
}

fn variable(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}
