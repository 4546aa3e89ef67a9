//! `send`: sends the lines of an NDJSON file to an agent, as a producer would.
//!
//! `lines` reads and `convert` turns JSON into the contract's types, on a thread of their own; [`sender`] makes
//! requests over what `connect` connects and sees each of them through (`answer` says what an answer means); `progress` shows how it goes.
//! The sender knows nothing of files and terminals, so `demo` uses it, too.

mod lines;

mod convert;

pub mod sender;

mod answer;
mod connect;
mod progress;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Instant,
};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::{
    lines::Lines,
    progress::Progress,
    sender::{Event, Options, Record, SendError, send},
};
use super::output;
use crate::contract::client::ActionType;

const SOME_REFUSED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;

/// Records that are read ahead of the requests; a line may have 16 MiB, so they are few.
const READ_AHEAD: usize = 64;

/// Send the lines of a file to an agent.
///
/// Each line is a JSON object with its `objectID` (or `object_id`); the rest is its data. Lines with the same id arrive
/// in the order of the file. What the agent cannot take right now is sent again, with the same idempotency key; a line
/// that it refuses is reported by its number, and the others go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent send --index products products.ndjson
  sync-agent send --index products --action partial prices.ndjson
  jq -c '.[]' products.json | sync-agent send --index products -
  echo '{\"objectID\":\"42\"}' | sync-agent send --index products --action delete -
  sync-agent send --index products --target agent.example.com:50051 \\
    --ca ca.pem --cert shop.pem --key shop.key products.ndjson

A line: {\"objectID\":\"42\",\"name\":\"Desk lamp\",\"price\":49.9}
Lines of `sync-agent dead-letters export` are read, too: their records are sent as new ones. (What is only to be
delivered after all, `sync-agent dead-letters replay` sends with its old version, so that nothing newer is lost.)
Integers from 2^53 on would lose digits on the way and are refused: write them as strings.

Exit codes:
  0  every line was accepted
  1  some were refused, each is named on stderr
  2  the command line is wrong or the file cannot be read
  3  the agent could not be reached, or took nothing for two minutes")]
pub struct Arguments {
    /// The index that the objects belong to
    #[arg(long, value_name = "INDEX")]
    pub index: String,
    /// What to do with each object
    #[arg(long, value_enum, default_value_t = Action::Save)]
    pub action: Action,
    /// The agent's gRPC address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    pub target: String,
    #[command(flatten)]
    tls: connect::Files,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// The NDJSON file, or - for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The actions as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Replace the whole object, create it if it is missing
    Save,
    /// Replace the given first-level attributes, create the object if it is missing
    Partial,
    /// Replace the given first-level attributes, do nothing if the object is missing
    PartialNoCreate,
    /// Remove the object; a line needs its id only
    Delete,
}

impl From<Action> for ActionType {
    fn from(action: Action) -> Self {
        match action {
            Action::Save => Self::SaveObject,
            Action::Partial => Self::PartialUpdateObject,
            Action::PartialNoCreate => Self::PartialUpdateObjectNoCreate,
            Action::Delete => Self::DeleteObject,
        }
    }
}

/// Runs the command: sends, shows progress on stderr and the summary on stdout.
///
/// # Errors
/// If stdout cannot be written.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (input, size) = match open(&arguments.file) {
        Ok(opened) => opened,
        Err(error) => {
            output::complain(&format!("{}: cannot be read: {error}\n", arguments.file.display()));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let tls = match arguments.tls.read() {
        Ok(tls) => tls,
        Err(error) => {
            output::complain(&format!("{error}\n"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let action = ActionType::from(arguments.action);
    let options = Options::new(arguments.target.clone(), arguments.index.clone(), action);
    let options = Options { tls, ..options };
    let progress = Arc::new(Progress::new(size));
    let started = Instant::now();

    let (tx, rx) = mpsc::channel(READ_AHEAD);
    let reading = read(Lines::new(input, action), tx, progress.clone());
    let on_event = {
        let progress = progress.clone();
        move |event| progress.note(event)
    };
    let sent = send(ReceiverStream::new(rx), options, on_event).await;

    let (code, stopped) = match sent {
        Err(error) => (exit_code(&error), Some(error.to_string())),
        // The thread has read to the end, so it is not waited for.
        Ok(()) => match reading.join() {
            Ok(Ok(())) => (0, None),
            Ok(Err(error)) => {
                (USAGE, Some(format!("{} cannot be read on: {error}", arguments.file.display())))
            }
            Err(panic) => std::panic::resume_unwind(panic),
        },
    };
    let summary = progress.finish(started.elapsed(), stopped);
    if let Some(stopped) = &summary.stopped {
        output::complain(&progress::shown_stop(stopped));
    }
    let printed = match arguments.json {
        true => output::print_json(&summary),
        false if summary.lines == 0 && summary.stopped.is_some() => Ok(()),
        false => output::print(&summary.to_text()),
    };
    printed.context("cannot write to stdout")?;
    Ok(ExitCode::from(if code == 0 && summary.refused > 0 { SOME_REFUSED } else { code }))
}

fn exit_code(error: &SendError) -> u8 {
    match error {
        SendError::Target { .. } => USAGE,
        SendError::Refused { .. } => SOME_REFUSED,
        SendError::Unreachable { .. } | SendError::GaveUp { .. } => UNREACHABLE,
    }
}

/// The file or stdin, and how long it is, if it has a length.
fn open(path: &Path) -> io::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    const BUFFER: usize = 256 * 1024;
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::with_capacity(BUFFER, io::stdin())), None));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(BUFFER, file)), size))
}

/// Reads on a thread, since a read of stdin may block for good: nobody waits for this thread when sending fails.
fn read(
    lines: Lines<Box<dyn BufRead + Send>>,
    tx: mpsc::Sender<Record>,
    progress: Arc<Progress>,
) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        for line in lines {
            match line? {
                Ok(record) => {
                    if tx.blocking_send(record).is_err() {
                        break;
                    }
                }
                Err(refusal) => progress.note(Event::Refused(refusal)),
            }
        }
        Ok(())
    })
}
