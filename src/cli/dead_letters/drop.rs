//! `dead-letters drop`: deletes letters for good, after saying how many.

use std::{
    io::{BufRead, Write},
    path::Path,
};

use indicatif::HumanCount;
use serde_json::json;

use super::{Outcome, selection::Selection};
use crate::{
    admin::{Client, ClientError, DropLetters, LetterFilter, socket_path},
    cli::{command::block_on, text},
    dead_letter::{Filter, View, delete_letters, store_path},
};

/// Delete dead letters for good.
///
/// Their records stay undelivered at that destination. Works while the agent runs, too; it takes note within seconds
/// that there is room again. Without an option that says which, all letters are meant.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sync-agent dead-letters drop --destination search --reason index_refused --dry-run
  sync-agent dead-letters drop --stale --yes

Exit codes:
  0  they are deleted; in a dry run: counted
  1  it could not be done
  2  it was not confirmed, or the command line is wrong")]
pub(super) struct Drop {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Say how many would be deleted, and delete none
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON, one destination a line
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn execute(
    drop: &Drop,
    data_dir: &Path,
    views: &[(String, View)],
    out: &mut dyn Write,
    errors: &mut dyn Write,
    terminal: Option<&mut dyn BufRead>,
) -> anyhow::Result<Outcome> {
    let filter = drop.selection.filter(None);
    let mut found = Vec::new();
    for (destination, view) in views {
        found.push((destination, view.count(&filter)?));
    }
    let total = found.iter().map(|(_, letters)| letters).sum();
    if drop.dry_run {
        for (destination, letters) in found {
            tell(drop, out, destination, "would be deleted", letters)?;
        }
        return Ok(Outcome::Done);
    }
    if total > 0 && !drop.yes && !confirmed(total, errors, terminal)? {
        return Ok(Outcome::Ambiguous);
    }
    for (destination, letters) in found {
        let deleted = match letters {
            0 => 0,
            _ => delete(data_dir, destination, &filter)?,
        };
        tell(drop, out, destination, "deleted", deleted)?;
    }
    Ok(Outcome::Done)
}

/// By the agent that runs, so that its audit log has it; where none does, in the store itself.
fn delete(data_dir: &Path, destination: &str, filter: &Filter) -> anyhow::Result<u64> {
    if socket_path(data_dir).exists() {
        let client = Client::new(data_dir);
        let filter = LetterFilter::of(filter);
        let request = DropLetters { destination: destination.to_owned(), filter, dry_run: false };
        match block_on(async { Ok(client.drop_letters(&request).await) })? {
            // What a killed agent left.
            Err(ClientError::NotRunning { .. }) => {}
            answer => return Ok(answer?.letters),
        }
    }
    Ok(delete_letters(&store_path(data_dir, destination), filter, &mut |_| {})?)
}

fn tell(
    drop: &Drop,
    out: &mut dyn Write,
    destination: &str,
    what: &str,
    letters: u64,
) -> std::io::Result<()> {
    if drop.json {
        let line = json!({ "destination": destination, "letters": letters, "deleted": !drop.dry_run });
        return writeln!(out, "{}", text::one_line(&line.to_string()));
    }
    let (letters, destination) = (HumanCount(letters), text::printable(destination));
    writeln!(out, "{letters} dead letters of {destination} {what}")
}

/// Asks whoever sits at the terminal.
fn confirmed(
    letters: u64,
    errors: &mut dyn Write,
    terminal: Option<&mut dyn BufRead>,
) -> std::io::Result<bool> {
    let letters = HumanCount(letters);
    let Some(terminal) = terminal else {
        writeln!(errors, "nothing is deleted of {letters} dead letters: confirm with --yes")?;
        return Ok(false);
    };
    write!(errors, "Type `yes` to delete {letters} dead letters for good: ")?;
    errors.flush()?;
    let mut answer = String::new();
    terminal.read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(true);
    }
    writeln!(errors, "nothing is deleted")?;
    Ok(false)
}
