//! Holds the next fdatasync of the log, so that a test sees what the log does before it returns, and decides what it
//! returns.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    DEADLINE,
    faulty::{Call, Faulty},
};

/// A held fdatasync. Dropping the gate lets everything pass.
pub(super) struct Gate(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Armed,
    Reached,
    Released,
    Failing,
}

impl Gate {
    pub(super) fn hold(disk: &Faulty) -> Self {
        let shared = Arc::new(Shared { state: Mutex::new(State::Armed), changed: Condvar::new() });
        let gate = Self(shared.clone());
        disk.set(move |call, _| match call {
            Call::SyncData => shared.pass(),
            _ => Ok(()),
        });
        gate
    }

    /// Waits until the log wants to sync.
    pub(super) fn reached(&self) {
        assert_eq!(self.0.wait_while(&[State::Armed]), State::Reached, "nobody syncs");
    }

    /// Lets the sync happen.
    pub(super) fn release(self) {
        drop(self);
    }

    /// Lets the sync fail.
    pub(super) fn fail(self) {
        self.0.set(State::Failing);
        // The sync itself takes the state away.
        std::mem::forget(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.set(State::Released);
    }
}

impl Shared {
    /// The first sync is held; later ones pass.
    fn pass(&self) -> io::Result<()> {
        {
            let mut state = self.lock();
            if *state != State::Armed {
                return Ok(());
            }
            *state = State::Reached;
        }
        self.changed.notify_all();
        match self.wait_while(&[State::Reached]) {
            State::Failing => {
                self.set(State::Released);
                Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
            }
            _ => Ok(()),
        }
    }

    fn wait_while(&self, states: &[State]) -> State {
        let waited = self.changed.wait_timeout_while(self.lock(), DEADLINE, |state| states.contains(state));
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
