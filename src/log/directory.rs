//! The log's directory: locked by one agent, with an identity for good; and whether what it holds is still certain.
//!
//! The identity is written last when a directory is created: as long as it is missing the directory counts as new,
//! unless there are segments.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use plugin_api::identity::LogId;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use super::{
    files::{self, File, FileSystem, ReplaceError},
    interface::LogError,
    request_id::KEY_BYTES,
    sections::{self, FormatError},
    segment,
    small_file::{self, Kind},
};

pub(super) const LOCK: &str = "lock";
pub(super) const IDENTITY: &str = "identity";
pub(super) const KEY: &str = "request-id.key";
pub(super) const DESTINATIONS: &str = "destinations";
pub(super) const CURSORS: &str = "cursors";
pub(super) const SKIPPED: &str = "skipped";
const RESERVE: &str = "reserve";
/// Some cursors of the largest size that is usual; see rule 11.
const RESERVE_BYTES: u64 = 256 << 10;

/// A directory that this process has locked.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) path: PathBuf,
    pub(super) log_id: LogId,
    /// What request ids are signed with.
    pub(super) key: [u8; KEY_BYTES],
    poison: OnceLock<String>,
    _lock: Arc<dyn File>,
}

/// What opening it found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) directory: Directory,
    /// The directory is new: nothing was served, nothing is listed.
    pub(super) created: bool,
    /// Files under temporary names that a crash left.
    pub(super) removed: usize,
    pub(super) alerts: Vec<String>,
}

/// Locks a directory, or creates it, and finds its identity.
pub(super) fn open(
    files: Arc<dyn FileSystem>,
    path: &Path,
    random: &SystemRandom,
) -> Result<Opened, LogError> {
    let cursors = path.join(CURSORS);
    files.create_directories(&cursors).map_err(at(&cursors))?;
    let lock_path = path.join(LOCK);
    let Some(lock) = files.lock(&lock_path).map_err(at(&lock_path))? else {
        let what = "another agent holds the lock on this log: stop it, or give this agent another data.dir";
        return Err(halted(&lock_path, what));
    };
    let mut removed = 0;
    for directory in [path, &cursors] {
        removed += files.remove_temporary(directory).map_err(at(directory))?;
        // What an earlier run could not sync must not be built upon.
        files.sync_directory(directory).map_err(at(directory))?;
    }
    let mut alerts = Vec::new();
    let identity_path = path.join(IDENTITY);
    let found = files.read_small(&identity_path).map_err(at(&identity_path))?;
    let created = found.is_none();
    let (log_id, key) = match found {
        Some(bytes) => {
            let log_id = decode_identity(&bytes).map_err(unreadable(&identity_path))?;
            (log_id, key_of(&*files, path, random, &mut alerts)?)
        }
        None => create(&*files, path, random)?,
    };
    files.keep_reserve(&path.join(RESERVE), RESERVE_BYTES);
    let poison = OnceLock::new();
    let directory = Directory { files, path: path.to_owned(), log_id, key, poison, _lock: lock };
    Ok(Opened { directory, created, removed, alerts })
}

impl Directory {
    /// The list of the destinations that the log has served.
    pub(super) fn destinations(&self) -> PathBuf {
        self.path.join(DESTINATIONS)
    }

    /// What an operator has given up.
    pub(super) fn skipped(&self) -> PathBuf {
        self.path.join(SKIPPED)
    }

    /// Where cursors lie.
    pub(super) fn cursors(&self) -> PathBuf {
        self.path.join(CURSORS)
    }

    /// From now on nothing is accepted (rule 2); the first cause stays, and is returned.
    pub(super) fn poison(&self, cause: String) -> &str {
        self.poison.get_or_init(|| {
            tracing::error!(path = %self.path.display(), cause, "log is poisoned, restart the agent");
            cause
        })
    }

    /// Why nothing is accepted any more.
    pub(super) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Removes a small file, if it is there. Where it is not, an attempt before may have failed to make that durable.
    pub(super) fn remove_small(&self, path: &Path) -> Result<(), LogError> {
        match self.files.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(at(path))?,
        }
        let directory = path.parent().unwrap_or(path);
        self.files.sync_directory(directory).map_err(at(directory))
    }

    /// Replaces a small file; poisons the log if it is not certain which one the disk holds.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        let replaced = match self.files.replace(path, bytes) {
            // On a disk that the log itself has filled, only a cursor that moves gives space back: rule 11.
            Err(ReplaceError::Clean(error)) if files::is_no_space(&error) => {
                self.files.release_reserve(&self.path.join(RESERVE));
                self.files.replace(path, bytes)
            }
            replaced => replaced,
        };
        replaced.map_err(|error| {
            let source = match error {
                ReplaceError::Clean(source) => source,
                ReplaceError::Dirty(source) => {
                    self.poison(format!("{}: {source}", path.display()));
                    source
                }
            };
            LogError::Io { path: path.to_owned(), source }
        })
    }
}

/// Reads a log's id. The file has no sections yet; one that must be understood keeps this version from the directory.
pub(super) fn decode_identity(bytes: &[u8]) -> Result<LogId, FormatError> {
    let (log_id, body) = small_file::decode(Kind::Identity, bytes)?;
    sections::for_each(body, |_, _| Ok(false))?;
    Ok(log_id)
}

/// A segment's nonce: random, never 0.
pub(super) fn random_nonce(random: &SystemRandom) -> Result<u64, String> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_err(|_| "the operating system gives no random bytes".to_owned())?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// Turns an operating system's error on `path` into ours.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::Io { path: path.to_owned(), source }
}

/// Somebody must look.
pub(super) fn halted(path: &Path, what: impl Into<String>) -> LogError {
    LogError::Halted { path: path.to_owned(), what: what.into() }
}

fn create(
    files: &dyn FileSystem,
    path: &Path,
    random: &SystemRandom,
) -> Result<(LogId, [u8; KEY_BYTES]), LogError> {
    let names = files.list_sorted(path).map_err(at(path))?;
    if let Some(name) = names.iter().find(|name| segment::base_of(Path::new(name)).is_some()) {
        let what = format!(
            "there is segment {} but no identity: restore the file `{IDENTITY}` with the rest of the directory",
            name.display()
        );
        return Err(halted(path, what));
    }
    // Whoever made the directories above, an agent that was killed or another program, may not have synced them.
    files.sync_above(path).map_err(at(path))?;
    let key = write_key(files, path, random)?;
    let log_id = LogId(Uuid::new_v4());
    write(files, &path.join(DESTINATIONS), &small_file::encode(Kind::Destinations, log_id, |_| {}))?;
    write(files, &path.join(IDENTITY), &small_file::encode(Kind::Identity, log_id, |_| {}))?;
    Ok((log_id, key))
}

fn key_of(
    files: &dyn FileSystem,
    path: &Path,
    random: &SystemRandom,
    alerts: &mut Vec<String>,
) -> Result<[u8; KEY_BYTES], LogError> {
    let key_path = path.join(KEY);
    let found = files.read_small(&key_path).map_err(at(&key_path))?;
    if let Some(key) = found.as_deref().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(key);
    }
    alerts.push(format!("{}: missing or cut off, made a new key for request ids", key_path.display()));
    write_key(files, path, random)
}

fn write_key(
    files: &dyn FileSystem,
    path: &Path,
    random: &SystemRandom,
) -> Result<[u8; KEY_BYTES], LogError> {
    let key_path = path.join(KEY);
    let mut key = [0; KEY_BYTES];
    let no_random = |_| at(&key_path)(io::Error::other("the operating system gives no random bytes"));
    random.fill(&mut key).map_err(no_random)?;
    write(files, &key_path, &key)?;
    Ok(key)
}

fn write(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    files
        .replace(path, bytes)
        .map_err(|error| match error {
            ReplaceError::Clean(source) | ReplaceError::Dirty(source) => source,
        })
        .map_err(at(path))
}

fn unreadable(path: &Path) -> impl Fn(FormatError) -> LogError {
    move |error| match error {
        FormatError::Broken(what) => {
            halted(path, format!("{what}: restore it from a copy of this directory"))
        }
        FormatError::Unusable(what) => halted(path, what),
    }
}
