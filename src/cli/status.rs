//! `sync-agent status`: how everything is doing, once or as a live screen.

mod detail;
mod screen;
mod text;
mod watch;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use super::{place::Place, remote, terminal::Terminal};
use crate::admin::{Client, Status};

/// Show how a running agent is doing.
///
/// For each destination: what it is doing and why, how far it is behind, what became of every record, and its dead
/// letters; for each transform: which module serves and what it costs; for the log: how much of its budget is used, and
/// when it will be full. What an operator should look at comes first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent status --config agent.toml
  sync-agent status --watch                 a live screen: its last line names the keys, q ends it
  sync-agent status --json | jq '.destinations[] | {name, state, lag}'
  sync-agent status --json --watch          one line of JSON every second

Exit codes:
  0  shown, or ended by q; Ctrl-C and signals end the screen as they end any other command
  1  no agent runs there, or it went away
  2  the command line is wrong, or the config does not tell where the data is")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) place: Place,
    /// Show it anew every second, until it is ended; on a terminal as a screen, the worst destinations first
    #[arg(long)]
    watch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Carries the command out.
///
/// # Errors
/// If no agent answers, or the output cannot be written.
pub async fn run(arguments: &Arguments, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let client = Client::new(data_dir);
    if arguments.watch {
        return match !arguments.json && Terminal::is_there() {
            true => watch::watch(&client).await,
            false => print(&client, arguments.json).await,
        };
    }
    let words = |status: &Status| text::lines(status).join("\n") + "\n";
    remote::tell(client.status().await, arguments.json, words, remote::success)
}

/// Until the agent or the reader of the output goes away; a signal ends the process as it does any other.
async fn print(client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let mut events = client.watch().await?;
    while let Some(status) = events.next().await? {
        let text = match json {
            true => serde_json::to_string(&status)? + "\n",
            false => text::lines(&status).join("\n") + "\n\n",
        };
        let mut out = anstream::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    Err(client.gone().into())
}
