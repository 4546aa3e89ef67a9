//! `sync-agent find`: where an object is.

use std::{path::Path, process::ExitCode};

use super::{
    columns::{self, Column},
    output::{BAD, GOOD, NAME, WARNING, styled},
    place::Place,
    remote::{self, counted},
    text::printable,
};
use crate::admin::{Arrival, Client, Find, FoundChange, FoundLetter, FoundReport};

/// Nothing of the object is in the log or among the dead letters.
const NOTHING: u8 = 3;

/// Find out where an object is: its changes in the log, which destination has them, and its dead letters.
///
/// By the names that producers use. Of what every destination has received, the log holds as much as `data.retention`
/// lets it; the newest 100 changes are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent find --index products 42
  sync-agent find --index products 42 --json | jq '.changes[-1]'

Exit codes:
  0  something was found
  1  it could not be looked for; the text says why
  2  the command line is wrong, or the config does not tell where the data is
  3  nothing was found")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    /// The index
    #[arg(long, value_name = "NAME")]
    index: String,
    /// The object's id
    #[arg(value_name = "OBJECT")]
    object_id: String,
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
    let Arguments { index, object_id, .. } = arguments;
    let answer = client.find(&Find { index: index.clone(), object_id: object_id.clone() }).await;
    let code = |report: &FoundReport| match report.changes.is_empty() && report.letters.is_empty() {
        true => NOTHING,
        false => 0,
    };
    remote::tell(answer, arguments.json, words, code)
}

fn words(report: &FoundReport) -> String {
    let FoundReport { index, object_id, oldest, end, changes_total, changes, letters, unread } = report;
    let mut text = format!(
        "{} in {}: {} in the log, which goes from {oldest} to {end}\n",
        styled(NAME, printable(object_id)),
        printable(index),
        counted(*changes_total, "change"),
    );
    for unread in unread {
        text.push_str(&format!("{} {}\n", styled(BAD, "could not be read:"), printable(unread)));
    }
    if (changes.len() as u64) < *changes_total {
        text.push_str(&format!("the newest {}:\n", changes.len()));
    }
    push(&mut text, columns::lines(&CHANGES, &changes.iter().map(change).collect::<Vec<_>>()));
    if !letters.is_empty() {
        text.push_str("\ndead letters:\n");
        push(&mut text, columns::lines(&LETTERS, &letters.iter().map(letter).collect::<Vec<_>>()));
    }
    text
}

fn push(text: &mut String, lines: Vec<String>) {
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
}

const CHANGES: [Column; 6] = [
    Column::Left("POSITION"),
    Column::Left("ACCEPTED"),
    Column::Left("ACTION"),
    Column::Left("VERSION"),
    Column::Left("REQUEST"),
    Column::Left("DESTINATIONS"),
];

fn change(change: &FoundChange) -> Vec<String> {
    let FoundChange { position, action, request_id, version, accepted_at, destinations } = change;
    let arrival = |(destination, arrival): (&String, &Arrival)| {
        let (word, style) = match arrival {
            Arrival::Delivered => ("delivered", GOOD),
            Arrival::DeadLettered => ("dead-lettered", BAD),
            Arrival::Missed => ("missed", BAD),
            Arrival::Pending => ("pending", WARNING),
        };
        format!("{} {}", printable(destination), styled(style, word))
    };
    vec![
        position.to_string(),
        accepted_at.to_string(),
        printable(action).into_owned(),
        version.to_string(),
        printable(request_id).into_owned(),
        destinations.iter().map(arrival).collect::<Vec<_>>().join(", "),
    ]
}

const LETTERS: [Column; 4] =
    [Column::Left("DESTINATION"), Column::Right("ID"), Column::Left("POSITION"), Column::Left("REASON")];

fn letter(letter: &FoundLetter) -> Vec<String> {
    let stale = if letter.stale { "stale; " } else { "" };
    vec![
        styled(NAME, printable(&letter.destination)),
        letter.id.to_string(),
        letter.position.to_string(),
        format!("{stale}{}", printable(&letter.reason)),
    ]
}
