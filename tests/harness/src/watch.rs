//! Tells what happens to the files of a few directories, as it happens (inotify): so that a scenario can strike in the
//! middle of something that takes a millisecond, and count what it would otherwise have to guess.

use std::{collections::VecDeque, io, path::Path};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// The fixed part of an event as the kernel writes it: watch, flags, cookie, length of the name.
const HEADER_BYTES: usize = 16;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created under this name.
    Created,
    /// It was written to or cut; several times in a row may be told as one.
    Written,
    /// It was renamed to this name.
    Named,
    /// It was removed.
    Removed,
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The file's name within its directory.
    pub name: String,
}

/// Watches directories from its creation on.
#[derive(Debug)]
pub struct Watch {
    /// Not a pipe, but it is read like one.
    queue: Receiver,
    read: VecDeque<Event>,
}

impl Watch {
    /// Watches these directories, which must exist; not what lies below them.
    ///
    /// # Errors
    /// If one of them cannot be watched.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(directories: &[&Path]) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        for directory in directories {
            let entries = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            let changes = entries | WatchFlags::MODIFY | WatchFlags::ONLYDIR;
            inotify::add_watch(&queue, *directory, changes)?;
        }
        Ok(Self { queue: Receiver::from_owned_fd_unchecked(queue)?, read: VecDeque::new() })
    }

    /// The next change, in their order. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// If the system fails.
    pub async fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            self.queue.readable().await?;
            self.read()?;
        }
    }

    /// Everything that has happened so far.
    ///
    /// # Errors
    /// If the system fails.
    pub fn drain(&mut self) -> io::Result<Vec<Event>> {
        self.read()?;
        Ok(self.read.drain(..).collect())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.queue.try_read(&mut buffer) {
                Ok(length) => parse(&buffer[..length], &mut self.read)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads whole events, as inotify(7) describes them.
fn parse(mut bytes: &[u8], events: &mut VecDeque<Event>) -> io::Result<()> {
    while let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) {
        let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let (name, rest) = rest.split_at(number(12) as usize);
        bytes = rest;
        let flags = ReadFlags::from_bits_retain(number(4));
        let change = if flags.contains(ReadFlags::CREATE) {
            Change::Created
        } else if flags.contains(ReadFlags::MODIFY) {
            Change::Written
        } else if flags.contains(ReadFlags::MOVED_TO) {
            Change::Named
        } else if flags.contains(ReadFlags::DELETE) {
            Change::Removed
        } else if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Err(io::Error::other("more changes than the system keeps: read them sooner"));
        } else {
            continue;
        };
        // The name is padded with zeros.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        events.push_back(Event { change, name: String::from_utf8_lossy(name).into_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    /// Protects what scenarios count: every change is told, in order, with the name that it led to, and waiting for one
    /// ends with it.
    #[tokio::test]
    async fn tells_what_happens_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("earlier"), "").unwrap();
        let mut watch = Watch::new(&[path]).unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, watch.next()).await.is_err());

        fs::write(path.join("a.tmp"), "a").unwrap();
        fs::rename(path.join("a.tmp"), path.join("a")).unwrap();
        fs::remove_file(path.join("earlier")).unwrap();
        let event = |change, name: &str| Event { change, name: name.to_owned() };
        assert_eq!(watch.next().await.unwrap(), event(Change::Created, "a.tmp"));
        let rest =
            [event(Change::Written, "a.tmp"), event(Change::Named, "a"), event(Change::Removed, "earlier")];
        assert_eq!(watch.drain().unwrap(), rest);
        assert_eq!(watch.drain().unwrap(), []);

        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/unseen"), "").unwrap();
        assert_eq!(watch.next().await.unwrap(), event(Change::Created, "sub"));
        assert_eq!(watch.drain().unwrap(), []);
        assert!(Watch::new(&[&path.join("missing")]).is_err());
    }
}
