//! `sync-agent dead-letters`: what was dead-lettered, and why. Works on the stores of a running or a stopped agent; only
//! `drop` changes them, and `replay` has the running agent do so.
//!
//! Whatever comes from a record is escaped before it reaches a terminal.

mod selection;

mod drop;
mod export;
mod list;
mod replay;
mod show;
mod stats;

mod json;
mod table;

use std::{
    io::{self, BufRead, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

use super::{command::block_on, text};
use crate::dead_letter::{View, store_path};

pub use selection::Selection;

const HEADING: Style = Style::new().bold();
const LABEL: Style = Style::new().dimmed();
const FAILURE: Style = AnsiColor::Red.on_default();

/// What to do with the letters; where they are is the caller's to tell.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    OnStores(OnStores),
    Replay(replay::Replay),
}

/// What works on the stores themselves.
#[derive(Debug, clap::Subcommand)]
enum OnStores {
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
    Export(export::Export),
    Drop(drop::Drop),
}

/// Carries the command out on the stores below `data_dir`.
///
/// Exits with 0, also where there is nothing to list; with 1 where the letter or the destination asked for has
/// nothing here; with 2 where an ID alone does not say which letter is meant, or a deletion was not confirmed. A reader of our output that goes away
/// is no error.
///
/// # Errors
/// If a store cannot be read.
pub fn run(arguments: Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let command = match arguments.command {
        Command::OnStores(command) => command,
        Command::Replay(replay) => return block_on(replay.run(data_dir)),
    };
    let mut errors = anstream::stderr().lock();
    let mut input = io::stdin().lock();
    let terminal = input.is_terminal().then_some(&mut input as &mut dyn BufRead);
    let done = if command.prints_json() {
        let out = &mut io::BufWriter::new(io::stdout().lock());
        execute(&command, data_dir, out, &mut errors, terminal)
    } else {
        execute(&command, data_dir, &mut anstream::stdout().lock(), &mut errors, terminal)
    };
    match done {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(outcome) => Ok(ExitCode::from(outcome as u8)),
    }
}

/// How a command ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    NothingFound = 1,
    /// It is not said, or not confirmed, which letters are meant.
    Ambiguous = 2,
}

fn execute(
    command: &OnStores,
    data_dir: &Path,
    out: &mut dyn Write,
    errors: &mut dyn Write,
    terminal: Option<&mut dyn BufRead>,
) -> anyhow::Result<Outcome> {
    let directory = data_dir.join("dead-letters");
    anyhow::ensure!(data_dir.is_dir(), "there is no data directory {}", data_dir.display());
    let mut stores = destinations(&directory)?;
    let wanted = command.destination();
    if let Some(wanted) = wanted
        && !stores.contains(wanted)
    {
        let known = if stores.is_empty() { "none".into() } else { stores.join(", ") };
        writeln!(
            errors,
            "no dead letters of a destination {wanted:?} in {}; there are: {known}",
            directory.display()
        )?;
        return Ok(Outcome::NothingFound);
    }
    stores.retain(|name| wanted.is_none_or(|wanted| wanted == name));
    let mut views = Vec::new();
    for name in stores {
        let view = View::open(&store_path(data_dir, &name))?;
        views.push((name, view));
    }
    let outcome = match command {
        OnStores::List(list) => list::execute(list, &views, out),
        OnStores::Show(show) => show::execute(show, &views, out, errors),
        OnStores::Stats(stats) => stats::execute(stats, &views, out),
        OnStores::Export(export) => export::execute(export, &views, out),
        OnStores::Drop(drop) => drop::execute(drop, data_dir, &views, out, errors, terminal),
    }?;
    out.flush()?;
    Ok(outcome)
}

/// The destinations that have a store, by name.
fn destinations(directory: &Path) -> anyhow::Result<Vec<String>> {
    let reading = || format!("could not read {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name();
        // A file without a byte is a store that is about to be created.
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".sqlite"))
            && entry.metadata().with_context(reading)?.len() > 0
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl OnStores {
    fn prints_json(&self) -> bool {
        match self {
            Self::List(list) => list.json,
            Self::Show(show) => show.json,
            Self::Stats(stats) => stats.json,
            Self::Export(_) => true,
            Self::Drop(drop) => drop.json,
        }
    }

    fn destination(&self) -> Option<&String> {
        match self {
            Self::List(list) => list.selection.destination.as_ref(),
            Self::Show(show) => show.destination.as_ref(),
            Self::Stats(stats) => stats.selection.destination.as_ref(),
            Self::Export(export) => export.selection.destination.as_ref(),
            Self::Drop(drop) => drop.selection.destination.as_ref(),
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
