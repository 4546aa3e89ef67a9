//! Memory for the blocks that are read.
//!
//! A block lives for as long as any record of it is on its way, and is given up by another thread than the one that
//! read it. An allocator keeps what it gets back so, for each thread apart, in all several times what is in use. Blocks
//! are therefore mapped, each by itself, and are the system's again with their last record.

use std::io;

use bytes::Bytes;
use memmap2::MmapMut;

use super::files::File;

/// What is shorter comes from the allocator: a mapping takes whole pages and two calls.
const MAPPED_BYTES_MIN: usize = 64 << 10;

/// Reads up to `length` bytes at a place in the file; fewer only where the file ends.
pub(super) fn read_at(file: &dyn File, at: u64, length: usize) -> io::Result<Bytes> {
    if length < MAPPED_BYTES_MIN {
        return Ok(file.read_at(at, length)?.into());
    }
    let mut buffer = MmapMut::map_anon(length)?;
    let length = file.read_into(at, &mut buffer)?;
    Ok(Bytes::from_owner(buffer).slice(..length))
}
