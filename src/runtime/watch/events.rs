//! Directories under watch. Their events only say when to look, so one that is lost costs time until the next poll.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

/// The directories, each with what it was when it was put under watch: one that is made anew needs a new watch.
#[derive(Debug)]
pub struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, (u64, u64)>,
    told: bool,
}

impl Directories {
    /// None yet; each event leaves a token, of which one in the channel is enough.
    #[must_use]
    pub fn new(wake: SyncSender<()>) -> Self {
        let wake = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(&event.kind)) {
                let _ = wake.try_send(());
            }
        };
        let mut directories = Self { watcher: None, watched: BTreeMap::new(), told: false };
        match notify::recommended_watcher(wake) {
            Ok(watcher) => directories.watcher = Some(watcher),
            Err(error) => directories.tell(Path::new(""), &error),
        }
        directories
    }

    /// Watches these directories from now on, and no others.
    pub fn watch(&mut self, wanted: &BTreeSet<PathBuf>) {
        let Some(mut watcher) = self.watcher.take() else { return };
        let now: BTreeMap<PathBuf, (u64, u64)> = wanted
            .iter()
            .filter_map(|path| {
                let metadata = fs::metadata(path).ok()?;
                Some((path.clone(), (metadata.dev(), metadata.ino())))
            })
            .collect();
        for (path, identity) in std::mem::take(&mut self.watched) {
            if now.get(&path) == Some(&identity) {
                self.watched.insert(path, identity);
            } else {
                // The system has dropped the watch if the directory is gone.
                let _ = watcher.unwatch(&path);
            }
        }
        for (path, identity) in now {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path, identity)),
                Err(error) => self.tell(&path, &error),
            }
        }
        self.watcher = Some(watcher);
    }

    /// Once: polling goes on.
    fn tell(&mut self, path: &Path, error: &notify::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                path = %path.display(), %error,
                "directory cannot be watched: changes are found by looking from time to time",
            );
        }
    }
}

/// Reading the file is none, and the watcher itself reads it.
fn is_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, sync_channel},
        time::Duration,
    };

    use super::*;

    fn told(woken: &Receiver<()>) -> bool {
        woken.recv_timeout(Duration::from_secs(20)).is_ok()
    }

    /// A directory that was removed and made anew between two looks is another one under the same name.
    #[test]
    fn a_directory_that_is_made_anew_is_watched_anew() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("dir");
        let wanted = BTreeSet::from([dir.clone()]);
        let (wake, woken) = sync_channel(1);
        let mut directories = Directories::new(wake);
        fs::create_dir(&dir).unwrap();
        directories.watch(&wanted);
        fs::write(dir.join("a"), "").unwrap();
        assert!(told(&woken));

        // The other is made first, so that it cannot get the inode of the one that goes.
        fs::create_dir(folder.path().join("other")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(folder.path().join("other"), &dir).unwrap();
        directories.watch(&wanted);
        while woken.recv_timeout(Duration::from_millis(200)).is_ok() {}
        fs::write(dir.join("a"), "").unwrap();
        assert!(told(&woken));
    }
}
