//! `sync-agent reload`: has a running agent read its config anew, and shows what changes as a diff.

use std::{path::Path, process::ExitCode};

use super::{
    output::{BAD, GOOD, HEADING, NAME, WARNING, styled},
    place::Place,
    remote,
    text::printable,
};
use crate::admin::{Client, Planned, PlannedChange, Reload, ReloadReport};

/// Have a running agent read its config anew.
///
/// The agent follows the file by itself; this does it now, and tells what changes: what is new (+), changed (~) and gone
/// (-). A config with errors changes nothing: every error is told, and the one before serves on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent reload --config agent.toml --dry-run     what would change, also when the agent does not follow the file
  sync-agent reload --config agent.toml

Exit codes:
  0  it serves, or would; also if nothing changed
  1  it could not be done; the text says why
  2  the config has errors, or the command line is wrong")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only check, and tell what would change
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries the command out.
///
/// # Errors
/// If no agent answers, or the output cannot be written.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let client = Client::new(data_dir);
    let answer = client.reload(&Reload { dry_run: arguments.dry_run }).await;
    remote::tell(answer, arguments.json, words, remote::success)
}

fn words(report: &ReloadReport) -> String {
    let ReloadReport { dry_run, generation, changes, warnings } = report;
    let mut text: String = changes.iter().map(change).collect();
    for warning in warnings {
        text.push_str(&format!("{} {}\n", styled(WARNING, "warning:"), printable(warning)));
    }
    text.push_str(&match (changes.is_empty(), dry_run) {
        (true, true) => format!("Nothing would change: generation {generation} serves.\n"),
        (true, false) => format!("Nothing changed: generation {generation} serves.\n"),
        (false, true) => format!("Nothing is changed yet: generation {generation} serves.\n"),
        (false, false) => format!("{}\n", styled(GOOD, format!("Generation {generation} serves."))),
    });
    text
}

fn change(change: &PlannedChange) -> String {
    let PlannedChange { change, what, name, keys, note } = change;
    let (mark, style) = match change {
        Planned::Added => ("+", GOOD),
        Planned::Changed => ("~", WARNING),
        Planned::Removed => ("-", BAD),
    };
    let (what, name) = (styled(HEADING, printable(what)), styled(NAME, printable(name)));
    let mut text = format!("{} {what} {name}\n", styled(style, mark));
    for key in keys {
        text.push_str(&format!("    {}\n", styled(style, printable(key))));
    }
    if let Some(note) = note {
        text.push_str(&format!("    {}\n", printable(note)));
    }
    text
}

#[cfg(test)]
mod tests;
