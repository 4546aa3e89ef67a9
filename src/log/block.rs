//! Reads frames out of a segment, a block of about 1 MiB at a time. For readers and recovery alike: both check every
//! checksum and that offsets are dense.

use std::io;

use bytes::Bytes;
use plugin_api::identity::LogId;

use super::{
    buffers::Buffers,
    files::File,
    frame::{self, FIXED_BYTES},
    interface::Frame,
    sections::FormatError,
};

/// Read at once; a larger frame is read by itself.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// What may be read of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a dyn File,
    pub(super) nonce: u64,
    pub(super) log_id: LogId,
    /// No frame reaches beyond this byte.
    pub(super) limit: u64,
    /// No frame at or after this offset is looked at.
    pub(super) until: u64,
}

/// Where a frame begins: its byte in the segment and its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) offset: u64,
}

/// A frame and where it lies.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    /// Where its write group begins.
    pub(super) group_at: u64,
    pub(super) frame: Frame,
}

/// What a read found, in order.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) found: Vec<Found>,
    /// Where to go on.
    pub(super) next: Place,
    /// Why there is nothing to go on with there.
    pub(super) fault: Option<FormatError>,
}

/// Reads the frames from `place` on: at least one, unless the source's limit or end is reached or there is a fault.
pub(super) fn read(source: Source<'_>, place: Place) -> io::Result<Block> {
    read_by(source, place, |length| Ok(source.file.read_at(place.at, length)?.into()))
}

/// The same, into buffers that are used again.
pub(super) fn read_into(source: Source<'_>, place: Place, buffers: &Buffers) -> io::Result<Block> {
    read_by(source, place, |length| buffers.read_at(source.file, place.at, length))
}

fn read_by(source: Source<'_>, place: Place, read: impl Fn(usize) -> io::Result<Bytes>) -> io::Result<Block> {
    let available = usize::try_from(source.limit.saturating_sub(place.at)).unwrap_or(usize::MAX);
    let mut wanted = BLOCK_BYTES;
    loop {
        let length = wanted.min(available);
        let bytes = read(length)?;
        let mut block = Block { found: Vec::new(), next: place, fault: None };
        let ends_here = bytes.len() < length || length == available;
        match block.parse(source, bytes, ends_here) {
            Ok(None) => {}
            Ok(Some(frame_bytes)) => {
                wanted = frame_bytes;
                continue;
            }
            Err(fault) => block.fault = Some(fault),
        }
        return Ok(block);
    }
}

impl Block {
    /// Takes the frames out of `bytes`. If not even the first one is whole, returns how many bytes it takes.
    fn parse(
        &mut self,
        source: Source<'_>,
        mut bytes: Bytes,
        ends_here: bool,
    ) -> Result<Option<usize>, FormatError> {
        while self.next.offset < source.until && !bytes.is_empty() {
            if bytes.len() < FIXED_BYTES && !ends_here {
                break;
            }
            let length = frame::claimed_length(&bytes)?;
            if length > bytes.len() {
                if ends_here {
                    return Err(FormatError::broken(format!(
                        "a frame of {length} bytes, there are {}",
                        bytes.len()
                    )));
                }
                return Ok(self.found.is_empty().then_some(length));
            }
            let (frame, group_delta) = frame::decode(&bytes.split_to(length), source.nonce, source.log_id)?;
            let (due, offset) = (self.next.offset, frame.position.offset);
            if offset != due {
                let what = format!("a sound frame of offset {offset} lies where {due} is due");
                return Err(FormatError::Unusable(what));
            }
            let at = self.next.at;
            self.next = Place { at: at + length as u64, offset: offset + u64::from(frame.records) };
            self.found.push(Found { at, group_at: at.saturating_sub(u64::from(group_delta)), frame });
        }
        Ok(None)
    }
}
