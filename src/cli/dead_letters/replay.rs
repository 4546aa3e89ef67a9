//! `dead-letters replay`: has the running agent send letters again, and shows how far it is.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use serde::Serialize;

use super::{destinations, selection::Selection};
use crate::{
    admin::{Client, ClientError, LetterFilter, Replay as Request, ReplayProgress, ReplayState},
    cli::{
        live::Live,
        output::{self, GOOD, NAME, WARNING, styled},
        remote::counted,
        text::{grouped, printable},
    },
    dead_letter::{View, store_path},
};

/// It was not done, or not to its end.
const FAILED: u8 = 1;
/// Letters are left.
const LEFT: u8 = 3;

/// Send dead letters again, through the agent that runs.
///
/// Each record passes today's transform and the ordinary lane, with the version that it was accepted with, so that
/// nothing newer is overwritten. A letter of whose object something newer was delivered is stale: it is left, and listed.
/// What is refused again stays, with the new reason. It may be ended at any time, and asked for again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent dead-letters replay --destination search --reason rejected --dry-run
  sync-agent dead-letters replay --destination search --index products
  sync-agent dead-letters replay --destination search --id 42 --force

Exit codes:
  0  every letter that was meant is delivered, or there was none; in a dry run: would be sent
  1  it could not be done, or not to its end; the text says why
  2  the command line is wrong, or the config has errors
  3  letters are left: they are listed, with why")]
pub(super) struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// Also those that are stale; a destination that keeps no versions then has older states
    #[arg(long)]
    force: bool,
    /// Tell what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one destination a line
    #[arg(long)]
    json: bool,
}

/// What became of a destination's letters, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    destination: &'a str,
    dry_run: bool,
    #[serde(flatten)]
    progress: &'a ReplayProgress,
}

impl Replay {
    /// One destination after the other: of all that have such letters, or the one that is named.
    pub(super) async fn run(&self, data_dir: &Path) -> anyhow::Result<ExitCode> {
        let client = Client::new(data_dir);
        // Whether or not there is anything to replay.
        client.status().await?;
        let mut names = match &self.selection.destination {
            Some(name) => vec![name.clone()],
            None => self.with_letters(data_dir)?,
        };
        names.sort_unstable();
        if names.is_empty() && !self.json {
            output::print("no dead letters\n")?;
        }
        let mut code = 0;
        for name in names {
            match self.replay(&client, &name).await {
                Ok(progress) => {
                    self.tell(&name, &progress)?;
                    code = if progress.left_count() > 0 && code == 0 { LEFT } else { code };
                }
                Err(ClientError::Refused(error)) => {
                    output::complain(&format!("{}: {}\n", printable(&name), printable(&error.to_string())));
                    code = FAILED;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(code.into())
    }

    fn with_letters(&self, data_dir: &Path) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for name in destinations(&data_dir.join("dead-letters"))? {
            if View::open(&store_path(data_dir, &name))?.count(&self.selection.filter(None))? > 0 {
                found.push(name);
            }
        }
        Ok(found)
    }

    async fn replay(&self, client: &Client, name: &str) -> Result<ReplayProgress, ClientError> {
        let request = Request {
            destination: name.to_owned(),
            filter: LetterFilter::of(&self.selection.filter(None)),
            force: self.force,
            dry_run: self.dry_run,
        };
        let mut events = client.replay(&request).await?;
        let mut live = (!self.json && io::stderr().is_terminal()).then(Live::new);
        let mut last = ReplayProgress::default();
        while let Some(progress) = events.next().await? {
            if let Some(live) = &mut live {
                live.draw(&[going(name, &progress)]);
            }
            last = progress;
            if last.state == ReplayState::Done {
                break;
            }
        }
        if let Some(live) = &mut live {
            live.clear();
        }
        match last.state {
            ReplayState::Done => Ok(last),
            // The stream has ended before the replay: the agent stops.
            ReplayState::Waiting | ReplayState::Running => Err(client.gone()),
        }
    }

    fn tell(&self, name: &str, progress: &ReplayProgress) -> io::Result<()> {
        if self.json {
            let line = Line { destination: name, dry_run: self.dry_run, progress };
            return output::print(&format!("{}\n", serde_json::to_string(&line)?));
        }
        output::print(&words(name, progress, self.dry_run))
    }
}

fn going(name: &str, progress: &ReplayProgress) -> String {
    let what = match progress.state {
        ReplayState::Waiting => "waits for its turn",
        ReplayState::Running | ReplayState::Done => "replayed",
    };
    let done = progress.letters.saturating_sub(progress.open());
    format!(
        "{} {what}: {} of {}",
        styled(NAME, printable(name)),
        grouped(done),
        counted(progress.letters, "letter")
    )
}

fn words(name: &str, progress: &ReplayProgress, dry_run: bool) -> String {
    let ReplayProgress {
        letters, replayed, superseded, skipped, stale, purged, unrouted, failed, left, ..
    } = progress;
    let sent = if dry_run { "would be sent" } else { "delivered" };
    let counts = [
        (*replayed, sent),
        (*superseded, "superseded by something newer there"),
        (*skipped, "left out by today's transform"),
        (*stale, "stale"),
        (*purged, "without data, their object was deleted"),
        (*unrouted, "of an index that does not go there any more"),
        (*failed, "refused again"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let mut text =
        format!("{}, {}{counts}\n", styled(NAME, printable(name)), counted(*letters, "dead letter"));
    for letter in left {
        let (index, object) = (printable(&letter.index), printable(&letter.object_id));
        text.push_str(&format!(
            "  {:>8}  {object} in {index}: {}\n",
            letter.id,
            styled(WARNING, printable(&letter.why)),
        ));
    }
    let listed = left.len() as u64;
    match progress.left_count() {
        0 if *letters > 0 && !dry_run => text.push_str(&format!("{}\n", styled(GOOD, "none is left"))),
        more if more > listed => text.push_str(&format!("  and {} more\n", grouped(more - listed))),
        _ => {}
    }
    text
}
