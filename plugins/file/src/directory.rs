//! The journal's directory: made durable, held by one agent at a time.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::classify::JournalError;

/// Tells one file from another that took its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode(u64, u64);

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// The open directory. Its lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    inode: Inode,
    /// Entries were added that the disk may not have yet.
    unsynced: bool,
    _lock: File,
}

impl Directory {
    /// Opens the directory, creates what is missing of it, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        create(path).map_err(JournalError::io("create", path))?;
        let lock_path = path.join(".lock");
        let lock =
            file_options().truncate(false).open(&lock_path).map_err(JournalError::io("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { path: path.into() },
            TryLockError::Error(source) => JournalError::Io { doing: "lock", path: lock_path, source },
        })?;
        let opened = File::open(path).and_then(|handle| Ok((handle.metadata()?, handle)));
        let (metadata, handle) = opened.map_err(JournalError::io("open", path))?;
        Ok(Self { path: path.into(), handle, inode: Inode::of(&metadata), unsynced: true, _lock: lock })
    }

    /// Whether the path still leads here: false after the directory was moved or removed.
    pub(crate) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| Inode::of(&metadata) == self.inode)
    }

    /// Remembers that an entry was added or renamed.
    pub(crate) fn touch(&mut self) {
        self.unsynced = true;
    }

    /// Makes added and renamed entries durable.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced {
            self.handle.sync_all().map_err(JournalError::io("sync", &self.path))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Writes, syncs and removes a block: tells a full or read-only disk from one that serves again.
    pub(crate) fn probe(&self) -> Result<(), JournalError> {
        let path = self.path.join(".probe");
        let written = file_options().truncate(true).open(&path).and_then(|mut file| {
            file.write_all(&[0; 4096])?;
            file.sync_all()
        });
        // Also after an error: an empty file must not stay behind.
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(JournalError::io("write", &path))
    }
}

/// Options of every file here: read and write, created 0600.
fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Creates the directory and its missing parents, each 0700 and durable in its own parent.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
