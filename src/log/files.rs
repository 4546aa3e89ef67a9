//! Every file operation of the log, and nothing else touches the disk: one place to see what is synced, and the seam
//! for tests that inject faults.
//!
//! Directories are created 0700 and files 0600. Nothing here retries a sync.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

const TEMPORARY: &str = "tmp";

/// Creates a directory with those above it, and syncs each parent that got a new entry.
pub(super) fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::Error::from(ErrorKind::NotFound)),
    };
    create_directories(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => created?,
    }
    sync_directory(parent)
}

/// Makes new, renamed and removed entries durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Opens or creates a file and locks it for as long as the handle lives; `None` if somebody else holds it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Names of the entries of a directory, sorted.
pub(super) fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Reads a small file; `None` if there is none.
pub(super) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name that a file has until it is complete; [`remove_temporary`] clears what a crash left.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

/// Removes what a crash left under temporary names; returns how many files these were.
pub(super) fn remove_temporary(directory: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for name in list(directory)? {
        if Path::new(&name).extension().is_some_and(|extension| extension == TEMPORARY) {
            fs::remove_file(directory.join(name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Creates an empty file to read and write, in place of one that may be there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Opens a file to read and write.
pub(super) fn open_writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Opens a file to read.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The file's size in bytes.
pub(super) fn size(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Grows a file to `bytes` with space that is reserved for it and reads as zeros; keeps what is there.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP) => return fill_with_zeros(file, bytes),
            allocated => return Ok(allocated?),
        }
    }
}

/// Keeps space for [`release_reserve`] to give back. Without room for it there is none: that is no reason to stop.
pub(super) fn keep_reserve(path: &Path, bytes: u64) {
    let kept = create(path).and_then(|file| allocate(&file, bytes));
    if let Err(error) = kept {
        tracing::warn!(path = %path.display(), %error, "no space could be reserved for cursors");
    }
}

/// Gives the reserved space back to the disk, for what must be written on a full one.
pub(super) fn release_reserve(path: &Path) {
    if remove(path).is_ok() {
        tracing::warn!(path = %path.display(), "disk is full, its reserve for cursors is used");
    }
}

/// Whether an error means that the disk, or this user's share of it, is full.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Writes all bytes at a place in the file.
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)
}

/// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
pub(super) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = at + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Makes written bytes durable, with as much of the metadata as reading them back takes.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::gate::pass(file)?;
    file.sync_data()
}

/// Makes bytes and metadata durable.
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Cuts a file at `bytes`.
pub(super) fn truncate(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}

/// Gives a file its final name; durable once the directory is synced.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a file; durable once the directory is synced.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// What failed in [`replace`]: whether the disk may now hold something else than it seems to.
#[derive(Debug)]
pub(super) enum ReplaceError {
    /// Before anything counted; the earlier file is whole.
    Clean(io::Error),
    /// A sync or the rename failed: only a restart finds out what the disk holds (rule 2).
    Dirty(io::Error),
}

/// Replaces a small file: temporary file, fdatasync, rename, fsync of the directory (rule 8).
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let temporary = temporary(path);
    let file = create(&temporary).map_err(ReplaceError::Clean)?;
    write_at(&file, bytes, 0).map_err(ReplaceError::Clean)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    sync_data(&file)
        .and_then(|()| rename(&temporary, path))
        .and_then(|()| sync_directory(parent))
        .map_err(ReplaceError::Dirty)
}

/// For file systems that cannot reserve space otherwise.
fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = size(file)?;
    while at < bytes {
        let length = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        write_at(file, &zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}
