//! The benchmarks: `cargo run --release -p bench -- SCENARIO`.
//!
//! The agent, each fake destination and the baselines each run in a process of their own, so that the CPU time of each can
//! be told apart; this process generates the load. What a figure is measured against (a target, a baseline of the same
//! run) is printed beside it. Figures of different runs or machines are not comparable, ratios are.
//!
//! Read [`cli`] first, then a scenario. [`ingest`], [`deliver`], [`hotkeys`], [`isolation`], [`rejects`], [`operators`],
//! [`transforms`], [`opensearch`] and [`backlog`] measure the agent; [`guest`] measures modules alone; [`baseline`], [`simple`] and [`loader`] are what they are compared
//! with. [`append`], [`lz4`], [`reopen`] and [`retention`] measure the log alone: their work is done by jobs ([`job`]),
//! each in a process of its own, as are the servers in [`child`].

mod cli;

mod ingest;

mod deliver;

mod hotkeys;

mod isolation;

mod rejects;

mod operators;

mod guest;

mod swaps;
mod transforms;

mod opensearch;

mod backlog;

mod append;

mod lz4;

mod reopen;

mod retention;

mod appenders;
mod drain;
mod plain;
#[cfg(feature = "fjall")]
mod rival;

mod groups;
mod payload;
mod scratch;
mod sparse;

mod arrivals;
mod fanout;
mod lines;

mod baseline;
mod loader;
mod records;
mod simple;

mod child;
mod fake;
mod job;

mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
