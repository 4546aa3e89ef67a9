//! The binary: reads the command line and exits with what the command says.

use std::process::ExitCode;

use clap::Parser;
use sync_agent::cli::{Arguments, execute, output};

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("sync-agent: {}\n", told_once(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, but for those that the text before them has told already.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
