//! The command line as a whole.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "demo")]
use super::demo;
use super::{
    check, completions, config, dead_letters, destination, drain, find, log, place::Place, reload, run, send,
    status, tail, transform,
};

/// A durable fan-out agent for search indexes.
///
/// Services send objects by one gRPC call and are answered as soon as these are safe on disk; the agent delivers them
/// to every destination, in order, at the destination's own pace.
#[derive(Debug, Parser)]
#[command(name = "sync-agent", version, max_term_width = 100)]
#[command(after_help = "Start with `sync-agent demo`, or with `sync-agent run` and `sync-agent send`.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Config(config::Arguments),
    Send(send::Arguments),
    Status(status::Arguments),
    Tail(tail::Arguments),
    Reload(reload::Arguments),
    Destination(destination::Arguments),
    DeadLetters(DeadLetters),
    Find(find::Arguments),
    Drain(drain::Arguments),
    Transform(transform::Arguments),
    Log(Log),
    Completions(completions::Arguments),
}

/// Look at records that a destination would not take.
///
/// A record is dead-lettered when its destination refuses it for good, when the destination's rules exclude it, or
/// when its transform fails. It stays here with the reason until you decide; every other record went on. An outage
/// never brings a record here: what a destination cannot take for now waits in the log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Start with `sync-agent dead-letters list`, then `show` the ID that interests you.")]
struct DeadLetters {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    arguments: dead_letters::Arguments,
}

/// Look at the log of a stopped agent.
///
/// The log is where accepted records lie until every destination has them. An agent that runs keeps its log to itself:
/// stop it first, or copy its data directory and look at the copy.
#[derive(Debug, clap::Args)]
#[command(after_help = log::HELP)]
struct Log {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    arguments: log::Arguments,
}

/// Carries the command out.
///
/// # Errors
/// What the command did not explain itself.
pub fn execute(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => block_on(demo::run(&arguments)),
        Command::Run(arguments) => block_on(run::run(&arguments)),
        Command::Check(arguments) => check::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Send(arguments) => block_on(send::run(&arguments)),
        Command::Transform(arguments) => transform::run(&arguments),
        Command::DeadLetters(command) => {
            command.place.with_directory(|data_dir| dead_letters::run(command.arguments, data_dir))
        }
        Command::Log(command) => {
            command.place.with_directory(|data_dir| log::run(&command.arguments, data_dir))
        }
        Command::Status(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(status::run(&arguments, data_dir)))
        }
        Command::Tail(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(tail::run(&arguments, data_dir)))
        }
        Command::Destination(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(destination::run(&arguments, data_dir)))
        }
        Command::Reload(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(reload::run(&arguments, data_dir)))
        }
        Command::Find(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(find::run(&arguments, data_dir)))
        }
        Command::Drain(arguments) => {
            arguments.place.with_directory(|data_dir| block_on(drain::run(&arguments, data_dir)))
        }
    }
}

/// Runs a command that waits, on a runtime of its own.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(command);
    // Whatever still blocks a thread must not keep the process alive: what is durable is so already.
    runtime.shutdown_background();
    done
}
