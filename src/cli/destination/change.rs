//! The commands that only a running agent carries out.

use std::process::ExitCode;

use crate::{
    admin::{self, Client, ForgetReport, PauseReport, ProbeReport, ResetReport, StartAt},
    cli::{
        output::{BAD, GOOD, NAME, WARNING, styled},
        remote::{self, counted},
        text::printable,
    },
};

/// It would not take records now.
const NOT_HEALTHY: u8 = 3;

/// Send a destination nothing more, until it is resumed.
///
/// Its requests in flight end; its records wait in the log, and every other destination goes on. It stays paused over
/// restarts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  sync-agent destination pause mirror --why \"the cluster is being upgraded\"

Exit codes:
  0  it is paused
  1  it is not; the text says why
  2  the command line is wrong, or the config does not tell where the data is")]
pub(super) struct Pause {
    /// The destination, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Ask a destination whether it would take anything, now.
///
/// Changes nothing there. A destination that waits after a failure, and answers well, goes on at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  sync-agent destination probe search

Exit codes:
  0  it would take records
  1  it could not be asked; the text says why
  2  the command line is wrong, or the config does not tell where the data is
  3  it would not take any, or does not answer")]
pub(super) struct Probe {
    /// The destination, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Move a destination's cursor: deliver records again, or leave some out.
///
/// Back, what the log still holds is delivered again. A destination that keeps versions keeps what is newer. At one that
/// keeps none, objects pass through older states until the cursor is back where it was; that takes --allow-rewind.
/// Forward, the records between are left out, and recorded as a gap.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent destination reset-cursor search --from oldest --dry-run     what that would mean
  sync-agent destination reset-cursor search --from 2026-11-23T15:00:00Z
  sync-agent destination reset-cursor archive --from 2h --allow-rewind
  sync-agent destination reset-cursor search --from now                  leave out what waits

Exit codes:
  0  it is moved, or would be
  1  it is not; the text says why
  2  the command line is wrong, or the config does not tell where the data is")]
pub(super) struct ResetCursor {
    /// The destination, as the config names it
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it goes on: now, oldest, a time (2026-11-23T15:00:00Z) or so long ago (2h, 1d)
    #[arg(long, value_name = "WHERE", value_parser = remote::start_at)]
    from: StartAt,
    /// Also where the destination keeps no versions, so that its objects pass through older states
    #[arg(long)]
    allow_rewind: bool,
    /// Only tell what would happen
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Delete what is kept of a destination that is not in the config any more: its cursor and its dead letters.
///
/// Until then a destination that is put back into the config goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent destination forget mirror --dry-run    what would be deleted
  sync-agent destination forget mirror

Exit codes:
  0  it is forgotten, or would be
  1  it is not; the text says why
  2  the command line is wrong, or the config does not tell where the data is")]
pub(super) struct Forget {
    /// The destination, as the config named it
    #[arg(value_name = "NAME")]
    name: String,
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(super) async fn run(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let answer = client.pause(&self.name, &admin::Pause { why: self.why.clone() }).await;
        remote::tell(answer, self.json, paused, remote::success)
    }
}

impl Probe {
    pub(super) async fn run(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let code = |report: &ProbeReport| if report.healthy { 0 } else { NOT_HEALTHY };
        remote::tell(client.probe(&self.name).await, self.json, probed, code)
    }
}

impl ResetCursor {
    pub(super) async fn run(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let Self { from, allow_rewind, dry_run, .. } = *self;
        let answer =
            client.reset_cursor(&self.name, &admin::ResetCursor { from, allow_rewind, dry_run }).await;
        remote::tell(answer, self.json, reset, remote::success)
    }
}

impl Forget {
    pub(super) async fn run(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let answer = client.forget(&self.name, &admin::Forget { dry_run: self.dry_run }).await;
        remote::tell(answer, self.json, forgotten, remote::success)
    }
}

fn paused(report: &PauseReport) -> String {
    let PauseReport { destination, was_paused, pending } = report;
    let is = if *was_paused { "stays" } else { "is" };
    format!(
        "{} {is} {}: {} wait for it. `sync-agent destination resume {destination}` lets it go on.\n",
        name(destination),
        styled(WARNING, "paused"),
        counted(*pending, "record"),
    )
}

fn probed(report: &ProbeReport) -> String {
    let ProbeReport { destination, healthy, error, milliseconds } = report;
    let name = name(destination);
    if *healthy {
        return format!("{name} {} ({milliseconds} ms)\n", styled(GOOD, "would take records"));
    }
    let error = printable(error.as_deref().unwrap_or("it gives no reason"));
    format!("{name} {} ({milliseconds} ms): {error}\n", styled(BAD, "would take nothing"))
}

fn reset(report: &ResetReport) -> String {
    let ResetReport { destination, dry_run, from, to, meaning, .. } = report;
    let would_be = if *dry_run { "would be moved" } else { "is moved" };
    format!("The cursor of {} {would_be} from {from} to {to}: {}.\n", name(destination), printable(meaning))
}

fn forgotten(report: &ForgetReport) -> String {
    let ForgetReport { destination, dry_run, position, letters, .. } = report;
    let would_be = if *dry_run { "would be forgotten" } else { "is forgotten" };
    format!(
        "{} {would_be}: its cursor at {position} and {}.\n",
        name(destination),
        counted(*letters, "dead letter"),
    )
}

fn name(destination: &str) -> String {
    styled(NAME, printable(destination))
}
