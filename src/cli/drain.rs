//! `sync-agent drain`: before an agent is taken away for good, everything that it accepted is delivered.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use super::{
    columns::{self, Column},
    live::Live,
    output::{self, GOOD, NAME, WARNING, styled},
    place::Place,
    remote::{self, counted},
    text::{grouped, printable},
};
use crate::admin::{Client, ClientError, DestinationState, Drain, DrainReport, Remaining, Status};

/// Records remain that are not delivered.
const REMAINING: u8 = 3;

/// Refuse every new request, and see whether everything is delivered.
///
/// Producers are told to try again elsewhere or later; deliveries go on. The agent keeps draining, over restarts, too,
/// until --cancel.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent drain                 refuse requests, and tell what remains
  sync-agent drain --wait          the same, and wait until nothing remains
  sync-agent drain --wait && systemctl stop sync-agent
  sync-agent drain --cancel        take requests again

Exit codes:
  0  every destination has everything; with --cancel: requests are taken again
  1  it could not be done; the text says why
  2  the command line is wrong, or the config does not tell where the data is
  3  records remain: they are listed. With --wait only if none of their destinations can go on")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    /// Wait until every destination has everything
    #[arg(long, conflicts_with = "cancel")]
    wait: bool,
    /// Take requests again
    #[arg(long)]
    cancel: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries the command out.
///
/// # Errors
/// If no agent answers, it goes away while it is waited for, or the output cannot be written.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let client = Client::new(data_dir);
    let answer = client.drain(&Drain { on: !arguments.cancel }).await;
    let answer = match answer {
        Ok(_) if arguments.wait => wait(&client, arguments.json).await,
        answer => answer,
    };
    let code = |report: &DrainReport| match report.draining && !report.remaining.is_empty() {
        true => REMAINING,
        false => 0,
    };
    remote::tell(answer, arguments.json, words, code)
}

/// Until nothing remains, or nothing of what remains can go on.
async fn wait(client: &Client, json: bool) -> Result<DrainReport, ClientError> {
    let mut events = client.watch().await?;
    let live = !json && io::stderr().is_terminal();
    let mut screen = live.then(Live::new);
    let mut told = false;
    while let Some(status) = events.next().await? {
        let left: Vec<_> =
            status.destinations.iter().filter_map(|destination| left(destination, &status)).collect();
        if !status.draining || left.iter().all(|(goes_on, _)| !goes_on) {
            screen.iter_mut().for_each(Live::clear);
            let remaining = left.into_iter().map(|(_, remaining)| remaining).collect();
            return Ok(DrainReport { draining: status.draining, remaining });
        }
        let remaining: Vec<_> = left.into_iter().map(|(_, remaining)| remaining).collect();
        match &mut screen {
            Some(screen) => screen.draw(&table(&remaining)),
            None if !told && !json => output::complain("waiting until everything is delivered\n"),
            None => {}
        }
        told = true;
    }
    Err(client.gone())
}

/// What a destination has not received, and whether it goes on by itself.
fn left(destination: &crate::admin::DestinationStatus, status: &Status) -> Option<(bool, Remaining)> {
    let is_there = destination.state != DestinationState::NotConfigured;
    let behind = destination.outcomes.pending > 0 || destination.delivered < status.log.end;
    let goes_on = match destination.state {
        DestinationState::Running | DestinationState::BackingOff | DestinationState::Open => true,
        DestinationState::Paused
        | DestinationState::Detached
        | DestinationState::Halted
        | DestinationState::NotConfigured => false,
    };
    let why = destination.why.clone().or_else(|| destination.last_error.clone());
    let records = destination.outcomes.pending;
    let remaining = Remaining { destination: destination.name.clone(), records, why };
    (is_there && behind).then_some((goes_on, remaining))
}

fn words(report: &DrainReport) -> String {
    let DrainReport { draining, remaining } = report;
    if !draining {
        return "Requests are taken.\n".to_owned();
    }
    if remaining.is_empty() {
        return format!("{}: requests are refused.\n", styled(GOOD, "Every destination has everything"));
    }
    let records = remaining.iter().map(|remaining| remaining.records).sum();
    let lines = table(remaining).join("\n");
    format!(
        "Requests are refused, and {} to be delivered:\n{lines}\n",
        styled(WARNING, format!("{} remain", counted(records, "record"))),
    )
}

const COLUMNS: [Column; 3] = [Column::Left("DESTINATION"), Column::Right("RECORDS"), Column::Left("WHY")];

fn table(remaining: &[Remaining]) -> Vec<String> {
    let row = |remaining: &Remaining| {
        let why = remaining.why.as_deref().map(printable).unwrap_or_default();
        vec![styled(NAME, printable(&remaining.destination)), grouped(remaining.records), why.into_owned()]
    };
    columns::lines(&COLUMNS, &remaining.iter().map(row).collect::<Vec<_>>())
}
