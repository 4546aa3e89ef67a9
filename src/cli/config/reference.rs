//! `config reference`: every key of the config file.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::{
    cli::{
        output::{self, DIM, GOOD, HEADING, NAME, WARNING, styled},
        text::{terminal_width, wrapped},
    },
    config::reference::{Entry, Section, reference},
};

/// The width where there is no terminal, and the most that is pleasant to read.
const WIDTH: (usize, usize) = (80, 100);

const INTRODUCTION: &str = "Every key of the config file. A size is \"512KiB\", \"1MiB\", \"20GiB\" or a number of bytes; a \
                            duration is \"200ms\", \"1.5s\", \"1m30s\" or \"24h\"; a secret is { env = \"NAME\" } or { file = \
                            \"PATH\" }. Limits are inclusive. A live key follows the file while the agent \
                            runs; the others take a restart.";

/// Show every key of the config file.
///
/// Each with what it decides, its unit and range, its default, and whether a change is live or takes a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent config reference | less
  sync-agent config reference --json")]
pub(super) struct Reference {
    /// Print a JSON array of the file's sections
    #[arg(long)]
    json: bool,
}

impl Reference {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let sections = reference();
        let printed = match self.json {
            true => output::print_json(&sections),
            false => output::print(&to_text(&sections, terminal_width().unwrap_or(WIDTH.0).min(WIDTH.1))),
        };
        printed.context("cannot write to stdout")
    }
}

fn to_text(sections: &[Section], width: usize) -> String {
    let mut text = wrapped(INTRODUCTION, width, 0);
    for section in sections {
        let heading = styled(HEADING, &section.heading);
        let _ = write!(text, "\n{heading}\n{}", wrapped(section.meaning, width, 0));
        section.keys.iter().for_each(|entry| push(&mut text, entry, width));
    }
    text
}

fn push(text: &mut String, entry: &Entry, width: usize) {
    let when = if entry.live { styled(GOOD, "live") } else { styled(WARNING, "restart") };
    let _ = writeln!(text, "\n  {}  {when}", styled(NAME, &entry.name));
    text.push_str(&wrapped(entry.meaning, width, 4));
    for line in wrapped(&entry.facts, width, 4).lines() {
        let _ = writeln!(text, "    {}", styled(DIM, line.trim_start()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::text::colourless;

    /// It is read on a terminal of 80 columns, in a pager, and without colours.
    #[test]
    fn it_is_readable_at_80_columns() {
        let text = colourless(&to_text(&reference(), 80));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line:?}");
            assert_eq!(line, line.trim_end());
        }
        for expected in [
            "\n[data]\nWhere it keeps its data, and how much.\n\n  dir  restart\n    Holds the log, cursors and dead \
             letters.\n    path; default ./sync-agent-data\n\n  disk_bytes_max  live\n    What the log may take. At this \
             size ingest answers RESOURCE_EXHAUSTED.\n    size, 1MiB to 1024TiB; default 20GiB\n",
            "\n    integer, 1 to 10000; default 1000, for file 5000\n",
            "\n    size, 64KiB to the lesser of 1GiB and a quarter of data.disk_bytes_max;\n    default the lesser of \
             128MiB and a quarter of data.disk_bytes_max\n",
            "\n    duration, backoff.min to 1h; default the greater of 30s and backoff.min\n",
            "\n    secret; or another one\n",
            "\n    algolia, elasticsearch or file; required\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
