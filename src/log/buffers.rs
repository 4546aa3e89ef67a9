//! Buffers that readers read into, used in turn.
//!
//! A reader's block lives for as long as any record of it is on its way. Without these, each block would be taken from
//! the allocator by one thread and given back by another, which keeps many times of what is in use. They are mappings, which
//! no allocator keeps; and they are not mapped anew each time, since touching new pages costs more than reading.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use memmap2::MmapMut;

use super::{block::BLOCK_BYTES, files::File};

/// So many bytes are kept while nobody needs them.
const IDLE_BYTES_MAX: usize = 4 * BLOCK_BYTES;

/// What is shorter comes from the allocator: a mapping takes whole pages.
const MAPPED_BYTES_MIN: usize = 64 << 10;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    idle: Arc<Mutex<Idle>>,
}

/// What nobody needs, what was used last behind.
#[derive(Debug, Default)]
struct Idle {
    buffers: VecDeque<MmapMut>,
    bytes: usize,
}

/// A buffer that is in use; goes back when the last record in it does.
struct Lent {
    /// `None` once it has gone back.
    buffer: Option<MmapMut>,
    /// Bytes of it that were read.
    length: usize,
    home: Buffers,
}

impl Buffers {
    /// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
    ///
    /// Sizes are powers of two, so that nobody holds more memory than about twice what is read.
    pub(super) fn read_at(&self, file: &dyn File, at: u64, length: usize) -> io::Result<Bytes> {
        if length < MAPPED_BYTES_MIN {
            return Ok(file.read_at(at, length)?.into());
        }
        let size = length.next_power_of_two();
        let idle = self.idle().take(size);
        let mut buffer = match idle {
            Some(buffer) => buffer,
            None => MmapMut::map_anon(size)?,
        };
        let length = file.read_into(at, &mut buffer[..length])?;
        Ok(Bytes::from_owner(Lent { buffer: Some(buffer), length, home: self.clone() }))
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn take(&mut self, size: usize) -> Option<MmapMut> {
        let at = self.buffers.iter().rposition(|buffer| buffer.len() == size)?;
        self.bytes -= size;
        self.buffers.remove(at)
    }

    /// Keeps a buffer of a block or less; what has not been used for the longest time goes for it.
    fn keep(&mut self, buffer: MmapMut) {
        if buffer.len() > BLOCK_BYTES {
            return;
        }
        self.bytes += buffer.len();
        self.buffers.push_back(buffer);
        while self.bytes > IDLE_BYTES_MAX
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_deref().map_or(&[], |buffer| &buffer[..self.length])
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.home.idle().keep(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept is bounded and taken up again by size, the latest first; what is larger than a block is not kept.
    #[test]
    fn so_much_is_kept() {
        let mut idle = Idle::default();
        let buffer = |size| MmapMut::map_anon(size).unwrap();
        (0..5).for_each(|_| idle.keep(buffer(BLOCK_BYTES)));
        assert_eq!((idle.buffers.len(), idle.bytes), (4, IDLE_BYTES_MAX));
        idle.keep(buffer(MAPPED_BYTES_MIN));
        assert_eq!((idle.buffers.len(), idle.bytes), (4, 3 * BLOCK_BYTES + MAPPED_BYTES_MIN));
        assert!(idle.take(2 * MAPPED_BYTES_MIN).is_none());
        assert_eq!(idle.take(MAPPED_BYTES_MIN).map(|buffer| buffer.len()), Some(MAPPED_BYTES_MIN));
        idle.keep(buffer(2 * BLOCK_BYTES));
        assert_eq!((idle.buffers.len(), idle.bytes), (3, 3 * BLOCK_BYTES));
    }
}
