//! Counts the lines of a file destination while it is written, each once, whatever its file is renamed to.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The lines so far. What was rotated and counted to its end is removed: a long run would fill the disk.
pub(crate) struct Lines {
    directory: PathBuf,
    /// By inode: bytes read.
    read: HashMap<u64, u64>,
    buffer: Vec<u8>,
    lines: u64,
}

impl Lines {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, read: HashMap::new(), buffer: vec![0; 1 << 20], lines: 0 }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn count(&mut self) -> anyhow::Result<u64> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            // Before the first record.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).context("list the file destination"),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                match File::open(&path) {
                    Ok(file) => self.count_in(&file, &path)?,
                    // Renamed since it was listed; its inode is found under the new name next time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(self.lines)
    }

    fn count_in(&mut self, file: &File, path: &Path) -> anyhow::Result<()> {
        let inode = file.metadata()?.ino();
        let read = self.read.entry(inode).or_default();
        loop {
            let bytes = file.read_at(&mut self.buffer, *read)?;
            if bytes == 0 {
                break;
            }
            *read += bytes as u64;
            self.lines += memchr::memchr_iter(b'\n', &self.buffer[..bytes]).count() as u64;
        }
        if is_rotated(path) {
            fs::remove_file(path).with_context(|| format!("remove {path:?}"))?;
            // The next file may get its number.
            self.read.remove(&inode);
        }
        Ok(())
    }
}

/// `<index>.<time>.ndjson`: nothing is appended to it any more.
fn is_rotated(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains('.'))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Scenario: lines, a rotation with more lines, a new file, which may get the inode of the one that was removed. Each
    /// line counts once, and nothing is kept of what is gone.
    #[test]
    fn every_line_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let (active, rotated) =
            (directory.path().join("a.ndjson"), directory.path().join("a.20261126T1.ndjson"));
        let append = |text: &str| {
            File::options()
                .create(true)
                .append(true)
                .open(&active)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        let mut lines = Lines::new(directory.path().to_owned());
        assert_eq!(lines.count().unwrap(), 0);
        append("1\n2\n");
        assert_eq!(lines.count().unwrap(), 2);
        append("3\n");
        fs::rename(&active, &rotated).unwrap();
        assert_eq!(lines.count().unwrap(), 3);
        assert!(!rotated.exists());
        append("4\n5\n6\n7");
        assert_eq!(lines.count().unwrap(), 6);
        append("\n");
        assert_eq!(lines.count().unwrap(), 7);
        assert_eq!(lines.read.len(), 1);
    }
}
