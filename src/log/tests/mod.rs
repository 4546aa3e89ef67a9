//! Tests of the embedded log as a whole, on real files.
//!
//! A crash is a copy of the directory: what kill -9 leaves at that moment. What a power cut may leave is made by
//! damaging such a copy.

mod backlog;
mod compatibility;
mod concurrency;
mod crash;
mod destinations;
mod durability;
mod faults;
mod faulty;
mod gate;
mod giving_back;
mod idempotency;
mod inspect;
mod membership;
mod model;
mod poison;
mod reading;
mod recovery;
mod simulation;
mod skip;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plugin_api::identity::{Position, Timestamp};
use tempfile::TempDir;

use self::faulty::Faulty;
use super::{
    EmbeddedLog, OpenReport, Retention, Settings,
    interface::{
        Append, AppendError, Appended, Attributes, BacklogLimit, Frame, Log, LogError, Progress, ReadError,
        Totals,
    },
};
use crate::runtime::Clock;

/// The bytes before the first frame.
const HEADER: usize = 4096;

/// A clock that a test sets.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A directory with a log in it, small enough to roll often.
struct Bench {
    disk: Faulty,
    root: TempDir,
    clock: Arc<SetClock>,
    segment_bytes: u64,
    disk_bytes_max: u64,
    retention: Retention,
    destinations: Vec<String>,
    /// How far each may be behind; the others as far as the budget allows.
    limits: BTreeMap<String, BacklogLimit>,
}

impl Bench {
    fn new() -> Self {
        Self {
            disk: Faulty::new(),
            root: TempDir::new().unwrap(),
            clock: Arc::new(SetClock(AtomicU64::new(1_000_000))),
            segment_bytes: 16 << 10,
            disk_bytes_max: 64 << 20,
            retention: Retention { age: Duration::ZERO, bytes_max: 0 },
            destinations: vec!["search".to_owned()],
            limits: BTreeMap::new(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("logs/default")
    }

    fn settings(&self, dir: PathBuf) -> Settings {
        Settings {
            dir,
            disk_bytes_max: self.disk_bytes_max,
            segment_bytes: self.segment_bytes,
            retention: self.retention,
            destinations: self.destinations.iter().map(|name| (name.clone(), self.limit(name))).collect(),
        }
    }

    fn limit(&self, destination: &str) -> BacklogLimit {
        self.limits.get(destination).copied().unwrap_or(BacklogLimit::UNLIMITED)
    }

    fn open(&self) -> (EmbeddedLog, OpenReport) {
        self.try_open(self.dir()).unwrap()
    }

    fn try_open(&self, dir: PathBuf) -> Result<(EmbeddedLog, OpenReport), LogError> {
        EmbeddedLog::open_on(Arc::new(self.disk.clone()), self.settings(dir), self.clock.clone())
    }

    /// What kill -9 would leave now.
    fn crash(&self, name: &str) -> PathBuf {
        let copy = self.root.path().join(name);
        copy_directory(&self.dir(), &copy);
        copy
    }

    /// The segments' paths, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        segments_in(&self.dir())
    }
}

fn segments_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

fn copy_directory(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A request whose payload tells it from all others.
fn request(number: u64, records: u32, bytes: usize) -> Append {
    let mut payload = vec![number as u8; bytes.max(8)];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    let caller = number.is_multiple_of(3).then(|| format!("caller {number}").into());
    Append { records, payload, attributes: Attributes { caller, ..Attributes::default() } }
}

async fn append(log: &EmbeddedLog, number: u64, records: u32, bytes: usize) -> Appended {
    log.append(request(number, records, bytes)).await.unwrap()
}

/// Every frame from `from` to the durable end.
async fn read_all(log: &EmbeddedLog, from: u64) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let end = log.status().end.offset;
    let mut reader = log.read_from(position(from)).await.unwrap();
    while frames.last().map_or(from, |last| last.position.offset + u64::from(last.records)) < end {
        let next = reader.next();
        frames.extend(tokio::time::timeout(DEADLINE, next).await.expect("more frames").unwrap());
    }
    frames
}

/// The numbers that [`request`] put into the payloads.
fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| u64::from_le_bytes(frame.payload[..8].try_into().unwrap())).collect()
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}

/// A cursor at `next`, with everything before it written.
fn progress(next: u64) -> Progress {
    let totals = Totals { written: next, ..Totals::default() };
    Progress { next: position(next), totals, ..Progress::default() }
}

/// Long past what any of these waits takes.
const DEADLINE: Duration = Duration::from_secs(20);
