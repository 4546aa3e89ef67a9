//! `dead-letters stats`: how many letters there are, by index, stage and reason.

use std::io::{self, Write};

use indicatif::HumanBytes;

use super::{FAILURE, HEADING, LABEL, Outcome, json, selection::Selection};
use crate::{
    cli::text,
    dead_letter::{Group, View},
};

/// How many dead letters there are, by destination, index, stage and reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sync-agent dead-letters stats
  sync-agent dead-letters stats --destination search --since 1h")]
pub(super) struct Stats {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Print JSON, one group a line
    #[arg(long)]
    pub(super) json: bool,
}

const TITLES: [&str; 8] = ["DESTINATION", "INDEX", "STAGE", "LETTERS", "STALE", "BYTES", "OLDEST", "NEWEST"];
const NAME_WIDTH_MAX: usize = 32;

pub(super) fn execute(
    stats: &Stats,
    views: &[(String, View)],
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let filter = stats.selection.filter(None);
    let mut groups = Vec::new();
    for (destination, view) in views {
        groups.extend(view.stats(&filter)?.into_iter().map(|group| (destination.as_str(), group)));
    }
    if stats.json {
        for (destination, group) in &groups {
            json::write_group(out, destination, group)?;
        }
    } else if groups.is_empty() {
        writeln!(out, "no dead letters")?;
    } else {
        write(out, &groups)?;
    }
    Ok(Outcome::Done)
}

fn write(out: &mut dyn Write, groups: &[(&str, Group)]) -> io::Result<()> {
    let rows: Vec<[String; 8]> =
        groups.iter().map(|(destination, group)| cells(destination, group)).collect();
    let widths: [usize; 8] = std::array::from_fn(|column| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(TITLES[column].len())
    });
    write!(out, "{HEADING}")?;
    write_cells(out, TITLES, widths)?;
    writeln!(out, "REASON{HEADING:#}")?;
    for (row, (_, group)) in rows.iter().zip(groups) {
        write_cells(out, row.each_ref().map(String::as_str), widths)?;
        let style = if group.stale == group.letters { LABEL } else { FAILURE };
        writeln!(out, "{style}{}{style:#}", group.reason.as_str())?;
    }
    let sum = |of: fn(&Group) -> u64| groups.iter().map(|(_, group)| of(group)).sum::<u64>();
    let (letters, stale) = (sum(|group| group.letters), sum(|group| group.stale));
    let bytes = HumanBytes(sum(|group| group.bytes));
    writeln!(out, "{LABEL}{letters} letters, {stale} of them stale, {bytes}{LABEL:#}")
}

fn cells(destination: &str, group: &Group) -> [String; 8] {
    let short = |name: &str| text::shortened(&text::printable(name), NAME_WIDTH_MAX);
    [
        short(destination),
        short(&group.index),
        group.stage.as_str().into(),
        group.letters.to_string(),
        group.stale.to_string(),
        HumanBytes(group.bytes).to_string(),
        text::time_to_the_second(group.oldest),
        text::time_to_the_second(group.newest),
    ]
}

fn write_cells(out: &mut dyn Write, cells: [&str; 8], widths: [usize; 8]) -> io::Result<()> {
    for (cell, width) in cells.into_iter().zip(widths) {
        write!(out, "{cell:width$}  ")?;
    }
    Ok(())
}
