//! Which file an operation goes to: the active file of its index, opened, rotated and closed as needed.
//!
//! Everything here blocks. One batch at a time: whoever holds the journal has it alone until its batch is on disk.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use plugin_api::operation::Operation;

use crate::{
    active::Active, classify::JournalError, directory::Directory, encode::Encoder, name, settings::Settings,
};

/// Bytes of the encoding buffer that are kept from one batch to the next, inclusive.
const BUFFER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The files of one directory.
#[derive(Debug)]
pub(crate) struct Journal {
    settings: Settings,
    directory: Option<Directory>,
    /// Every index met so far (the agent bounds their number); at most `open_files_max` of the files are open.
    active: HashMap<Arc<str>, Active>,
    uses: u64,
    encoder: Encoder,
    buffer: Vec<u8>,
}

impl Journal {
    /// Touches nothing on disk yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            directory: None,
            active: HashMap::new(),
            uses: 0,
            encoder: Encoder::default(),
            buffer: Vec::new(),
        }
    }

    /// Writes the operations down, each index's in their order; they are on disk when this returns. After an error
    /// the same operations must come again.
    pub(crate) fn append(&mut self, operations: &[Operation], now: SystemTime) -> Result<(), JournalError> {
        self.enter_directory()?;
        self.active.values_mut().for_each(Active::distrust);
        for (index, operations) in by_index(operations) {
            self.buffer.clear();
            for operation in operations {
                self.encoder.line(&mut self.buffer, operation);
            }
            self.rotate_if_due(index, now)?;
            self.write_to(index)?;
        }
        self.buffer.shrink_to(BUFFER_BYTES_MAX);
        // Only now, so that the file system commits the changes of all files together.
        self.active.values_mut().try_for_each(Active::sync)?;
        self.sync_directory()
    }

    /// Whether the directory takes writes.
    pub(crate) fn probe(&mut self) -> Result<(), JournalError> {
        self.enter_directory()?.probe()
    }

    /// Opens and locks the directory, anew if it was replaced: what was known of its files is then void.
    fn enter_directory(&mut self) -> Result<&mut Directory, JournalError> {
        let directory = match self.directory.take().filter(Directory::is_in_place) {
            Some(directory) => directory,
            None => {
                self.active.clear();
                Directory::open(&self.settings.dir)?
            }
        };
        Ok(self.directory.insert(directory))
    }

    fn touch_directory(&mut self) {
        self.directory.iter_mut().for_each(Directory::touch);
    }

    fn sync_directory(&mut self) -> Result<(), JournalError> {
        self.directory.as_mut().map_or(Ok(()), Directory::sync)
    }

    /// Renames the active file if the lines in the buffer would make it too large or if it is too old.
    fn rotate_if_due(&mut self, index: &Arc<str>, now: SystemTime) -> Result<(), JournalError> {
        let bytes = self.buffer.len() as u64;
        let Settings { rotate_bytes, rotate_age, .. } = self.settings;
        let active = self.ready(index)?;
        let due = active.bytes().saturating_add(bytes) > rotate_bytes || active.age(now) >= rotate_age;
        if active.bytes() == 0 || !due {
            return Ok(());
        }
        let path = active.path().to_owned();
        let rotated = self.free_name(index, now);
        fs::rename(&path, &rotated).map_err(JournalError::io("rotate", &path))?;
        self.active.remove(index);
        // On disk before the name is given to a new file, or a power loss could leave only that one.
        self.touch_directory();
        self.sync_directory()
    }

    fn write_to(&mut self, index: &Arc<str>) -> Result<(), JournalError> {
        let lines = std::mem::take(&mut self.buffer);
        let written = self.ready(index).and_then(|active| active.write(&lines));
        self.buffer = lines;
        written
    }

    /// The index's file, open and free of anything unconfirmed.
    fn ready(&mut self, index: &Arc<str>) -> Result<&mut Active, JournalError> {
        if !self.active.get(index).is_some_and(Active::is_open) {
            self.close_least_used()?;
        }
        let known = match self.active.get_mut(index) {
            Some(active) => active.resume()?,
            None => false,
        };
        if !known {
            let active = Active::open(self.settings.dir.join(name::active(index)))?;
            self.active.insert(Arc::clone(index), active);
            self.touch_directory();
        }
        self.uses += 1;
        let active = self.active.get_mut(index).expect("it was found or inserted above");
        active.used = self.uses;
        Ok(active)
    }

    /// Makes room for one more open file.
    fn close_least_used(&mut self) -> Result<(), JournalError> {
        let open = self.active.values().filter(|active| active.is_open()).count();
        if open >= self.settings.open_files_max.max(1) {
            let open = self.active.values_mut().filter(|active| active.is_open());
            open.min_by_key(|active| active.used).map_or(Ok(()), Active::close)?;
        }
        Ok(())
    }

    /// A name that no file has. Nobody else makes files here: the directory is locked.
    fn free_name(&self, index: &str, now: SystemTime) -> PathBuf {
        let mut at = now;
        loop {
            let time = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::MAX);
            let path = self.settings.dir.join(name::rotated(index, time));
            if fs::symlink_metadata(&path).is_err() {
                return path;
            }
            at += Duration::from_micros(1);
        }
    }
}

/// The operations of each index in their order; the indexes as they come.
fn by_index(operations: &[Operation]) -> Vec<(&Arc<str>, Vec<&Operation>)> {
    let mut groups: Vec<(&Arc<str>, Vec<&Operation>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for operation in operations {
        let index = &operation.key.index;
        let place = *places.entry(index).or_insert_with(|| {
            groups.push((index, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(operation);
    }
    groups
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plugin_api::{
        identity::{LogId, Position, RequestId, Timestamp, Version},
        operation::{Action, Key, Source},
    };
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    fn operation(offset: u64) -> Operation {
        Operation {
            action: Action::Save,
            key: Key { index: "a".into(), object_id: "1".into() },
            body: Bytes::from_static(b"{}"),
            version: Version(offset),
            record_index: "a".into(),
            origin: None,
            source: Source {
                log_id: LogId(Uuid::nil()),
                position: Position { partition: 0, offset },
                number: 0,
                request_id: RequestId(Uuid::nil()),
                accepted_at: Timestamp(0),
                caller: None,
            },
        }
    }

    fn files(dir: &TempDir) -> Vec<String> {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".ndjson"));
        names.sort();
        names
    }

    /// A clock that stands still or goes back gives the same name twice: neither file is lost (G3).
    #[test]
    fn a_rotated_file_is_never_overwritten() {
        let dir = TempDir::new().unwrap();
        let mut journal = Journal::new(Settings { rotate_bytes: 1, ..Settings::new(dir.path()) });
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_446_000_000_000);
        for offset in 0..3 {
            journal.append(&[operation(offset)], now).unwrap();
        }
        assert_eq!(
            files(&dir),
            ["a.20261123T150000.000000Z.ndjson", "a.20261123T150000.000001Z.ndjson", "a.ndjson"]
        );
        for (file, offset) in files(&dir).into_iter().zip(0..) {
            let text = fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(text.contains(&format!("\"offset\":{offset}}}")), "{text}");
        }
    }

    /// The age counts from the file's creation, and a clock that goes back makes nothing old.
    #[test]
    fn rotates_when_the_file_is_old_enough() {
        let dir = TempDir::new().unwrap();
        let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 60 * 60));
        let mut journal = Journal::new(Settings { rotate_age: day, ..Settings::new(dir.path()) });
        journal.append(&[operation(0)], now).unwrap();
        journal.append(&[operation(1)], now + day - Duration::from_secs(60)).unwrap();
        journal.append(&[operation(2)], now - day).unwrap();
        assert_eq!(files(&dir).len(), 1);
        journal.append(&[operation(3)], now + day + Duration::from_secs(60)).unwrap();
        assert_eq!(files(&dir).len(), 2);
    }
}
