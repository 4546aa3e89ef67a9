//! The list as an aligned table.

use std::io::{self, Write};

use super::{FAILURE, HEADING, LABEL, text};
use crate::dead_letter::Filed;

/// Longest text in a column, in characters; `show` and JSON have all of it.
const CELL_WIDTH_MAX: usize = 32;
/// What is left to the reason on a narrow terminal.
const REASON_WIDTH_MIN: usize = 20;
const GAP: usize = 2;
const TITLES: [&str; 6] = ["ID", "DESTINATION", "DEAD-LETTERED", "INDEX", "OBJECT", "STAGE"];

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
        let stale = if self.filed.stale { "stale; " } else { "" };
        text::printable(&format!("{stale}{}", self.filed.letter.reason)).into_owned()
    }
}

/// Writes the rows; the reason, which comes last, ends with the terminal's width where there is one.
pub(super) fn write(out: &mut dyn Write, rows: &[Row<'_>], width: Option<usize>) -> io::Result<()> {
    let cells: Vec<[String; 6]> = rows.iter().map(Row::cells).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let longest = cells.iter().map(|cells| cells[column].chars().count()).max();
        longest.unwrap_or(0).max(TITLES[column].len())
    });
    let taken: usize = widths.iter().map(|width| width + GAP).sum();
    let reason_width = width.map_or(usize::MAX, |width| width.saturating_sub(taken).max(REASON_WIDTH_MIN));

    write!(out, "{HEADING}")?;
    write_cells(out, TITLES, widths)?;
    writeln!(out, "REASON{HEADING:#}")?;
    for (row, cells) in rows.iter().zip(&cells) {
        let style = if row.filed.stale { LABEL } else { FAILURE };
        write_cells(out, cells.each_ref().map(String::as_str), widths)?;
        writeln!(out, "{style}{}{style:#}", text::shortened(&row.reason(), reason_width))?;
    }
    Ok(())
}

fn write_cells(out: &mut dyn Write, cells: [&str; 6], widths: [usize; 6]) -> io::Result<()> {
    for (cell, width) in cells.into_iter().zip(widths) {
        write!(out, "{cell:width$}{:GAP$}", "")?;
    }
    Ok(())
}
