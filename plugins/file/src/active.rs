//! One active file: appended to, synced, and brought back to whole lines after whatever interrupted it.
//!
//! Invariant: the first `synced` bytes are on disk and are whole lines. `uncertain` is set before anything is
//! written beyond them and reset once that is on disk, so that an error, a panic or a failed fsync (after which the
//! page cache may hold what the disk does not) leaves it set, and the next write first cuts the file back.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{classify::JournalError, directory::Inode};

/// What one batch can leave beyond the last sync; searched for holes after a power loss.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// An active file, open or closed.
#[derive(Debug)]
pub(crate) struct Active {
    path: PathBuf,
    handle: Option<File>,
    inode: Inode,
    synced: u64,
    /// Bytes written beyond them by the batch under way.
    written: u64,
    uncertain: bool,
    created: SystemTime,
    /// When it was last used, by the journal's count.
    pub(crate) used: u64,
}

impl Active {
    /// Opens or creates the file, and cuts what a crash left of a last line. Its directory needs a sync afterwards.
    pub(crate) fn open(path: PathBuf) -> Result<Self, JournalError> {
        let opened = open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(JournalError::io("open", &path))?;
        let synced = recover(&file, &path, metadata.len()).map_err(JournalError::io("recover", &path))?;
        // Without a time of birth the last change must do; a new file then rotates too late, never too early.
        let created =
            metadata.created().or_else(|_| metadata.modified()).unwrap_or_else(|_| SystemTime::now());
        let inode = Inode::of(&metadata);
        Ok(Self { path, handle: Some(file), inode, synced, written: 0, uncertain: false, created, used: 0 })
    }

    /// Makes it ready for an append. Returns false if somebody moved, removed or changed the file, so that it must
    /// be opened as if it were unknown.
    pub(crate) fn resume(&mut self) -> Result<bool, JournalError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(JournalError::io("open", &self.path)(error)),
        };
        let ours = Inode::of(&metadata) == self.inode
            && (metadata.len() == self.synced || self.uncertain && metadata.len() > self.synced);
        if !ours {
            return Ok(false);
        }
        if self.uncertain || self.handle.is_none() {
            self.handle = None;
            let file = open(&self.path).map_err(JournalError::io("open", &self.path))?;
            if self.uncertain {
                let cut = file.set_len(self.synced).and_then(|()| file.sync_all());
                cut.map_err(JournalError::io("cut the unconfirmed end of", &self.path))?;
                self.uncertain = false;
            }
            self.handle = Some(file);
        }
        Ok(true)
    }

    /// Writes whole lines at the end; they are on disk only after [`Active::sync`].
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        self.uncertain = true;
        let written = self.handle()?.write_all(lines);
        written.map_err(JournalError::io("append to", &self.path))?;
        self.written += lines.len() as u64;
        Ok(())
    }

    /// Brings what was written to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        if self.written > 0 {
            let synced = self.handle()?.sync_data();
            synced.map_err(JournalError::io("sync", &self.path))?;
            self.synced += self.written;
            self.written = 0;
            self.uncertain = false;
        }
        Ok(())
    }

    /// Takes what an earlier batch left unsynced for not written, and the descriptor that failed for lost: a second
    /// fsync could succeed without the data.
    pub(crate) fn distrust(&mut self) {
        if self.uncertain {
            self.handle = None;
            self.written = 0;
        }
    }

    fn handle(&mut self) -> Result<&mut File, JournalError> {
        let closed = || JournalError::io("append to", &self.path)(io::ErrorKind::NotConnected.into());
        self.handle.as_mut().ok_or_else(closed)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of whole lines on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.synced
    }

    /// Zero if the clock went back.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.created).unwrap_or_default()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Syncs and gives the file descriptor back.
    pub(crate) fn close(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        self.handle = None;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Cuts the file, physically, after its last whole line; returns its length.
fn recover(file: &File, path: &Path, length: u64) -> io::Result<u64> {
    let mut end = None;
    let mut start = length;
    while end.is_none() && start > 0 {
        start = start.saturating_sub(TAIL_BYTES);
        end = end_of_lines(file, start, length)?;
    }
    let end = end.unwrap_or(0);
    if end < length {
        file.set_len(end)?;
        file.sync_all()?;
        tracing::warn!(path = %path.display(), bytes = length - end, "cut a partial last line");
    }
    Ok(end)
}

/// Where the last whole line between `start` and `end` ends. A zero byte, which no JSON text contains, is a hole of
/// an interrupted write: nothing after it was ever confirmed.
fn end_of_lines(file: &File, start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; 64 * 1024];
    let mut found = None;
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.read_exact_at(&mut buffer[..wanted], at)?;
        let hole = memchr::memchr(0, &buffer[..wanted]);
        let text = &buffer[..hole.unwrap_or(wanted)];
        if let Some(newline) = memchr::memrchr(b'\n', text) {
            found = Some(at + newline as u64 + 1);
        }
        if hole.is_some() {
            break;
        }
        at += wanted as u64;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(active: &mut Active, lines: &[u8]) -> Result<(), JournalError> {
        active.distrust();
        assert!(active.resume()?);
        active.write(lines)?;
        active.sync()
    }

    /// After a failed write or fsync nothing beyond the last sync is trusted, whole lines included: they may be in
    /// the page cache and not on the disk, and the same batch comes again.
    #[test]
    fn cuts_back_to_what_is_synced_after_a_failure() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.ndjson");
        let mut active = Active::open(path.clone()).unwrap();
        append(&mut active, b"{\"n\":1}\n").unwrap();
        active.write(b"{\"n\":2}\n{\"n\"").unwrap();

        append(&mut active, b"{\"n\":2}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(active.bytes(), 16);
    }

    /// The failure itself: a descriptor that cannot be written is not used again.
    #[test]
    fn a_failed_write_leaves_the_file_uncertain() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.ndjson");
        let mut active = Active::open(path.clone()).unwrap();
        append(&mut active, b"{}\n").unwrap();
        active.handle = Some(File::open(&path).unwrap());
        assert!(append(&mut active, b"{}\n").is_err());
        assert!(active.uncertain);
        append(&mut active, b"{}\n").unwrap();
        assert_eq!(active.bytes(), 6);
    }
}
