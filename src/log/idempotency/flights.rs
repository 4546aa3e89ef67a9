//! Who is first with a key: a request claims it, and whoever comes with the same key waits for the claim to end.
//!
//! A claim travels with its request through the queue to the writer, which completes it after the fdatasync. However
//! the request ends otherwise (refused, poisoned, its call dropped before it was queued, the writer gone), the claim
//! is dropped, and whoever waits tries for itself. So nobody waits for anything but the request itself, and a call
//! that is dropped after its request was queued changes nothing.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::{
    key::{Accepted, Fingerprint, Key, ShortDigest},
    table::{Remembered, Table},
};
use crate::{log::interface::Appended, runtime::Clock};

/// The keys of an open log.
pub(in crate::log) struct Idempotency {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    table: Table,
    flights: FxHashMap<Fingerprint, Flight>,
}

/// A request on its way to the disk.
struct Flight {
    digest: [u8; 32],
    /// Made when the first one waits.
    outcome: Option<watch::Sender<Option<Appended>>>,
}

/// The right, and the duty, to end what the others with this key wait for: by [`Claim::complete`] or by a drop.
pub(in crate::log) struct Claim {
    keys: Arc<Idempotency>,
    key: Key,
    digest: [u8; 32],
    ended: bool,
}

/// What is known of a key.
#[derive(Debug)]
pub(in crate::log) enum Found {
    /// It was accepted.
    Accepted(Remembered),
    /// It is on its way.
    InFlight(InFlight),
}

/// A request of somebody else.
#[derive(Debug)]
pub(in crate::log) struct InFlight {
    digest: [u8; 32],
    outcome: watch::Receiver<Option<Appended>>,
}

impl Idempotency {
    pub(in crate::log) fn new(table: Table, clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State { table, flights: FxHashMap::default() }) }
    }

    /// Looks a key up.
    pub(in crate::log) fn find(&self, key: Key) -> Option<Found> {
        self.state().find(key)
    }

    /// Claims a key that nobody else has.
    pub(in crate::log) fn claim(self: &Arc<Self>, key: Key, digest: [u8; 32]) -> Result<Claim, Found> {
        let mut state = self.state();
        if let Some(found) = state.find(key) {
            return Err(found);
        }
        state.flights.insert(key.fingerprint, Flight { digest, outcome: None });
        drop(state);
        Ok(Claim { keys: self.clone(), key, digest, ended: false })
    }

    /// How many keys are remembered, and how far back every one is.
    pub(in crate::log) fn size(&self) -> (usize, Duration) {
        let state = self.state();
        (state.table.keys(), state.table.reach())
    }

    /// The state, at this moment of the clock: it is looked at under the lock, so that no two look at it in another
    /// order than they come.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.table.advance(self.clock.now());
        state
    }
}

impl State {
    fn find(&mut self, key: Key) -> Option<Found> {
        if let Some(Flight { digest, outcome }) = self.flights.get_mut(&key.fingerprint) {
            let outcome = outcome.get_or_insert_with(|| watch::Sender::new(None)).subscribe();
            return Some(Found::InFlight(InFlight { digest: *digest, outcome }));
        }
        self.table.find(key).map(Found::Accepted)
    }
}

impl Claim {
    /// What there is to remember of the request with this first record.
    pub(in crate::log) fn accepted(&self, offset: u64, version: u64) -> Accepted {
        Accepted { key: self.key, digest: ShortDigest::of(&self.digest), offset, version }
    }

    /// The request is safe on disk.
    pub(in crate::log) fn complete(mut self, appended: Appended) {
        let mut state = self.keys.state();
        state.table.insert(&self.accepted(appended.position.offset, appended.version.0));
        let flight = state.flights.remove(&self.key.fingerprint);
        drop(state);
        self.ended = true;
        if let Some(outcome) = flight.and_then(|flight| flight.outcome) {
            outcome.send_replace(Some(appended));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.ended {
            let flight = self.keys.state().flights.remove(&self.key.fingerprint);
            // Wakes whoever waits, without the lock.
            drop(flight);
        }
    }
}

impl InFlight {
    /// Waits for the outcome: what was accepted, with the digest of its content; `None` if it was not accepted.
    pub(in crate::log) async fn outcome(mut self) -> Option<(Appended, [u8; 32])> {
        let appended = *self.outcome.wait_for(Option::is_some).await.ok()?;
        appended.map(|appended| (appended, self.digest))
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency").finish_non_exhaustive()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}
