//! Watches the config and the files that it names for its secrets and certificates: whoever changes one of them wants it to
//! serve.
//!
//! It only says when to look, and says it once for each new content that has been left alone for a moment; contents are
//! also compared from time to time, since some mounts send no events.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;

use crate::{
    config::{Config, Secret, SecretSource, Tls},
    runtime::{
        Stop,
        watch::{Directories, directories},
    },
};

/// How long a file must have been left alone: an editor or a copy may be in the middle of it.
const QUIET: Duration = Duration::from_millis(150);
/// How often contents are compared without any event.
const POLL: Duration = Duration::from_secs(30);

/// The files that are followed; a reload may name others.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    paths: Arc<Mutex<BTreeSet<PathBuf>>>,
    wake: SyncSender<()>,
}

impl Followed {
    /// Follows other files from now on.
    pub(super) fn set(&self, paths: BTreeSet<PathBuf>) {
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner) = paths;
        let _ = self.wake.try_send(());
    }
}

/// The files that a config is read from: its own, its secrets' and its certificates'.
pub(super) fn files_of(path: Option<&PathBuf>, config: &Config) -> BTreeSet<PathBuf> {
    let of_secret = |secret: &Secret| match &secret.source {
        SecretSource::File(path) => Some(path.clone()),
        SecretSource::Env(_) => None,
    };
    let mut files: BTreeSet<PathBuf> = path.cloned().into_iter().collect();
    files.extend(config.listen.tls.iter().flat_map(Tls::files).map(Path::to_owned));
    for destination in &config.destinations {
        files.extend(destination.secrets().into_iter().filter_map(of_secret));
        files.extend(destination.ca_file().map(|file| file.path.clone()));
    }
    files
}

/// Follows files on a thread of its own until the stop; each change of a content is told once.
pub(super) fn follow(paths: BTreeSet<PathBuf>, stop: &Stop) -> io::Result<(Followed, mpsc::Receiver<()>)> {
    let (wake, woken) = sync_channel(1);
    let (changed, changes) = mpsc::channel(1);
    let stopped = Arc::new(AtomicBool::new(false));
    let followed = Followed { paths: Arc::new(Mutex::new(paths)), wake: wake.clone() };
    let follower = Follower {
        directories: Directories::new(wake.clone()),
        // Nothing yet: the files may have changed since the agent read them.
        told: [0; 32],
        followed: followed.clone(),
        woken,
        changed,
        stopped: stopped.clone(),
    };
    thread::Builder::new().name("config-watch".to_owned()).spawn(move || follower.run())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        stopped.store(true, Ordering::Relaxed);
        let _ = wake.try_send(());
    });
    Ok((followed, changes))
}

impl Followed {
    fn paths(&self) -> BTreeSet<PathBuf> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Follower {
    followed: Followed,
    directories: Directories,
    /// What was told last.
    told: [u8; 32],
    woken: Receiver<()>,
    changed: mpsc::Sender<()>,
    stopped: Arc<AtomicBool>,
}

impl Follower {
    fn run(mut self) {
        let mut pending: Option<([u8; 32], Instant)> = None;
        loop {
            let paths = self.followed.paths();
            // The watches first: what changes after the look then makes an event.
            self.directories.watch(&paths.iter().flat_map(|path| directories(path)).collect());
            let (now, seen) = (Instant::now(), contents(&paths));
            pending = match pending {
                _ if seen == self.told => None,
                Some((content, since)) if content == seen && now.duration_since(since) >= QUIET => {
                    self.told = seen;
                    if self.changed.blocking_send(()).is_err() {
                        return;
                    }
                    None
                }
                Some((content, since)) if content == seen => Some((content, since)),
                _ => Some((seen, now)),
            };
            let wait = if pending.is_some() { QUIET } else { POLL };
            match self.woken.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// A digest of all of them; a file that cannot be read has a content of its own.
fn contents(paths: &BTreeSet<PathBuf>) -> [u8; 32] {
    let mut all = Vec::new();
    for path in paths {
        match fs::read(path) {
            Ok(content) => all.extend_from_slice(digest(&SHA256, &content).as_ref()),
            Err(error) => all.extend_from_slice(format!("{:?}", error.kind()).as_bytes()),
        }
        all.push(0);
    }
    let mut whole = [0; 32];
    whole.copy_from_slice(digest(&SHA256, &all).as_ref());
    whole
}
