//! The audit log: `audit.ndjson` in the data directory, to which two lines are appended for every command, one before it is
//! carried out and one with its outcome. Nothing is ever removed; whoever moves the file away finds a new one.
//!
//! No secret gets in here: headers are not written, and no command takes one.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::Value;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::admin::time::Time;

/// Who asks, as far as the connection tells.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "via", rename_all = "snake_case")]
pub(super) enum Peer {
    /// A user of this machine, through the socket.
    Unix {
        /// Who, as the kernel says.
        uid: Option<u32>,
    },
    /// Whoever has the token.
    Tcp {
        /// From where.
        address: SocketAddr,
    },
}

/// A command, as both of its lines tell it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    /// The same in both.
    pub(super) id: Uuid,
    #[serde(flatten)]
    pub(super) peer: Peer,
    /// As on the command line: `destination pause`.
    pub(super) command: &'static str,
    pub(super) arguments: Value,
}

/// What is told of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It is about to be carried out.
    Begun,
    /// It was.
    Done,
    /// It was not, or not to its end.
    Failed { error: String },
    /// Its client went away, which ended it.
    Interrupted,
}

#[derive(Serialize)]
struct Line<'a> {
    time: Time,
    #[serde(flatten)]
    entry: &'a Entry,
    #[serde(flatten)]
    outcome: Outcome,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    path: Arc<PathBuf>,
    /// One writer at a time.
    writing: Arc<Mutex<()>>,
}

impl Audit {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { path: Arc::new(data_dir.join("audit.ndjson")), writing: Arc::default() }
    }

    /// Returns once the line is safe on disk.
    pub(super) async fn append(&self, time: Time, entry: &Entry, outcome: Outcome) -> io::Result<()> {
        let line = serde_json::to_string(&Line { time, entry, outcome })? + "\n";
        let this = self.clone();
        spawn_blocking(move || this.write(&line)).await?
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !self.path.exists();
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(&*self.path)?;
        let torn = ends_torn(&mut file)?;
        let line = if torn { format!("\n{line}") } else { line.to_owned() };
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        if is_new && let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

/// Whether a power cut has left half a line at the end.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}
