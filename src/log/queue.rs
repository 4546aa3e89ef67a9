//! Requests on their way to the writer: bounded in bytes, taken all at once.
//!
//! One lock and at most one wake-up a request; while the writer is busy nobody wakes it.

use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, oneshot};

use super::{
    answers::Answer,
    frame,
    idempotency::Claim,
    interface::{Append, AppendError, Appended},
};

/// Bytes that wait at most, beside a single request that is larger; the writer takes as much into one write group.
pub(super) const QUEUE_BYTES_MAX: usize = 8 << 20;

/// What a waiting request costs besides its frame.
const OVERHEAD_BYTES: usize = 256;

/// A request, whom to answer, and its claim to its idempotency key.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: Append,
    /// CRC32C of its payload.
    pub(super) payload_checksum: u32,
    pub(super) answer: Answer,
    pub(super) claim: Option<Claim>,
}

/// Many put, one takes.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Pending>,
    /// Permits to give back once the waiting ones are taken.
    permits: usize,
    closed: bool,
    taker_sleeps: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), room: Semaphore::new(QUEUE_BYTES_MAX) }
    }

    /// Waits for room and puts a request in; returns whence its answer comes.
    pub(super) async fn put(
        &self,
        mut request: Append,
        claim: Option<Claim>,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, AppendError> {
        // Here, where many can do it at once, and not in the writer.
        let payload = &mut request.payload;
        if payload.capacity() > payload.len() + payload.len() / 4 {
            // It stays in memory for readers, and its length is what counts there.
            payload.shrink_to_fit();
        }
        let payload_checksum = crc32c::crc32c(&request.payload);
        let cost = (frame::size_of(&request) + OVERHEAD_BYTES).min(QUEUE_BYTES_MAX);
        let permits = u32::try_from(cost).expect("bounded by QUEUE_BYTES_MAX");
        let room = self.room.acquire_many(permits).await.map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if state.closed {
            return Err(AppendError::Closed);
        }
        state.waiting.push(Pending { request, payload_checksum, answer, claim });
        state.permits += cost;
        room.forget();
        let wake = mem::take(&mut state.taker_sleeps);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(answered)
    }

    /// Waits for requests and moves all of them to `taken`, which is empty; `false` once the queue is closed and
    /// empty.
    pub(super) fn take(&self, taken: &mut Vec<Pending>) -> bool {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state.taker_sleeps = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut state.waiting, taken);
        let permits = mem::take(&mut state.permits);
        drop(state);
        self.room.add_permits(permits);
        true
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Takes no more; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::interface::Attributes;

    /// Readers are given the payload itself: what it does not fill must not stay with it.
    #[tokio::test]
    async fn a_payload_takes_what_it_is_long() {
        let queue = Queue::new();
        let mut payload = Vec::with_capacity(1 << 20);
        payload.extend_from_slice(&[1; 100]);
        let request = Append { records: 1, payload, attributes: Attributes::default() };
        let _answer = queue.put(request, None).await.unwrap();
        let mut taken = Vec::new();
        assert!(queue.take(&mut taken));
        assert!(taken[0].request.payload.capacity() < 1000);
    }
}
