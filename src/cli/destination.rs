//! `sync-agent destination`: what an operator does with a destination of a running agent. A detached one can be resumed
//! while the agent is stopped, too.

mod change;
mod resume;

use std::process::ExitCode;

use self::{
    change::{Forget, Pause, Probe, ResetCursor},
    resume::Resume,
};
use super::place::Place;

/// Pause, repair and remove a destination.
///
/// What an operator says here wins over the config file, is kept over restarts, and is shown by `sync-agent status` as
/// long as it differs from the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Start with `sync-agent status`: it tells what each destination is doing, and why.")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
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
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let place = &arguments.place;
    match &arguments.command {
        Command::Pause(pause) => pause.run(&place.client()?).await,
        Command::Resume(resume) => resume.run(&place.directory()?).await,
        Command::Probe(probe) => probe.run(&place.client()?).await,
        Command::ResetCursor(reset) => reset.run(&place.client()?).await,
        Command::Forget(forget) => forget.run(&place.client()?).await,
    }
}
