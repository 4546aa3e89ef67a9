//! The benchmarks: `cargo run --release -p bench -- SCENARIO`.
//!
//! The agent, the fake destination and the baseline server each run in a process of their own, so that the CPU time of
//! each can be told apart; this process generates the load. What a figure is measured against (a target, a baseline of
//! the same run) is printed beside it. Figures of different runs or machines are not comparable, ratios are.
//!
//! Read [`cli`] first, then a scenario: [`ingest`], [`deliver`], [`backlog`]. [`baseline`] holds what they are compared
//! with, [`child`] this binary's other lives.

mod cli;

mod ingest;

mod deliver;

mod backlog;

mod baseline;

mod child;

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
