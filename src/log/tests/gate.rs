//! Holds the fdatasync of one file, so that a test sees what the log does before it returns, and decides what it
//! returns.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::DEADLINE;

/// A file whose next fdatasync is held. Dropping the gate lets everything pass.
pub(super) struct Gate {
    inode: u64,
}

#[derive(Clone, Copy)]
enum State {
    Armed,
    Reached,
    Released(Option<i32>),
}

static GATES: Mutex<BTreeMap<u64, State>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

impl Gate {
    pub(super) fn hold(path: &Path) -> Self {
        let inode = path.metadata().unwrap().ino();
        gates().insert(inode, State::Armed);
        Self { inode }
    }

    /// Waits until the log wants to sync the file.
    pub(super) fn reached(&self) {
        let armed = |gates: &mut BTreeMap<u64, State>| matches!(gates.get(&self.inode), Some(State::Armed));
        let waited = CHANGED.wait_timeout_while(gates(), DEADLINE, armed);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "nobody syncs");
    }

    /// Lets the sync happen.
    pub(super) fn release(self) {
        set(self.inode, State::Released(None));
    }

    /// Lets the sync fail.
    pub(super) fn fail(self) {
        const EIO: i32 = 5;
        set(self.inode, State::Released(Some(EIO)));
        // The sync itself takes the state away.
        std::mem::forget(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        set(self.inode, State::Released(None));
    }
}

/// Called before every fdatasync of the log.
pub(in crate::log) fn pass(file: &File) -> io::Result<()> {
    let mut gates = gates();
    if gates.is_empty() {
        return Ok(());
    }
    let inode = file.metadata()?.ino();
    if !gates.contains_key(&inode) {
        return Ok(());
    }
    if let Some(state @ State::Armed) = gates.get_mut(&inode) {
        *state = State::Reached;
        CHANGED.notify_all();
    }
    let held =
        |gates: &mut BTreeMap<u64, State>| matches!(gates.get(&inode), Some(State::Armed | State::Reached));
    let (mut gates, _) =
        CHANGED.wait_timeout_while(gates, DEADLINE, held).unwrap_or_else(PoisonError::into_inner);
    match gates.remove(&inode) {
        Some(State::Released(Some(error))) => Err(io::Error::from_raw_os_error(error)),
        _ => Ok(()),
    }
}

fn set(inode: u64, state: State) {
    let mut gates = gates();
    match gates.get_mut(&inode) {
        Some(State::Reached) => gates.insert(inode, state),
        // Nobody waits: whoever comes passes.
        _ => gates.remove(&inode),
    };
    CHANGED.notify_all();
}

fn gates() -> MutexGuard<'static, BTreeMap<u64, State>> {
    GATES.lock().unwrap_or_else(PoisonError::into_inner)
}
