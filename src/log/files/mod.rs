//! The seam between the log and the disk: every file operation of the log goes through [`FileSystem`] and [`File`], so
//! that tests can put a disk there that fails, fills up or loses its power.
//!
//! `disk` is the real one. The traits hold what a disk can do, one operating-system call each; `whole` what the log
//! makes of it: whole reads and writes, and the replacement of small files. Nothing here retries a sync.

mod disk;
mod whole;

use std::{
    ffi::OsString,
    fmt,
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

pub(super) use disk::Disk;
pub(super) use whole::{ReplaceError, is_no_space, temporary};

/// Files by their paths. Directories are created 0700 and files 0600.
pub(super) trait FileSystem: fmt::Debug + Send + Sync + 'static {
    /// Creates a directory in one that is there; durable once that one is synced.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Whether there is a directory.
    fn is_directory(&self, path: &Path) -> bool;

    /// Names of the entries of a directory, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// Makes new, renamed and removed entries durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Opens or creates a file and locks it for as long as the handle lives; `None` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;

    /// Creates an empty file to read and write, in place of one that may be there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file that is there.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Gives a file its final name, in place of one that may have it; durable once the directory is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable once the directory is synced.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// An open file; `whole` adds reads and writes that are not cut short.
pub(super) trait File: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` from a place in the file, not all of it if it pleases, and 0 bytes only at the file's end.
    fn read_some(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes pieces, one behind the other, at a place in the file, not all of them if it pleases.
    fn write_some(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<usize>;

    /// Grows the file to `bytes` with space that is reserved for it and reads as zeros; keeps what is there.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file at `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes written bytes durable, with as much of the metadata as reading them back takes.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and metadata durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}
