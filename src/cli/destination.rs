//! `sync-agent destination`: what an operator does with a destination of a running agent. A detached one can be resumed
//! while the agent is stopped, too.

mod change;
mod resume;

use std::{path::Path, process::ExitCode};

use self::{
    change::{Forget, Pause, Probe, ResetCursor},
    resume::Resume,
};
use super::place::Place;
use crate::admin::Client;

/// Pause, repair and remove a destination.
///
/// What an operator says here wins over the config file, is kept over restarts, and is shown by `sync-agent status` as
/// long as it differs from the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Start with `sync-agent status`: it tells what each destination is doing, and why.")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Pause(Pause),
    Resume(Resume),
    Probe(Probe),
    ResetCursor(ResetCursor),
    Forget(Forget),
}

/// Carries the command out.
///
/// # Errors
/// If no agent answers, or a stopped agent's log cannot be opened or has nothing to resume.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let client = Client::new(data_dir);
    match &arguments.command {
        Command::Pause(pause) => pause.run(&client).await,
        Command::Resume(resume) => resume.run(&client, data_dir).await,
        Command::Probe(probe) => probe.run(&client).await,
        Command::ResetCursor(reset) => reset.run(&client).await,
        Command::Forget(forget) => forget.run(&client).await,
    }
}
