//! The list as aligned tables: one of letters, one of ranges.

use std::io::{self, Write};

use anstyle::Style;

use super::{FAILURE, HEADING, LABEL, text};
use crate::dead_letter::{Filed, Range};

/// Longest text in a column, in characters; `show` and JSON have all of it.
const CELL_WIDTH_MAX: usize = 32;
/// What is left to the reason or the cause on a narrow terminal.
const LAST_WIDTH_MIN: usize = 20;
const GAP: usize = 2;
const TITLES: [&str; 6] = ["ID", "DESTINATION", "DEAD-LETTERED", "INDEX", "OBJECT", "STAGE"];
const RANGE_TITLES: [&str; 6] = ["DESTINATION", "RECORDED", "INDEX", "RECORDS", "FROM", "UP TO"];

/// A letter and whose it is.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) destination: &'a str,
    pub(super) filed: Filed,
}

impl<'a> Row<'a> {
    pub(super) fn new(destination: &'a str, filed: Filed) -> Self {
        Self { destination, filed }
    }

    fn cells(&self) -> [String; 6] {
        let letter = &self.filed.letter;
        let short = |value: &str| text::shortened(&text::printable(value), CELL_WIDTH_MAX);
        [
            self.filed.id.to_string(),
            short(self.destination),
            text::time_to_the_second(letter.dead_lettered_at),
            short(&letter.record.key.index),
            short(&letter.record.key.object_id),
            letter.stage.as_str().into(),
        ]
    }

    fn reason(&self) -> String {
        let stale = match (self.filed.purged, self.filed.stale) {
            (true, _) => "purged; ",
            (false, true) => "stale; ",
            (false, false) => "",
        };
        text::printable(&format!("{stale}{}", self.filed.letter.reason)).into_owned()
    }
}

/// Writes the letters; the reason, which comes last, ends with the terminal's width where there is one.
pub(super) fn write(out: &mut dyn Write, rows: &[Row<'_>], width: Option<usize>) -> io::Result<()> {
    let lines = rows.iter().map(|row| Line {
        cells: row.cells(),
        last: row.reason(),
        style: if row.filed.stale { LABEL } else { FAILURE },
    });
    write_table(out, TITLES, "REASON", &lines.collect::<Vec<_>>(), width)
}

/// Writes the ranges in the same way.
pub(super) fn write_ranges(
    out: &mut dyn Write,
    ranges: &[(&str, Range)],
    width: Option<usize>,
) -> io::Result<()> {
    let short = |value: &str| text::shortened(&text::printable(value), CELL_WIDTH_MAX);
    let lines = ranges.iter().map(|(destination, range)| Line {
        cells: [
            short(destination),
            text::time_to_the_second(range.recorded_at),
            range.index.as_deref().map_or("unknown".into(), short),
            range.records.to_string(),
            range.first.to_string(),
            range.end.to_string(),
        ],
        last: text::printable(&format!("{}: {}", range.cause.as_str(), range.message)).into_owned(),
        style: FAILURE,
    });
    write_table(out, RANGE_TITLES, "CAUSE", &lines.collect::<Vec<_>>(), width)
}

/// A row: its columns, and what takes the rest of the terminal.
struct Line {
    cells: [String; 6],
    last: String,
    style: Style,
}

fn write_table(
    out: &mut dyn Write,
    titles: [&str; 6],
    last: &str,
    lines: &[Line],
    width: Option<usize>,
) -> io::Result<()> {
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let longest = lines.iter().map(|line| line.cells[column].chars().count()).max();
        longest.unwrap_or(0).max(titles[column].len())
    });
    let taken: usize = widths.iter().map(|width| width + GAP).sum();
    let last_width = width.map_or(usize::MAX, |width| width.saturating_sub(taken).max(LAST_WIDTH_MIN));

    write!(out, "{HEADING}")?;
    write_cells(out, titles, widths)?;
    writeln!(out, "{last}{HEADING:#}")?;
    for Line { cells, last, style } in lines {
        write_cells(out, cells.each_ref().map(String::as_str), widths)?;
        writeln!(out, "{style}{}{style:#}", text::shortened(last, last_width))?;
    }
    Ok(())
}

fn write_cells(out: &mut dyn Write, cells: [&str; 6], widths: [usize; 6]) -> io::Result<()> {
    for (cell, width) in cells.into_iter().zip(widths) {
        write!(out, "{cell:width$}{:GAP$}", "")?;
    }
    Ok(())
}
