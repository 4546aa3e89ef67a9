//! Bounds the bytes of all requests that are being received, decoded and appended, over all connections.
//!
//! A request takes its whole cost at once or nothing, so half-received requests cannot wait for each other. Small
//! requests have a part of the budget for themselves, so large ones that stall cannot starve them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

/// The bytes that requests may take together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    small: Arc<Pool>,
    large: Arc<Pool>,
}

/// Bytes that a request holds until it is answered; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    bytes: AtomicUsize,
}

/// No bytes became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

#[derive(Debug)]
struct Pool {
    free: Semaphore,
    bytes_max: usize,
}

/// A message of up to this many bytes is small.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// What a request costs besides its message: headers, tasks, buffers.
const REQUEST_BYTES: usize = 16 * 1024;
/// How long a request waits for others.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let small = bytes_max / 4;
        Self { small: Pool::new(small), large: Pool::new(bytes_max - small) }
    }

    /// Takes what a message of `message_bytes` costs: as much for its JSON as for itself. One that costs more than there
    /// is at all (the config's check refuses such limits) takes everything.
    ///
    /// # Errors
    /// If other requests held too much for a second.
    pub(crate) async fn lease(&self, message_bytes: usize) -> Result<Lease, Busy> {
        let pool = if message_bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large };
        let bytes = message_bytes.saturating_mul(2).saturating_add(REQUEST_BYTES).min(pool.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match timeout(WAIT_MAX, pool.free.acquire_many(permits)).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) | Err(_) => return Err(Busy),
        }
        Ok(Lease { pool: pool.clone(), bytes: AtomicUsize::new(permits as usize) })
    }

    /// Bytes in use now.
    pub(crate) fn leased(&self) -> usize {
        self.small.used() + self.large.used()
    }
}

impl Lease {
    /// One that nobody else takes from.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of_its_own(bytes_max: usize) -> Self {
        Self { pool: Pool::new(bytes_max), bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` more without waiting: who already holds bytes must not wait for others who do.
    ///
    /// # Errors
    /// If they are not free.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), Busy> {
        let permits = u32::try_from(bytes).map_err(|_| Busy)?;
        self.pool.free.try_acquire_many(permits).map_err(|_| Busy)?.forget();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free.add_permits(*self.bytes.get_mut());
    }
}

impl Pool {
    fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { free: Semaphore::new(bytes_max), bytes_max })
    }

    fn used(&self) -> usize {
        self.bytes_max - self.free.available_permits()
    }
}
