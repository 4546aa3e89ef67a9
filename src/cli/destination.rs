//! `sync-agent destination`: what an operator does with a destination, on a stopped agent's directory.

use std::{path::Path, process::ExitCode, sync::Arc};

use clap::ValueEnum;
use serde_json::json;

use super::output::{self, GOOD, NAME, styled};
use crate::{
    log::{
        EmbeddedLog, Settings,
        interface::{From, Gap, Log, LogError},
    },
    runtime::SystemClock,
};

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Resume(Resume),
}

/// Let a detached destination go on; the agent must be stopped.
///
/// What it missed is recorded as a gap: from where it stopped to where it goes on, with counts by index. To fill the
/// gap, send those objects again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent destination resume mirror --config agent.toml              at the oldest record that is left
  sync-agent destination resume mirror --config agent.toml --from now   at the next one that is accepted

Exit codes:
  0  the destination goes on when the agent starts
  1  nothing was changed; the text says why
  2  the config has errors")]
struct Resume {
    /// The destination, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it goes on
    #[arg(long, value_enum, default_value_t = Start::Oldest, value_name = "WHERE")]
    from: Start,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Start {
    /// At the oldest record that the log still holds
    Oldest,
    /// At the log's end
    Now,
}

/// Carries the command out.
///
/// # Errors
/// If the log cannot be opened, or the destination is not detached.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Resume(resume) => {
            let gap = execute(resume, data_dir).await?;
            if resume.json {
                output::print_json(&as_json(&resume.name, &gap))?;
            } else {
                output::print(&as_text(&resume.name, &gap))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn execute(resume: &Resume, data_dir: &Path) -> anyhow::Result<Gap> {
    let dir = data_dir.join("logs").join("default");
    anyhow::ensure!(
        dir.join("identity").is_file(),
        "there is no log in {}: name the agent's directory with --config or --data-dir",
        dir.display()
    );
    let opened = move || EmbeddedLog::open(Settings::repair(dir), Arc::new(SystemClock));
    let (log, _) = tokio::task::spawn_blocking(opened).await??;
    let from = match resume.from {
        Start::Oldest => From::Oldest,
        Start::Now => From::Now,
    };
    let resumed = log.resume(&resume.name, from).await;
    log.close().await;
    resumed.map_err(|error| match error {
        LogError::NotDetached { .. } => {
            anyhow::anyhow!("{error}; a destination that is behind goes on by itself")
        }
        error => error.into(),
    })
}

fn as_text(name: &str, gap: &Gap) -> String {
    let mut text = format!(
        "{} goes on at {}. It missed {} records from {} on{}\n",
        styled(NAME, name),
        gap.to,
        styled(GOOD, gap.records),
        gap.from,
        if gap.records == 0 { "." } else { ":" },
    );
    for (index, count) in &gap.by_index {
        let index = if index.is_empty() { "(unknown)" } else { index };
        text.push_str(&format!("  {count:>12}  {}\n", index.escape_debug()));
    }
    text
}

fn as_json(name: &str, gap: &Gap) -> serde_json::Value {
    json!({
        "destination": name,
        "from": gap.from.to_string(),
        "to": gap.to.to_string(),
        "records": gap.records,
        "records_by_index": gap.by_index,
    })
}
