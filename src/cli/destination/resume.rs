//! `resume`: by the agent that runs, or, where none does, in the log of the stopped one.

use std::{path::Path, process::ExitCode, sync::Arc};

use plugin_api::identity::Position;

use crate::{
    admin::{self, Client, Missed, ResumeReport, StartAt},
    cli::{
        output::{NAME, WARNING, styled},
        remote::{self, counted},
        text::{grouped, printable},
    },
    log::{
        EmbeddedLog, Settings,
        interface::{From, Gap, Log, LogError},
    },
    runtime::SystemClock,
};

/// Let a destination go on that is paused or detached.
///
/// A paused one goes on where it was. A detached one fell behind by more than its `backlog_bytes_max`: what it missed is
/// recorded as a gap, from where it stopped to where it goes on, with counts by index. To fill the gap, send those
/// objects again. A detached one can be resumed while the agent is stopped, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent destination resume mirror --config agent.toml              at the oldest record that is left
  sync-agent destination resume mirror --config agent.toml --from now   at the next one that is accepted

Exit codes:
  0  the destination goes on; with a stopped agent: when that starts
  1  nothing was changed; the text says why
  2  the command line is wrong, or the config does not tell where the data is")]
pub(super) struct Resume {
    /// The destination, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Where a detached one goes on: now, oldest (the default), or, where the agent runs, a time (2026-11-23T15:00:00Z)
    /// or so long ago (2h)
    #[arg(long, value_name = "WHERE", value_parser = remote::start_at)]
    from: Option<StartAt>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(super) async fn run(&self, client: &Client, data_dir: &Path) -> anyhow::Result<ExitCode> {
        if client.finds_agent().await {
            let answer = client.resume(&self.name, &admin::Resume { from: self.from }).await;
            return remote::tell(answer, self.json, resumed, remote::success);
        }
        let report = self.resume_stopped(data_dir).await?;
        remote::tell(Ok(report), self.json, resumed, remote::success)
    }

    async fn resume_stopped(&self, data_dir: &Path) -> anyhow::Result<ResumeReport> {
        let dir = data_dir.join("logs").join("default");
        anyhow::ensure!(
            dir.join("identity").is_file(),
            "there is no log in {}: name the agent's directory with --config or --data-dir",
            dir.display()
        );
        let from = match self.from {
            None | Some(StartAt::Oldest) => From::Oldest,
            Some(StartAt::Now) => From::Now,
            Some(StartAt::Time(_)) => {
                anyhow::bail!("the agent is stopped: choose `now` or `oldest`, or start it first")
            }
        };
        let opened = move || EmbeddedLog::open(Settings::repair(dir), Arc::new(SystemClock));
        let (log, _) = tokio::task::spawn_blocking(opened).await??;
        let resumed = log.resume(&self.name, from).await;
        let end = log.status().end;
        log.close().await;
        let gap = resumed.map_err(|error| match error {
            LogError::NotDetached { .. } => anyhow::anyhow!(
                "{error}; a destination that is behind goes on by itself, and one that an operator paused is resumed \
                 while the agent runs"
            ),
            error => error.into(),
        })?;
        Ok(report(&self.name, gap, end))
    }
}

fn report(destination: &str, gap: Gap, end: Position) -> ResumeReport {
    let by_index = gap.by_index.into_iter().map(|(index, count)| (index.into_string(), count)).collect();
    ResumeReport {
        destination: destination.to_owned(),
        position: gap.to,
        pending: end.offset.saturating_sub(gap.to.offset),
        missed: Some(Missed { from: gap.from, to: gap.to, records: gap.records, by_index }),
    }
}

fn resumed(report: &ResumeReport) -> String {
    let ResumeReport { destination, position, pending, missed } = report;
    let name = styled(NAME, printable(destination));
    let mut text = format!("{name} goes on at {position}: {} wait for it.\n", counted(*pending, "record"));
    let Some(Missed { from, records, by_index, .. }) = missed else { return text };
    let end = if *records == 0 { "." } else { ":" };
    text.push_str(&format!(
        "It missed {} from {from} on{end}\n",
        styled(WARNING, counted(*records, "record"))
    ));
    for (index, count) in by_index {
        let index = if index.is_empty() { "(unknown)".into() } else { printable(index) };
        text.push_str(&format!("  {:>12}  {index}\n", grouped(*count)));
    }
    text
}
