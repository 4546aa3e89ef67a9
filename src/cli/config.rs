//! `sync-agent config`: what helps to write a config file. Needs no agent, and reads no config.

mod example;
mod init;
mod reference;

use std::process::ExitCode;

use anyhow::Context as _;

use self::{init::Init, reference::Reference};
use super::output;
use crate::config::schema;

/// Write a config file: an example, every key, a schema for editors.
///
/// `sync-agent check` tells what is wrong with a file, and what the agent would do with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Start with `sync-agent config init`, then look keys up in `sync-agent config reference`."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(Init),
    Reference(Reference),
    Schema(Schema),
}

/// Print the JSON Schema of the config file.
///
/// For editors that complete and check TOML, and for programs that generate configs. It accepts whatever the agent
/// accepts; `sync-agent check` finds more, such as a name that nothing has.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent config schema > agent.schema.json

An editor with taplo (Even Better TOML) uses it where the config begins with
  #:schema ./agent.schema.json")]
struct Schema;

/// Carries the command out.
///
/// # Errors
/// If a file is there already or cannot be written, or stdout cannot.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Init(init) => init.run()?,
        Command::Reference(reference) => reference.run()?,
        Command::Schema(Schema) => output::print_json(&schema()).context("cannot write to stdout")?,
    }
    Ok(ExitCode::SUCCESS)
}
