//! Aligned columns, whose cells may be styled.

use super::{
    output::{HEADING, styled},
    text::colourless,
};

const GAP: usize = 2;

/// A column's title, and where its cells stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// For words.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }

    /// The cell, made as wide as the column.
    fn aligned(self, cell: &str, width: usize) -> String {
        let space = " ".repeat(width.saturating_sub(shown(cell)));
        match self {
            Self::Left(_) => format!("{cell}{space}"),
            Self::Right(_) => format!("{space}{cell}"),
        }
    }
}

/// One line for the titles and one for each row; nothing if there is none. A row has a cell for every column.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let titles: Vec<String> = columns.iter().map(|column| styled(HEADING, column.title())).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| rows.iter().chain([&titles]).filter_map(|row| row.get(at)).map(|cell| shown(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |row: &Vec<String>| {
        let cells =
            columns.iter().zip(row).zip(&widths).map(|((column, cell), width)| column.aligned(cell, *width));
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    [&titles].into_iter().chain(rows).map(line).collect()
}

/// Its width on a terminal, nearly: a character counts for one.
fn shown(cell: &str) -> usize {
    colourless(cell).chars().count()
}
