//! What the log makes of single operations: reads and writes that are not cut short, small files that are replaced as
//! a whole, and the space that is kept for them.

use std::{
    ffi::OsString,
    io::{self, ErrorKind, IoSlice},
    path::{Path, PathBuf},
};

use super::{Access, File, FileSystem};

const TEMPORARY: &str = "tmp";

/// What failed in replacing a file: whether the disk may now hold something else than it seems to.
#[derive(Debug)]
pub(in crate::log) enum ReplaceError {
    /// Before anything counted; the earlier file is whole.
    Clean(io::Error),
    /// A sync or the rename failed: only a restart finds out what the disk holds (rule 2).
    Dirty(io::Error),
}

/// The name that a file has until it is complete; [`FileSystem::remove_temporary`] clears what a crash left.
pub(in crate::log) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

/// Whether an error means that the disk, or this user's share of it, is full.
pub(in crate::log) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether a directory is not ours to sync: not readable, or of a read-only or made-up file system (EINVAL).
fn is_beyond_us(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::Unsupported
    )
}

impl dyn FileSystem + '_ {
    /// Creates a directory with those above it, and syncs each parent that got a new entry.
    pub(in crate::log) fn create_directories(&self, path: &Path) -> io::Result<()> {
        if self.is_directory(path) {
            return Ok(());
        }
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(io::Error::from(ErrorKind::NotFound)),
        };
        self.create_directories(parent)?;
        match self.create_directory(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => created?,
        }
        self.sync_directory(parent)
    }

    /// Makes the way to a directory durable: every directory above it, but for those that this agent cannot read or
    /// that no file system writes to; in them nothing was made.
    pub(in crate::log) fn sync_above(&self, path: &Path) -> io::Result<()> {
        for parent in path.ancestors().skip(1) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match self.sync_directory(parent) {
                Err(error) if is_beyond_us(&error) => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    /// Names of the entries of a directory, sorted.
    pub(in crate::log) fn list_sorted(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = self.list(path)?;
        names.sort();
        Ok(names)
    }

    /// Removes what a crash left under temporary names; returns how many files these were.
    pub(in crate::log) fn remove_temporary(&self, directory: &Path) -> io::Result<usize> {
        let mut removed = 0;
        for name in self.list_sorted(directory)? {
            if Path::new(&name).extension().is_some_and(|extension| extension == TEMPORARY) {
                self.remove(&directory.join(name))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Reads a small file; `None` if there is none.
    pub(in crate::log) fn read_small(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let read = || {
            let file = self.open(path, Access::Read)?;
            let size = usize::try_from(file.size()?).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
            file.read_at(0, size)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a small file: temporary file, fdatasync, rename, fsync of the directory (rule 8).
    pub(in crate::log) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
        let temporary = temporary(path);
        let file = self.create(&temporary).map_err(ReplaceError::Clean)?;
        file.write_at(bytes, 0).map_err(ReplaceError::Clean)?;
        let parent = path.parent().unwrap_or(Path::new("."));
        file.sync_data()
            .and_then(|()| self.rename(&temporary, path))
            .and_then(|()| self.sync_directory(parent))
            .map_err(ReplaceError::Dirty)
    }

    /// Keeps space for [`FileSystem::release_reserve`] to give back. Without room for it there is none: that is no
    /// reason to stop.
    pub(in crate::log) fn keep_reserve(&self, path: &Path, bytes: u64) {
        let kept = self.create(path).and_then(|file| file.allocate(bytes));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "no space could be reserved for cursors");
        }
    }

    /// Gives the reserved space back to the disk, for what must be written on a full one.
    pub(in crate::log) fn release_reserve(&self, path: &Path) {
        if self.remove(path).is_ok() {
            tracing::warn!(path = %path.display(), "disk is full, its reserve for cursors is used");
        }
    }
}

impl dyn File + '_ {
    /// Writes all bytes at a place in the file.
    pub(in crate::log) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_pieces_at(&mut [IoSlice::new(bytes)], at)
    }

    /// Writes pieces, one behind the other, at a place in the file.
    pub(in crate::log) fn write_pieces_at(
        &self,
        mut pieces: &mut [IoSlice<'_>],
        mut at: u64,
    ) -> io::Result<()> {
        // Empty ones in front go.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match self.write_some(pieces, at) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero)),
                Ok(written) => {
                    IoSlice::advance_slices(&mut pieces, written);
                    at += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
    pub(in crate::log) fn read_at(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.read_into(at, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Fills `into` from a place in the file; returns how many bytes there were, fewer only where the file ends.
    pub(in crate::log) fn read_into(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read_some(at + filled as u64, &mut into[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
