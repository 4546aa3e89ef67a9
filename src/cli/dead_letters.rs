//! `sync-agent dead-letters`: what was dead-lettered, and why. Reads the stores of a running or a stopped agent and
//! changes nothing.
//!
//! Whatever comes from a record is escaped before it reaches a terminal.

mod json;
mod table;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use plugin_api::{identity::Timestamp, verdict::ReasonCode};

use super::text;
use crate::{
    dead_letter::{Change, Filed, Filter, LetterId, Order, Range, Stage, View},
    transform::Digest,
};

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
    List(List),
    Show(Show),
    Export(Export),
}

/// The newest dead letters, one a line, and below them the ranges of records that no letter keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sync-agent dead-letters list --destination search --reason rejected
  sync-agent dead-letters list --index products --since 2h
  sync-agent dead-letters list --json --limit 1000 | jq -r .reason.message | sort | uniq -c")]
struct List {
    #[command(flatten)]
    selection: Selection,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print JSON, one letter or range a line, without the records' data
    #[arg(long)]
    json: bool,
}

/// One dead letter with everything that is known of it.
#[derive(Debug, clap::Args)]
struct Show {
    /// The letter's ID, as `list` prints it
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    id: u64,
    /// The destination that it belongs to; needed where several have a letter of this ID
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// All dead letters with their data as NDJSON, oldest first, to standard output.
///
/// Each line has the record as it was accepted (`record`) and, where a transform made something else of it, what
/// was sent (`operation`). After the letters come lines with a `range` instead: records that the destination missed
/// and that no letter keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  sync-agent dead-letters export --destination search > letters.ndjson")]
struct Export {
    #[command(flatten)]
    selection: Selection,
    /// Write at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Selection {
    /// Only those of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those of this index, the record's or the one that a transform chose
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// Only those with this reason
    #[arg(long, value_name = "CODE", value_parser = reason_parser())]
    reason: Option<ReasonCode>,
    /// Only those dead-lettered since this time (2026-11-23T15:00:00Z) or for so long (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = text::since)]
    since: Option<Timestamp>,
}

/// Carries the command out on the stores below `data_dir`.
///
/// Exits with 0, also where there is nothing to list; with 1 where the letter or the destination asked for has
/// nothing here; with 2 where an ID alone does not say which letter is meant. A reader of our output that goes away
/// is no error.
///
/// # Errors
/// If a store cannot be read.
pub fn run(arguments: Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let mut errors = anstream::stderr().lock();
    let done = if arguments.command.prints_json() {
        execute(&arguments, data_dir, &mut io::BufWriter::new(io::stdout().lock()), &mut errors)
    } else {
        execute(&arguments, data_dir, &mut anstream::stdout().lock(), &mut errors)
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
    Ambiguous = 2,
}

fn execute(
    arguments: &Arguments,
    data_dir: &Path,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let directory = data_dir.join("dead-letters");
    anyhow::ensure!(data_dir.is_dir(), "there is no data directory {}", data_dir.display());
    let mut stores = destinations(&directory)?;
    let wanted = arguments.command.destination();
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
        let path = crate::dead_letter::store_path(data_dir, &name);
        views.push((name, View::open(&path)?));
    }
    let outcome = match &arguments.command {
        Command::List(list) => execute_list(list, &views, out),
        Command::Show(show) => execute_show(show, &views, out, errors),
        Command::Export(export) => execute_export(export, &views, out),
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

fn execute_list(list: &List, views: &[(String, View)], out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut rows = Vec::new();
    for (destination, view) in views {
        for filed in view.letters(list.selection.filter(Some(list.limit)), Order::NewestFirst) {
            rows.push(table::Row::new(destination, without_data(filed?)));
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.filed.letter.dead_lettered_at));
    rows.truncate(usize::try_from(list.limit).unwrap_or(usize::MAX));
    let ranges = newest_ranges(list, views)?;
    if list.json {
        for row in &rows {
            json::write(out, row.destination, &row.filed, json::Data::Absent)?;
        }
        for (destination, range) in &ranges {
            json::write_range(out, destination, range)?;
        }
        return Ok(Outcome::Done);
    }
    let width = text::terminal_width();
    match rows.len() {
        0 => writeln!(out, "no dead letters")?,
        _ => table::write(out, &rows, width)?,
    }
    if !rows.is_empty() && rows.len() as u64 == list.limit {
        writeln!(out, "{LABEL}the newest {}; --limit shows more{LABEL:#}", list.limit)?;
    }
    if !ranges.is_empty() {
        writeln!(out, "\nrecords that are neither delivered nor kept as letters:")?;
        table::write_ranges(out, &ranges, width)?;
    }
    Ok(Outcome::Done)
}

fn newest_ranges<'a>(list: &List, views: &'a [(String, View)]) -> anyhow::Result<Vec<(&'a str, Range)>> {
    let mut ranges = Vec::new();
    for (destination, view) in views {
        let found = view.ranges(&list.selection.filter(Some(list.limit)), Order::NewestFirst)?;
        ranges.extend(found.into_iter().map(|range| (destination.as_str(), range)));
    }
    ranges.sort_by_key(|(_, range)| std::cmp::Reverse(range.recorded_at));
    ranges.truncate(usize::try_from(list.limit).unwrap_or(usize::MAX));
    Ok(ranges)
}

/// A list shows no data, and must not hold it: a record has up to a megabyte.
fn without_data(mut filed: Filed) -> Filed {
    filed.letter.record.body.clear();
    filed.letter.operation.iter_mut().for_each(|operation| operation.body.clear());
    filed
}

fn execute_show(
    show: &Show,
    views: &[(String, View)],
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for (destination, view) in views {
        found.extend(view.get(LetterId(show.id))?.map(|filed| (destination, filed)));
    }
    match found.as_slice() {
        [] => {
            writeln!(
                errors,
                "no dead letter {}; `sync-agent dead-letters list` shows what there is",
                show.id
            )?;
            Ok(Outcome::NothingFound)
        }
        [(destination, filed)] if show.json => {
            json::write(out, destination, filed, json::Data::Present)?;
            Ok(Outcome::Done)
        }
        [(destination, filed)] => {
            write_letter(out, destination, filed)?;
            Ok(Outcome::Done)
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(destination, _)| destination.as_str()).collect();
            let names = names.join(", ");
            writeln!(
                errors,
                "several destinations have a dead letter {}: choose with --destination: {names}",
                show.id
            )?;
            Ok(Outcome::Ambiguous)
        }
    }
}

fn write_letter(out: &mut dyn Write, destination: &str, filed: &Filed) -> io::Result<()> {
    let letter = &filed.letter;
    let stale = if filed.stale { ", stale: something newer of its object was delivered since" } else { "" };
    writeln!(out, "{HEADING}dead letter {} of {destination}{HEADING:#}{stale}", filed.id)?;
    let attempts = match (letter.stage, letter.attempts) {
        (Stage::Transform | Stage::Admit, _) => "never sent".into(),
        (Stage::Delivery, 1) => "sent once".into(),
        (Stage::Delivery, attempts) => format!("sent {attempts} times"),
    };
    let source = &letter.source;
    let fields = [
        ("stage", format!("{}, {attempts}", letter.stage.as_str())),
        ("accepted", text::time(source.accepted_at)),
        ("dead-lettered", text::time(letter.dead_lettered_at)),
        ("request id", source.request_id.to_string()),
        ("log id", source.log_id.to_string()),
        ("position", format!("{}, operation {}", source.position, source.number)),
        ("version", letter.version.to_string()),
    ];
    writeln!(
        out,
        "{LABEL}{:13}{LABEL:#} {FAILURE}{}{FAILURE:#}",
        "reason",
        text::printable(&letter.reason.to_string())
    )?;
    let module = letter.module.map(|module| ("module", Digest(module).to_string()));
    for (label, value) in fields.into_iter().chain(module) {
        writeln!(out, "{LABEL}{label:13}{LABEL:#} {value}")?;
    }
    write_change(out, "record", &letter.record)?;
    match (&letter.operation, letter.stage) {
        (Some(operation), _) => write_change(out, "operation", operation),
        (None, Stage::Transform) => writeln!(out, "\n{LABEL}no operation: the transform failed{LABEL:#}"),
        (None, Stage::Admit | Stage::Delivery) => {
            writeln!(out, "\n{LABEL}the operation is the record{LABEL:#}")
        }
    }
}

fn write_change(out: &mut dyn Write, name: &str, change: &Change) -> io::Result<()> {
    let Change { action, key, body } = change;
    let (index, object_id) = (text::printable(&key.index), text::printable(&key.object_id));
    writeln!(out, "\n{HEADING}{name}{HEADING:#}: {} {object_id} in {index}", action.as_str())?;
    if !body.is_empty() {
        writeln!(out, "{}", text::indented(&String::from_utf8_lossy(body)))?;
    }
    Ok(())
}

fn execute_export(export: &Export, views: &[(String, View)], out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut left = export.limit;
    for (destination, view) in views {
        for filed in view.letters(export.selection.filter(left), Order::OldestFirst) {
            json::write(out, destination, &filed?, json::Data::Present)?;
            left = left.map(|left| left - 1);
        }
    }
    for (destination, view) in views {
        for range in view.ranges(&export.selection.filter(export.limit), Order::OldestFirst)? {
            json::write_range(out, destination, &range)?;
        }
    }
    Ok(Outcome::Done)
}

impl Command {
    fn prints_json(&self) -> bool {
        match self {
            Self::List(list) => list.json,
            Self::Show(show) => show.json,
            Self::Export(_) => true,
        }
    }

    fn destination(&self) -> Option<&String> {
        match self {
            Self::List(list) => list.selection.destination.as_ref(),
            Self::Show(show) => show.destination.as_ref(),
            Self::Export(export) => export.selection.destination.as_ref(),
        }
    }
}

impl Selection {
    fn filter(&self, limit: Option<u64>) -> Filter {
        Filter { index: self.index.as_deref().map(Into::into), reason: self.reason, since: self.since, limit }
    }
}

fn reason_parser() -> impl TypedValueParser<Value = ReasonCode> {
    PossibleValuesParser::new(ReasonCode::ALL.map(ReasonCode::as_str)).try_map(|name| {
        ReasonCode::ALL.into_iter().find(|code| code.as_str() == name).ok_or("not a reason's code")
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
