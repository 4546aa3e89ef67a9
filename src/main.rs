//! The binary: reads the command line and exits with what the command says.

use std::process::ExitCode;

use clap::Parser;
use sync_agent::cli::{Arguments, execute, output};

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("sync-agent: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
