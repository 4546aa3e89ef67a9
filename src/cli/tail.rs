//! `sync-agent tail`: what happens to records, while it happens.

mod text;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use super::{
    output,
    place::Place,
    remote,
    text::{one_line, terminal_width},
};
use crate::admin::{Client, Tail, TailEvent};

/// Watch records while they pass a running agent.
///
/// Each record as it is accepted, and what becomes of it at each destination: delivered, superseded by something newer,
/// skipped by its transform, or dead-lettered, and why. Where a transform made something else of it, the difference is
/// shown. Under load only a sample is, and how much is not; nothing ever waits for whoever watches.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent tail --index products
  sync-agent tail --index 'products*' --destination search
  sync-agent tail --json | jq 'select(.event == \"dead_lettered\")'

With --json, a line for each event, with event, at and record, and where they apply destination, milliseconds (since the
record was accepted), reason and operation (what the record became, if that is not itself). event is accepted,
delivered, superseded, skipped, dead_lettered, gap (refused, with no room to keep it) or not_shown, which tells
over_rate and too_slow.

Exit codes:
  0  the output's reader went away
  1  no agent runs there, it has no such destination, too many tails run already, or it went away
  2  the command line is wrong, or the config does not tell where the data is
A signal, such as Ctrl-C, ends it as it does any other command.")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only records of this index, or of those that match a pattern with * and ?
    #[arg(long, value_name = "PATTERN")]
    index: Option<String>,
    /// Only what this destination receives, and what becomes of it there
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Show so many events a second at most, of each kind: what is rare is not hidden by what is frequent
    #[arg(
        long, value_name = "EVENTS", default_value_t = Tail::RATE,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(Tail::RATE_MAX))
    )]
    rate: u32,
    /// Print lines of JSON
    #[arg(long)]
    json: bool,
}

/// Carries the command out.
///
/// # Errors
/// If no agent answers or it goes away, or the output cannot be written.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let client = Client::new(data_dir);
    let Arguments { index, destination, rate, json, .. } = arguments;
    let asked = Tail { index: index.clone(), destination: destination.clone(), rate: *rate };
    let mut events = match client.tail(&asked).await {
        Ok(events) => events,
        refused => return remote::tell(refused.map(|_| ()), *json, |()| String::new(), remote::success),
    };
    output::complain("watching; Ctrl-C ends it\n");
    while let Some(event) = events.next().await? {
        let text = match json {
            true => line(&event)?,
            false => text::event(&event, terminal_width()),
        };
        let mut out = anstream::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    Err(client.gone().into())
}

/// The event as it came, on one line that a terminal shows as it is.
fn line(event: &TailEvent) -> serde_json::Result<String> {
    Ok(one_line(&serde_json::to_string(event)?).into_owned() + "\n")
}
