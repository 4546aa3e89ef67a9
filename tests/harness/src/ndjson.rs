//! Reads the journal of a file destination while the agent writes it, as a careful reader in the field would: complete
//! lines only, rotated files before the active one, and no line twice because its file was renamed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustc_hash::FxHashMap;
use serde::Deserialize;

use crate::history::{Applied, Destination, Event, Identity};

/// What a file destination has written so far.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    /// By inode: bytes that were read, always up to the end of a line.
    read: FxHashMap<u64, u64>,
    events: Vec<Event>,
    lines: u64,
}

#[derive(Deserialize)]
struct Line {
    index: String,
    object_id: String,
    log_id: String,
    position: Position,
    number: u64,
    request_id: String,
    version: u64,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Position {
    partition: u64,
    offset: u64,
}

#[derive(Deserialize)]
struct Data {
    seq: Option<u64>,
}

impl Journal {
    /// The journal in this directory, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), read: FxHashMap::default(), events: Vec::new(), lines: 0 }
    }

    /// Reads what has come since the last time and returns the lines read so far, repeats included.
    ///
    /// # Errors
    /// If a file cannot be read or a line is not what the destination documents.
    pub fn read(&mut self) -> io::Result<u64> {
        let mut operations = Vec::new();
        for (inode, mut file) in self.open()? {
            let start = self.read.entry(inode).or_default();
            file.seek(SeekFrom::Start(*start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            bytes.truncate(memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1));
            *start += bytes.len() as u64;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                operations.push(applied(line)?);
            }
        }
        self.lines += operations.len() as u64;
        if !operations.is_empty() {
            // The batches cannot be told apart, and a file's writes are always answered.
            self.events.push(Event::Batch { operations, answered: true });
        }
        Ok(self.lines)
    }

    /// Reads what the agent left behind when it ended, and marks its restart. To be called while it does not run.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn restarted(&mut self) -> io::Result<()> {
        self.read()?;
        self.events.push(Event::Restart);
        Ok(())
    }

    /// What the history checker judges.
    #[must_use]
    pub fn destination(&self) -> Destination {
        Destination { events: self.events.clone(), ..Destination::default() }
    }

    /// Opens every file in the order in which it was written. A rotation meanwhile could hide lines that are older than
    /// those of the new active file, so it starts over.
    fn open(&self) -> io::Result<Vec<(u64, File)>> {
        'listed: loop {
            let paths = paths(&self.directory)?;
            let mut files = Vec::new();
            for path in paths.values() {
                match File::open(path) {
                    Ok(file) => files.push((file.metadata()?.ino(), file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue 'listed,
                    Err(error) => return Err(error),
                }
            }
            if self::paths(&self.directory)? == paths {
                return Ok(files);
            }
        }
    }
}

/// The journal's files by index, then rotated files by their time, then the active one.
fn paths(directory: &Path) -> io::Result<BTreeMap<(String, bool, String), PathBuf>> {
    let mut paths = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `<index>.ndjson` or `<index>.<time>.ndjson`; the encoded index holds no dot.
        if let Some(stem) = name.strip_suffix(".ndjson") {
            let (index, time) = stem.split_once('.').unwrap_or((stem, ""));
            paths.insert((index.to_owned(), time.is_empty(), time.to_owned()), entry.path());
        }
    }
    Ok(paths)
}

fn applied(line: &[u8]) -> io::Result<Applied> {
    let parsed: Line = serde_json::from_slice(line).map_err(|error| {
        let text = String::from_utf8_lossy(line);
        io::Error::new(io::ErrorKind::InvalidData, format!("{error} in the line {text:?}"))
    })?;
    let Line { index, object_id, log_id, position, number, request_id, version, data } = parsed;
    let Position { partition, offset } = position;
    Ok(Applied {
        index: index.into(),
        object_id,
        sequence: data.and_then(|data| data.seq),
        request_id: Some(request_id),
        identity: Some(Identity { log_id, partition, position: offset, number }),
        version: Some(version),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write as _};

    use super::*;

    fn line(index: &str, position: u64, sequence: Option<u64>) -> String {
        let data = sequence
            .map_or(String::new(), |sequence| format!(r#","data":{{"name":"Anvil","seq":{sequence}}}"#));
        let action = if data.is_empty() { "delete" } else { "save" };
        format!(
            concat!(
                r#"{{"action":"{}","index":"{}","object_id":"k","log_id":"l","request_id":"r{}","#,
                r#""time":"2026-11-23T15:00:00.000001Z","position":{{"partition":0,"offset":{}}},"number":0,"#,
                r#""version":1795446000000001{}}}"#,
                "\n"
            ),
            action, index, position, position, data
        )
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn offsets(journal: &Journal) -> Vec<u64> {
        let operations = journal.events.iter().flat_map(|event| match event {
            Event::Batch { operations, .. } => operations.clone(),
            Event::Restart => Vec::new(),
        });
        operations.map(|applied| applied.identity.unwrap().position).collect()
    }

    /// Scenario: read, a half line, rotation, more lines, a restart that cuts the half line. Protects every scenario
    /// with a file destination: each line is seen once and in its order.
    #[test]
    fn follows_rotation_and_leaves_half_lines() {
        let directory = tempfile::tempdir().unwrap();
        let active = directory.path().join("a%2Fb.ndjson");
        let mut journal = Journal::new(directory.path().join("missing"));
        assert_eq!(journal.read().unwrap(), 0);

        let mut journal = Journal::new(directory.path());
        append(&active, &line("a/b", 1, Some(1)));
        assert_eq!(journal.read().unwrap(), 1);
        append(&active, &line("a/b", 2, None));
        fs::rename(&active, directory.path().join("a%2Fb.20261123T150000.000002Z.ndjson")).unwrap();
        append(&active, &line("a/b", 3, Some(3)));
        append(&active, &line("a/b", 4, Some(4))[..30]);
        append(&directory.path().join(".lock"), "no journal");
        assert_eq!(journal.read().unwrap(), 3);
        journal.restarted().unwrap();

        let file = OpenOptions::new().write(true).open(&active).unwrap();
        file.set_len(line("a/b", 3, Some(3)).len() as u64).unwrap();
        append(&active, &line("a/b", 5, Some(5)));
        assert_eq!(journal.read().unwrap(), 4);
        assert_eq!(offsets(&journal), [1, 2, 3, 5]);

        let events = journal.destination().events;
        let Event::Batch { operations, .. } = &events[1] else { panic!("{events:?}") };
        assert_eq!((&*operations[0].index, operations[0].sequence), ("a/b", None));
        assert_eq!((operations[1].sequence, operations[1].request_id.as_deref()), (Some(3), Some("r3")));
        assert!(matches!(events[2], Event::Restart));
    }

    /// Scenario: several rotated files, listed by the system in any order. Their times decide, not "active sorts first".
    #[test]
    fn rotated_files_come_first_and_by_time() {
        let directory = tempfile::tempdir().unwrap();
        for (name, position) in [
            ("x.ndjson", 3),
            ("x.20261123T150000.000009Z.ndjson", 2),
            ("x.20261122T235959.999999Z.ndjson", 1),
        ] {
            append(&directory.path().join(name), &line("x", position, Some(position)));
        }
        let mut journal = Journal::new(directory.path());
        journal.read().unwrap();
        assert_eq!(offsets(&journal), [1, 2, 3]);
    }

    /// A line that is not as documented is an error that shows it, never skipped.
    #[test]
    fn a_broken_line_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        append(&directory.path().join("x.ndjson"), "{\"action\":\"save\"}\n");
        let error = Journal::new(directory.path()).read().unwrap_err();
        assert!(error.to_string().contains("save"), "{error}");
    }
}
