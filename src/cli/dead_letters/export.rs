//! `dead-letters export`: letters with their data as lines of JSON.

use std::io::Write;

use super::{Outcome, json, selection::Selection};
use crate::dead_letter::{Order, View};

/// All dead letters with their data as NDJSON, oldest first, to standard output.
///
/// Each line has the record as it was accepted (`record`) and, where a transform made something else of it, what
/// was sent (`operation`). After the letters come lines with a `range` instead: records that the destination missed
/// and that no letter keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sync-agent dead-letters export --destination search > letters.ndjson
  sync-agent dead-letters export --index products --reason rejected | sync-agent send --index products -")]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Write at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) fn execute(
    export: &Export,
    views: &[(String, View)],
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
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
