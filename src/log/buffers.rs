//! Buffers that readers read into: of one block each, used in turn, and mappings for what is smaller or larger.
//!
//! A reader's block lives for as long as any record of it is on its way. Without these, each block would be taken from
//! the allocator by one thread and given back by another, which keeps many times of what is in use. A mapping is the
//! system's again at once; whole blocks are not mapped anew each time, since touching new pages costs more than reading.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use memmap2::MmapMut;

use super::{block::BLOCK_BYTES, files::File};

/// So many are kept while nobody needs them.
const IDLE_MAX: usize = 4;

/// What is shorter comes from the allocator: a mapping takes whole pages and two calls.
const MAPPED_BYTES_MIN: usize = 64 << 10;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that is in use; goes back when the last record in it does.
struct Lent {
    buffer: Vec<u8>,
    /// Bytes of it that were read.
    length: usize,
    home: Buffers,
}

impl Buffers {
    /// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
    ///
    /// What is much smaller or larger than a block gets a buffer of its own size, so that nobody holds more memory than
    /// about twice what is read.
    pub(super) fn read_at(&self, file: &dyn File, at: u64, length: usize) -> io::Result<Bytes> {
        if length < MAPPED_BYTES_MIN {
            return Ok(file.read_at(at, length)?.into());
        }
        if !(BLOCK_BYTES / 2..=BLOCK_BYTES).contains(&length) {
            let mut mapping = MmapMut::map_anon(length)?;
            let length = file.read_into(at, &mut mapping)?;
            return Ok(Bytes::from_owner(mapping).slice(..length));
        }
        let idle = self.idle().pop();
        let mut buffer = idle.unwrap_or_else(|| vec![0; BLOCK_BYTES]);
        let length = file.read_into(at, &mut buffer[..length])?;
        Ok(Bytes::from_owner(Lent { buffer, length, home: self.clone() }))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
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
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}
