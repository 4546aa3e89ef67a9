//! A module's file, read whole or not at all.

use std::{
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::transform::Module;

/// What is larger is not even read.
pub(super) const BYTES_MAX: u64 = Module::BYTES_MAX as u64;

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transform) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Whether the last change is no longer ago than this, as far as the clocks of both sides tell.
    fn is_younger_than(&self, age: Duration) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        SystemTime::now().duration_since(UNIX_EPOCH + changed).map_or(true, |since| since <= age)
    }
}

/// Why a file's content is not known. The words follow the file's path and a colon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It is not there.
    #[error("there is no file: put the module in its place, best by renaming one that is complete")]
    Missing,
    /// It is there, and cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is a directory, a pipe or the like.
    #[error("it is a directory or the like, not a file")]
    NotAFile,
    /// More than is read.
    #[error(
        "it has {bytes} bytes, the limit is {limit}: leave out what it embeds, and build it with optimisation for size"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Somebody was writing it meanwhile.
    #[error(
        "it is being written all the time: put the module in its place by renaming a file that is complete"
    )]
    Changing,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// What lies at a path now; links are followed.
pub(super) fn stamp(path: &Path) -> Result<Stamp, ReadError> {
    stamp_of(&std::fs::metadata(path)?)
}

/// The content at a path, if nobody has touched it for `quiet`.
pub(in crate::transform) fn read_settled(
    path: &Path,
    quiet: Duration,
) -> Result<(Stamp, Vec<u8>), ReadError> {
    let seen = stamp(path)?;
    if seen.is_younger_than(quiet) {
        thread::sleep(quiet);
    }
    Ok((seen, read(path, &seen)?))
}

/// The content that has lain at a path since `seen` was seen there.
///
/// The system's timestamps advance every few milliseconds only: a write right after a look may leave no trace. So
/// `seen` must be from a moment long before this call, or tell of a change long before it.
pub(super) fn read(path: &Path, seen: &Stamp) -> Result<Vec<u8>, ReadError> {
    // A pipe without a writer must not hold the reader.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_seen = |metadata: &Metadata| stamp_of(metadata).map(|stamp| stamp == *seen);
    if !is_seen(&file.metadata()?)? {
        return Err(ReadError::Changing);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(seen.length).unwrap_or(0));
    (&file).take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == seen.length && is_seen(&file.metadata()?)? && stamp(path)? == *seen {
        Ok(bytes)
    } else {
        Err(ReadError::Changing)
    }
}

fn stamp_of(metadata: &Metadata) -> Result<Stamp, ReadError> {
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    if metadata.len() > BYTES_MAX {
        return Err(ReadError::TooLarge { bytes: metadata.len(), limit: BYTES_MAX });
    }
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        sync::atomic::{AtomicBool, Ordering},
        time::Instant,
    };

    use super::*;

    /// G8: no module is run that was put together of two. One thread rewrites the file in place, with other contents of
    /// the same length, each of one byte all through, and pauses at times; whatever is read is one of them, whole.
    #[test]
    fn a_file_that_is_replaced_while_it_is_read_is_read_whole_or_not_at_all() {
        const QUIET: Duration = Duration::from_millis(10);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        let length = 1 << 20;
        fs::write(&path, vec![0; length]).unwrap();
        let stop = AtomicBool::new(false);
        // The writer ends also if an assertion fails.
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = OpenOptions::new().write(true).open(&path).unwrap();
                let mut byte = 0_u8;
                while !stop.load(Ordering::Relaxed) {
                    byte = byte.wrapping_add(1);
                    io::Seek::rewind(&mut file).unwrap();
                    io::Write::write_all(&mut file, &vec![byte; length]).unwrap();
                    if byte.is_multiple_of(16) {
                        thread::sleep(2 * QUIET + Duration::from_millis(u64::from(byte) / 16));
                    }
                }
            });
            let _ends = Ends(&stop);
            let (mut whole, mut changing) = (0, 0);
            let start = Instant::now();
            while whole < 20 || changing < 20 {
                match read_settled(&path, QUIET) {
                    Ok((_, bytes)) => {
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture was read");
                        assert_eq!(bytes.len(), length);
                        whole += 1;
                    }
                    Err(ReadError::Changing) => changing += 1,
                    Err(error) => panic!("{error}"),
                }
                let told = start.elapsed() < Duration::from_secs(60);
                assert!(told, "in a minute {whole} reads were whole, {changing} were told of the change");
            }
        });
    }

    #[test]
    fn what_is_no_module_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(read_settled(&at("none"), Duration::ZERO).unwrap_err(), ReadError::Missing);
        assert_eq!(read_settled(folder.path(), Duration::ZERO).unwrap_err(), ReadError::NotAFile);
        let huge = File::create(at("huge")).unwrap();
        huge.set_len(BYTES_MAX + 1).unwrap();
        let expected = ReadError::TooLarge { bytes: BYTES_MAX + 1, limit: BYTES_MAX };
        assert_eq!(read_settled(&at("huge"), Duration::ZERO).unwrap_err(), expected);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(read_settled(&at("pipe"), Duration::ZERO).unwrap_err(), ReadError::NotAFile);
        fs::write(at("was"), "a file").unwrap();
        let seen = stamp(&at("was")).unwrap();
        fs::rename(at("pipe"), at("was")).unwrap();
        assert_eq!(read(&at("was"), &seen).unwrap_err(), ReadError::NotAFile, "nobody waits for a writer");
    }
}
