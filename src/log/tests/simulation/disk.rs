//! The simulated disk: files in memory that outlive the processes which use them, and faults at chosen operations.
//!
//! Only operations that change something count: a cut or kill before one that only looks is the same as one before the
//! next change. Whatever fault strikes an operation, it may be done in part.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, ErrorKind, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastrand::Rng;
use rustix::io::Errno;

use super::{
    contents::Contents,
    mood::Mood,
    names::{Names, Node},
};
use crate::log::{
    files::{Access, File, FileSystem},
    tests::faulty::Call,
};

/// What strikes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power goes.
    Cut,
    /// The process ends; the page cache stays.
    Kill,
    /// The operation fails with EIO, and those after it do not.
    Fail,
}

/// An operation that a fault struck, and the file or directory that it was for.
#[derive(Clone, Debug)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    pub(super) call: Call,
    pub(super) path: PathBuf,
}

/// A disk; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: Arc<Mutex<State>>,
}

/// The disk as one process has it.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk {
    machine: Machine,
    process: u64,
}

#[derive(Debug)]
struct State {
    names: Names,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    /// The process that runs; files of others are closed.
    process: Option<u64>,
    processes: u64,
    locks: Vec<PathBuf>,
    /// Changes asked for by this process.
    operations: u64,
    planned: Vec<(u64, Fault)>,
    struck: Vec<Struck>,
    /// Segments that got their name, ever.
    segments: u64,
    rng: Rng,
}

/// A change, as it is asked for.
enum Change<'a> {
    CreateDirectory,
    SyncDirectory,
    Create,
    Rename { from: &'a Path },
    Remove,
    Write { file: u64, at: usize, bytes: &'a [u8] },
    Allocate { file: u64, size: usize },
    Truncate { file: u64, size: usize },
    Sync { file: u64, size_too: bool },
}

impl Machine {
    /// An empty disk with one directory; `seed` decides what faults do.
    pub(super) fn new(root: &Path, seed: u64) -> Self {
        let state = State {
            names: Names::new(root),
            files: BTreeMap::new(),
            next_file: 0,
            process: None,
            processes: 0,
            locks: Vec::new(),
            operations: 0,
            planned: Vec::new(),
            struck: Vec::new(),
            segments: 0,
            rng: Rng::with_seed(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Somebody makes a directory and does not sync the one that it is in.
    pub(super) fn make_directory(&self, path: &Path) {
        self.state().names.set(path, Some(Node::Directory));
    }

    /// Starts a process after the last one ended, or was ended by this; `planned` faults strike its operations, which
    /// are counted from 0.
    pub(super) fn start(&self, planned: Vec<(u64, Fault)>) -> SimulatedDisk {
        let mut state = self.state();
        state.end_process();
        state.processes += 1;
        state.process = Some(state.processes);
        (state.operations, state.planned, state.struck) = (0, planned, Vec::new());
        let named: Vec<u64> = state.names.files().collect();
        state.files.retain(|file, _| named.contains(file));
        SimulatedDisk { machine: self.clone(), process: state.processes }
    }

    /// The power goes while nothing is being done.
    pub(super) fn cut(&self) {
        self.state().cut();
    }

    /// What struck the process so far.
    pub(super) fn struck(&self) -> Vec<Struck> {
        self.state().struck.clone()
    }

    /// Whether a process runs: nothing ended it.
    pub(super) fn runs(&self) -> bool {
        self.state().process.is_some()
    }

    /// How many segments got their name.
    pub(super) fn segments(&self) -> u64 {
        self.state().segments
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_process(&mut self) {
        self.process = None;
        self.locks.clear();
    }

    fn cut(&mut self) {
        self.end_process();
        let mood = Mood::new(&mut self.rng);
        self.names.cut(&mood, &mut self.rng);
        for file in self.files.values_mut() {
            file.cut(&mood, &mut self.rng);
        }
    }

    /// Makes a change, unless a fault strikes it. Returns the bytes written, or the file created.
    fn change(&mut self, call: Call, path: &Path, change: &Change<'_>) -> io::Result<u64> {
        let number = self.operations;
        self.operations += 1;
        let Some((_, fault)) = self.planned.iter().find(|(at, _)| *at == number).copied() else {
            return self.apply(path, change);
        };
        self.struck.push(Struck { fault, call, path: path.to_owned() });
        self.apply_partly(path, change, fault);
        match fault {
            Fault::Cut => self.cut(),
            Fault::Kill => self.end_process(),
            Fault::Fail => {}
        }
        Err(io_error())
    }

    fn apply(&mut self, path: &Path, change: &Change<'_>) -> io::Result<u64> {
        let known = self.names.get(path);
        match *change {
            Change::CreateDirectory if known.is_some() => return Err(ErrorKind::AlreadyExists.into()),
            Change::CreateDirectory => {
                self.parent_of(path)?;
                self.names.set(path, Some(Node::Directory));
            }
            Change::SyncDirectory => {
                self.directory(path)?;
                self.names.sync(path);
            }
            Change::Create => return self.create(path),
            Change::Rename { from } => {
                let node = self.names.get(from).ok_or(ErrorKind::NotFound)?;
                self.parent_of(path)?;
                self.names.set(path, Some(node));
                self.names.set(from, None);
                self.segments += u64::from(path.extension().is_some_and(|extension| extension == "seg"));
            }
            Change::Remove => match known {
                Some(Node::File(_)) => self.names.set(path, None),
                Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
                None => return Err(ErrorKind::NotFound.into()),
            },
            Change::Write { file, at, bytes } => {
                // Now and then a write is short.
                let length =
                    if self.rng.u8(..16) == 0 { self.rng.usize(1..=bytes.len()) } else { bytes.len() };
                self.file(file).write(at, &bytes[..length]);
                return Ok(length as u64);
            }
            Change::Allocate { file, size } => self.file(file).allocate(size),
            Change::Truncate { file, size } => self.file(file).truncate(size),
            Change::Sync { file, size_too } => self.file(file).sync(size_too),
        }
        Ok(0)
    }

    /// What a struck operation may have done.
    fn apply_partly(&mut self, path: &Path, change: &Change<'_>, fault: Fault) {
        match *change {
            Change::Write { file, at, bytes } => {
                let length = self.rng.usize(..=bytes.len());
                self.file(file).write(at, &bytes[..length]);
            }
            Change::Sync { file, .. } if fault == Fault::Fail => {
                let mood = Mood::new(&mut self.rng);
                let contents = self.files.entry(file).or_default();
                contents.fail_sync(&mood, &mut self.rng);
            }
            Change::SyncDirectory if fault == Fault::Fail => {}
            _ if self.rng.bool() => {
                // An error of its own changes nothing either.
                let _ = self.apply(path, change);
            }
            _ => {}
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(file)) => {
                self.file(file).truncate(0);
                return Ok(file);
            }
            Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
            None => self.parent_of(path)?,
        }
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Contents::default());
        self.names.set(path, Some(Node::File(file)));
        Ok(file)
    }

    fn parent_of(&self, path: &Path) -> io::Result<()> {
        self.directory(path.parent().ok_or(ErrorKind::NotFound)?)
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file(&mut self, file: u64) -> &mut Contents {
        self.files.get_mut(&file).expect("a file lives as long as a handle")
    }
}

impl SimulatedDisk {
    /// The state, unless the process has ended.
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.machine.state();
        if state.process == Some(self.process) { Ok(state) } else { Err(io_error()) }
    }

    fn change(&self, call: Call, path: &Path, change: Change<'_>) -> io::Result<u64> {
        self.enter()?.change(call, path, &change)
    }

    fn handle(&self, path: &Path, file: u64) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

impl FileSystem for SimulatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change(Call::CreateDirectory, path, Change::CreateDirectory).map(drop)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.machine.state().names.get(path) == Some(Node::Directory)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.enter()?;
        state.directory(path)?;
        Ok(state.names.list(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change(Call::SyncDirectory, path, Change::SyncDirectory).map(drop)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        if self.enter()?.locks.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        let known = self.enter()?.names.get(path);
        let file = match known {
            Some(Node::File(file)) => file,
            Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
            None => self.change(Call::Lock, path, Change::Create)?,
        };
        self.enter()?.locks.push(path.to_owned());
        Ok(Some(self.handle(path, file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.change(Call::Create, path, Change::Create)?;
        Ok(self.handle(path, file))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn File>> {
        let file = match self.enter()?.names.get(path) {
            Some(Node::File(file)) => file,
            Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
            None => return Err(ErrorKind::NotFound.into()),
        };
        Ok(self.handle(path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Call::Rename, to, Change::Rename { from }).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Call::Remove, path, Change::Remove).map(drop)
    }
}

/// An open file.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    file: u64,
}

impl File for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.enter()?.file(self.file).size() as u64)
    }

    fn read_some(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.enter()?;
        let room = into.len();
        // Now and then a read is short.
        let length = if state.rng.u8(..16) == 0 { state.rng.usize(1..=room.max(1)).min(room) } else { room };
        Ok(state.file(self.file).read(to_usize(at), &mut into[..length]))
    }

    fn write_some(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let change = Change::Write { file: self.file, at: to_usize(at), bytes: &bytes };
        self.disk.change(Call::Write, &self.path, change).map(to_usize)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let change = Change::Allocate { file: self.file, size: to_usize(bytes) };
        self.disk.change(Call::Allocate, &self.path, change).map(drop)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let change = Change::Truncate { file: self.file, size: to_usize(bytes) };
        self.disk.change(Call::Truncate, &self.path, change).map(drop)
    }

    fn sync_data(&self) -> io::Result<()> {
        let change = Change::Sync { file: self.file, size_too: false };
        self.disk.change(Call::SyncData, &self.path, change).map(drop)
    }

    fn sync_all(&self) -> io::Result<()> {
        let change = Change::Sync { file: self.file, size_too: true };
        self.disk.change(Call::SyncAll, &self.path, change).map(drop)
    }
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(Errno::IO.raw_os_error())
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("files in memory are small")
}
