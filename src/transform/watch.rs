//! Hot swap: follows what lies at the modules' paths, and lets it serve once it has passed every check.
//!
//! One thread of low priority looks, compiles and swaps. It looks when the system tells of a change in one of the
//! directories that decide which file a path means, and from time to time, since some mounts tell nothing. A file is
//! read when it has been left alone for a moment, whole, so that nothing half-written is compiled; what is refused, gone
//! or unreadable leaves the module serving that serves. Between two looks only the newest content counts.

mod file;

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

pub use self::file::ReadError;
pub(super) use self::file::{Stamp, read_settled};
use super::{
    load::{Refusal, STACK_BYTES},
    modules::{Followed, ModuleStatus, Modules, QUIET, Refused},
    outcome::Digest,
};
use crate::runtime::{
    Stop, TaskKind, Tasks,
    watch::{Directories, directories},
};

/// When the files are looked at.
#[derive(Clone, Copy, Debug)]
pub struct WatchSettings {
    /// Without any event; contents are compared then.
    pub poll_interval: Duration,
    /// How long a file must have been left alone before it is read.
    pub quiet: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { poll_interval: Duration::from_secs(30), quiet: QUIET }
    }
}

/// The priority of the thread: compiling must not slow down what serves.
const NICE: i32 = 10;

impl Modules {
    /// Follows the files until the stop; what is being compiled then is given up.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn watch(self, settings: WatchSettings, stop: Stop, tasks: &Tasks) -> std::io::Result<()> {
        let (wake, woken) = sync_channel(1);
        let (end, ended) = oneshot::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            directories: Directories::new(wake.clone()),
            pending: vec![None; self.followed.len()],
            modules: self,
            settings,
            woken,
            stopped: stopped.clone(),
        };
        let thread = thread::Builder::new()
            .name("transform-watch".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _end: oneshot::Sender<()> = end;
                watcher.run();
            })?;
        tasks.spawn(TaskKind::Upkeep, "transforms", attend(thread, ended, wake, stopped, stop));
        Ok(())
    }
}

/// Ends the thread at the stop, without waiting for what it compiles; a panic there is one here.
async fn attend(
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    wake: SyncSender<()>,
    stopped: Arc<AtomicBool>,
    stop: Stop,
) {
    tokio::select! {
        biased;
        // A stop first: after it, the thread's end is none of its own.
        () = stop.cancelled() => {
            stopped.store(true, Ordering::Relaxed);
            let _ = wake.try_send(());
        }
        _ = ended => if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    }
}

/// What was last seen at a path, not yet for long enough.
type Pending = Option<(Result<Stamp, ReadError>, Instant)>;

struct Watcher {
    modules: Modules,
    /// One for each module.
    pending: Vec<Pending>,
    directories: Directories,
    settings: WatchSettings,
    woken: Receiver<()>,
    stopped: Arc<AtomicBool>,
}

impl Watcher {
    fn run(mut self) {
        // On Linux, 0 is the calling thread. Without it, compiling only is less polite.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "priority cannot be lowered");
        }
        let mut next_poll = Instant::now() + self.settings.poll_interval;
        loop {
            // The watches first: what changes after the look then makes an event.
            let paths = self.modules.followed.iter().map(|followed| &followed.path);
            self.directories.watch(&paths.flat_map(|path| directories(path)).collect());
            let now = Instant::now();
            let poll = now >= next_poll;
            if poll {
                next_poll = now + self.settings.poll_interval;
            }
            for at in 0..self.pending.len() {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(seen) = self.look(at, now, poll) {
                    self.deal_with(at, seen);
                }
            }
            let ripe = |pending: &Pending| pending.as_ref().map(|(_, since)| *since + self.settings.quiet);
            let next = self.pending.iter().filter_map(ripe).fold(next_poll, Instant::min);
            match self.woken.recv_timeout(next.saturating_duration_since(Instant::now())) {
                // A directory may be busy with other things.
                Ok(()) => thread::sleep(self.settings.quiet / 10),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What lies at a path now, if it is new and has been left alone for long enough.
    fn look(&mut self, at: usize, now: Instant, poll: bool) -> Option<Result<Stamp, ReadError>> {
        let followed = &self.modules.followed[at];
        let seen = file::stamp(&followed.path);
        match &self.pending[at] {
            Some((pending, since)) if *pending == seen => {
                if now.saturating_duration_since(*since) >= self.settings.quiet {
                    self.pending[at] = None;
                    return Some(seen);
                }
            }
            None if followed.seen == seen && !(poll && differs(followed)) => {}
            Some(_) | None => self.pending[at] = Some((seen, now)),
        }
        None
    }

    /// Lets what lies at a path serve, or tells why it does not.
    fn deal_with(&mut self, at: usize, seen: Result<Stamp, ReadError>) {
        let followed = &mut self.modules.followed[at];
        let read = seen.clone().and_then(|stamp| file::read(&followed.path, &stamp));
        if let Err(ReadError::Changing) = read {
            self.pending[at] = Some((file::stamp(&followed.path), Instant::now()));
            return;
        }
        followed.seen = seen;
        followed.read = read.as_deref().ok().map(Digest::of);
        let wasm = match read {
            Ok(wasm) => wasm,
            Err(error) => return self.refuse(at, None, error.into()),
        };
        let digest = Digest::of(&wasm);
        let status = self.modules.status.borrow()[at].clone();
        let refused = status.refused.as_ref().and_then(|refused| refused.module);
        if status.module == digest {
            self.is_back(at, &status);
        } else if refused != Some(digest) {
            self.swap(at, &wasm, digest);
        }
    }

    fn swap(&mut self, at: usize, wasm: &[u8], digest: Digest) {
        let start = Instant::now();
        let followed = &self.modules.followed[at];
        let Followed { slot, sha256, .. } = followed;
        match self.modules.loader.load(wasm, digest, *sha256, slot) {
            Ok(module) if !self.stopped.load(Ordering::Relaxed) => {
                self.modules.loader.keep(slot.name(), wasm);
                let generation = slot.swap(module);
                let milliseconds = start.elapsed().as_millis();
                tracing::info!(transform = %slot.name(), module = %digest, generation, milliseconds, "transform swapped");
                let since = self.modules.clock.now();
                self.update(at, |status| {
                    *status =
                        ModuleStatus { module: digest, generation, since, refused: None, ..status.clone() };
                });
            }
            Ok(_) => {}
            Err(reason) => self.refuse(at, Some(digest), reason),
        }
    }

    /// What serves lies in its place again, after something else.
    fn is_back(&self, at: usize, status: &ModuleStatus) {
        if status.refused.is_some() {
            let ModuleStatus { transform, module, .. } = status;
            tracing::info!(%transform, %module, "the module that serves is in its place again");
            self.update(at, |status| status.refused = None);
        }
    }

    fn refuse(&self, at: usize, module: Option<Digest>, reason: Refusal) {
        let Followed { slot, path, .. } = &self.modules.followed[at];
        let serving = self.modules.status.borrow()[at].module;
        let (transform, path) = (slot.name(), path.display());
        match module {
            Some(module) => tracing::error!(
                %transform, %path, %module, %reason, %serving,
                "new module of a transform is refused, the one before goes on serving",
            ),
            None => tracing::error!(
                %transform, %path, %reason, %serving,
                "module of a transform is gone, the one before goes on serving until the agent is restarted",
            ),
        }
        let since = self.modules.clock.now();
        self.update(at, |status| status.refused = Some(Refused { module, since, reason }));
    }

    fn update(&self, at: usize, change: impl FnOnce(&mut ModuleStatus)) {
        self.modules.status.send_modify(|status| change(&mut status[at]));
    }
}

/// Whether the content is another although the system says that nothing has changed.
fn differs(followed: &Followed) -> bool {
    let Ok(stamp) = &followed.seen else { return false };
    match file::read(&followed.path, stamp) {
        Ok(wasm) => followed.read != Some(Digest::of(&wasm)),
        Err(ReadError::Changing) => true,
        Err(_) => followed.read.is_some(),
    }
}

#[cfg(test)]
mod tests;
