//! `dead-letters list`: the newest letters as a table or as lines of JSON.

use std::io::Write;

use super::{LABEL, Outcome, json, selection::Selection, table};
use crate::{
    cli::text,
    dead_letter::{Filed, Order, Range, View},
};

/// The newest dead letters, one a line, and below them the ranges of records that no letter keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sync-agent dead-letters list --destination search --reason rejected
  sync-agent dead-letters list --index products --since 2h
  sync-agent dead-letters list --json --limit 1000 | jq -r .reason.message | sort | uniq -c")]
pub(super) struct List {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print JSON, one letter or range a line, without the records' data
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn execute(list: &List, views: &[(String, View)], out: &mut dyn Write) -> anyhow::Result<Outcome> {
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
