//! Buffers that readers use in turn.
//!
//! A reader's block lives for as long as any record of it is on its way. Without these, each block would be taken from
//! the allocator by one thread and given back by another, which keeps many times of what is in use.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{block::BLOCK_BYTES, files::File};

/// The smallest buffers that are used in turn; each size is twice the one before.
const BYTES_MIN: usize = 64 << 10;
/// From [`BYTES_MIN`] to [`BLOCK_BYTES`].
const SIZES: usize = (BLOCK_BYTES / BYTES_MIN).ilog2() as usize + 1;
/// So many of each size are kept while nobody needs them.
const IDLE_MAX: usize = 2;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    idle: Arc<Mutex<[Vec<Vec<u8>>; SIZES]>>,
}

/// A buffer that is in use; goes back when the last record in it does.
struct Lent {
    buffer: Vec<u8>,
    /// Which size it is.
    size: usize,
    /// Bytes of it that were read.
    length: usize,
    home: Buffers,
}

impl Buffers {
    /// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
    ///
    /// Nobody holds more memory than about twice what is read: what is smaller than the smallest buffer, or larger than a
    /// block, gets one of its own size.
    pub(super) fn read_at(&self, file: &dyn File, at: u64, length: usize) -> io::Result<Bytes> {
        if !(BYTES_MIN / 2..=BLOCK_BYTES).contains(&length) {
            return Ok(file.read_at(at, length)?.into());
        }
        let bytes = length.next_power_of_two().max(BYTES_MIN);
        let size = (bytes / BYTES_MIN).ilog2() as usize;
        let idle = self.idle()[size].pop();
        let mut buffer = idle.unwrap_or_else(|| vec![0; bytes]);
        let length = file.read_into(at, &mut buffer[..length])?;
        Ok(Bytes::from_owner(Lent { buffer, size, length, home: self.clone() }))
    }

    fn idle(&self) -> MutexGuard<'_, [Vec<Vec<u8>>; SIZES]> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = self.home.idle();
        if idle[self.size].len() < IDLE_MAX {
            idle[self.size].push(std::mem::take(&mut self.buffer));
        }
    }
}
