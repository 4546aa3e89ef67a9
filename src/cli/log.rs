//! `sync-agent log`: looks at the log of a stopped agent. Nothing here changes it but `skip`, when told to.
//!
//! Whatever comes from a record is escaped before it reaches a terminal.

mod dump;
mod skip;
mod stats;
mod verify;

mod progress;

use std::{
    io::{self, BufRead, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use plugin_api::identity::Timestamp;

use crate::{
    log::inspect::StoppedLog,
    runtime::{Clock as _, SystemClock},
};

/// What all of the commands have to say at the end of their help.
pub(super) const HELP: &str = "\
Exit codes:
  0  done; for `verify`: sound
  1  it could not be done: there is no log, an agent uses it, or the operating system refuses
  2  the command line is wrong, the config has errors, or `skip` was not confirmed
  3  `verify` found something by which no record is lost, such as what a crash left
  4  records cannot be read or are gone: `verify` or `skip` found so, or `dump` came to such a place";

/// What to do with the log; where it is is the caller's to tell.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(verify::Verify),
    Stats(stats::Stats),
    Dump(dump::Dump),
    Skip(skip::Skip),
}

/// How a command ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    CannotSkip = 1,
    Unconfirmed = 2,
    Harmless = 3,
    Grave = 4,
}

/// What a command works on and writes to.
struct Session<'a> {
    log: StoppedLog,
    data_dir: &'a Path,
    /// The log's directory.
    dir: PathBuf,
    now: Timestamp,
    out: &'a mut dyn Write,
    errors: &'a mut dyn Write,
    /// Where somebody sits who can be asked.
    terminal: Option<Box<dyn BufRead>>,
}

/// Carries the command out on the log below `data_dir`. A reader of our output that goes away is no error.
///
/// # Errors
/// If the log cannot be opened or read.
pub fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let mut errors = anstream::stderr().lock();
    let now = SystemClock.now();
    let input = io::stdin().lock();
    let terminal = input.is_terminal().then(|| Box::new(input) as Box<dyn BufRead>);
    let done = if arguments.command.prints_json() {
        // Records are escaped, and nothing else needs to be looked through for styles.
        execute(arguments, data_dir, now, &mut io::BufWriter::new(io::stdout().lock()), &mut errors, terminal)
    } else {
        execute(
            arguments,
            data_dir,
            now,
            &mut io::BufWriter::new(anstream::stdout().lock()),
            &mut errors,
            terminal,
        )
    };
    match done {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(outcome) => Ok(ExitCode::from(outcome as u8)),
    }
}

fn execute(
    arguments: &Arguments,
    data_dir: &Path,
    now: Timestamp,
    out: &mut dyn Write,
    errors: &mut dyn Write,
    terminal: Option<Box<dyn BufRead>>,
) -> anyhow::Result<Outcome> {
    anyhow::ensure!(
        data_dir.is_dir(),
        "there is no data directory {}: name it with --data-dir, or the agent's config with --config",
        data_dir.display()
    );
    let dir = data_dir.join("logs").join("default");
    let log = StoppedLog::open(&dir)?;
    let mut session = Session { log, data_dir, dir, now, out, errors, terminal };
    let outcome = match &arguments.command {
        Command::Verify(verify) => verify.run(&mut session),
        Command::Stats(stats) => stats.run(&mut session),
        Command::Dump(dump) => dump.run(&mut session),
        Command::Skip(skip) => skip.run(&mut session),
    }?;
    session.out.flush()?;
    Ok(outcome)
}

impl Command {
    fn prints_json(&self) -> bool {
        match self {
            Self::Verify(verify) => verify.json,
            Self::Stats(stats) => stats.json,
            Self::Dump(_) => true,
            Self::Skip(_) => false,
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
