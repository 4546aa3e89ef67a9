//! `config init`: an example that the agent would start with, to be edited.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::example;
use crate::cli::{
    output::{self, GOOD, NAME, styled},
    text::printable,
};

/// Write an example of a config file.
///
/// Asks nothing. Every setting is explained; those that are commented out show a default or an example.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent config init                               files in ./out: no account, no server
  sync-agent config init --type algolia --type file    both, each gets every index
  sync-agent config init --type elasticsearch conf/agent.toml

Exit codes:
  0  the file is written
  1  it is there already, or cannot be written
  2  the command line is wrong")]
pub(super) struct Init {
    /// The file to write
    #[arg(value_name = "PATH", default_value = "agent.toml")]
    path: PathBuf,
    /// A destination's type; several times for several destinations
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "file")]
    types: Vec<Type>,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Of which types there are examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Algolia,
    Elasticsearch,
    File,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Written<'a> {
    path: &'a PathBuf,
    types: &'a [Type],
    /// Environment variables that the file refers to.
    variables: Vec<&'static str>,
}

impl Init {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut types: Vec<Type> = Vec::new();
        for kind in &self.types {
            if !types.contains(kind) {
                types.push(*kind);
            }
        }
        self.write(&example::text(&types))?;
        let variables = types.iter().flat_map(|kind| example::variables(*kind)).copied().collect();
        let written = Written { path: &self.path, types: &types, variables };
        let printed = if self.json { output::print_json(&written) } else { output::print(&words(&written)) };
        printed.context("cannot write to stdout")
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let shown = printable(&self.path.to_string_lossy()).into_owned();
        let mut options = OpenOptions::new();
        match self.force {
            true => options.write(true).create(true).truncate(true),
            false => options.write(true).create_new(true),
        };
        let mut file = match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{shown} is there already: name another file, or overwrite it with --force")
            }
            opened => opened.with_context(|| format!("cannot write {shown}"))?,
        };
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))
    }
}

fn words(written: &Written<'_>) -> String {
    let path = written.path.to_string_lossy();
    let path = printable(&path);
    let mut text = format!("{} {path}\n\n", styled(GOOD, "wrote"));
    if !written.variables.is_empty() {
        text.push_str(&format!("Set {}, edit the file, then:\n", written.variables.join(" and ")));
    }
    for command in ["check", "run --config"] {
        text.push_str(&format!("  {}\n", styled(NAME, format!("sync-agent {command} {path}"))));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An edited config is worth more than an example: it is overwritten on demand only.
    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let init = |types: &[Type], force| {
            let path = folder.path().join("agent.toml");
            Init { path, types: types.to_vec(), force, json: true }
        };
        let text = || fs::read_to_string(folder.path().join("agent.toml")).unwrap();
        init(&[Type::File, Type::File], false).run().unwrap();
        assert_eq!(text(), example::text(&[Type::File]), "a type that is named twice is one destination");
        let refused = init(&[Type::Algolia], false).run().unwrap_err().to_string();
        assert!(refused.contains("agent.toml is there already") && refused.contains("--force"), "{refused}");
        assert_eq!(text(), example::text(&[Type::File]));
        init(&[Type::Algolia], true).run().unwrap();
        assert_eq!(text(), example::text(&[Type::Algolia]));
        let nowhere =
            Init { path: folder.path().join("no/agent.toml"), types: vec![], force: true, json: false };
        assert!(nowhere.run().unwrap_err().to_string().contains("cannot write"));
    }

    /// Whoever begins with Algolia is told what to set; a name cannot play with the terminal.
    #[test]
    fn the_next_steps_are_told() {
        let path = PathBuf::from("a\u{1b}[2J.toml");
        let written = Written {
            path: &path,
            types: &[Type::Algolia],
            variables: example::variables(Type::Algolia).to_vec(),
        };
        let words = crate::cli::text::colourless(&words(&written));
        assert!(words.contains("Set ALGOLIA_APP_ID and ALGOLIA_API_KEY, edit the file, then:\n"), "{words}");
        assert!(words.contains("  sync-agent check a\\u{1b}[2J.toml\n"), "{words}");
    }
}
