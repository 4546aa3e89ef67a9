//! What lies behind bytes that are no frame: whether they are rotten or torn, and where sound frames begin again. The
//! frames' magic has few false friends, and nonce and checksum sort these out.

use std::io;

use memchr::memmem;

use super::{
    block::{BLOCK_BYTES, Place},
    files::File,
    frame,
};

/// A whole frame of its segment, as much as tells where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sound {
    pub(super) place: Place,
    /// Where its write group begins.
    pub(super) group_at: u64,
}

/// What lies behind the first bytes that are no frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The byte after the last one that is not zero.
    pub(super) end: u64,
    /// A sound frame of a later write group.
    pub(super) later_group: Option<u64>,
}

/// Looks through the rest of a segment for sound frames whose write group begins after the broken bytes. The writer
/// begins a group only once the one before it is durable: then this is rot, not a torn write (rule 6).
pub(super) fn examine_tail(file: &dyn File, nonce: u64, broken: u64, size: u64) -> io::Result<Tail> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut tail = Tail { end: broken, later_group: None };
    let mut position = broken;
    while position < size {
        let bytes = file.read_at(position, BLOCK_BYTES)?;
        // By chunks: most of a segment is zeros, and comparing them is many times as fast as looking at bytes.
        let mut chunks = bytes.chunks(ZEROS.len()).enumerate();
        if let Some((index, chunk)) = chunks.rfind(|(_, chunk)| **chunk != ZEROS[..chunk.len()])
            && let Some(last) = chunk.iter().rposition(|byte| *byte != 0)
        {
            tail.end = position + (index * ZEROS.len() + last + 1) as u64;
        }
        for candidate in memmem::find_iter(&bytes, &frame::MAGIC) {
            let candidate = position + candidate as u64;
            let sound = sound_frame_at(file, nonce, candidate, size)?;
            if sound.is_some_and(|sound| sound.group_at > broken) {
                tail.later_group = Some(candidate);
                return Ok(tail);
            }
        }
        if bytes.len() < BLOCK_BYTES {
            break;
        }
        // A magic may lie across the border.
        position += (BLOCK_BYTES - frame::MAGIC.len() + 1) as u64;
    }
    Ok(tail)
}

/// The first sound frame that begins in `from..limit` and for which `is_it` holds.
pub(super) fn find_sound(
    file: &dyn File,
    nonce: u64,
    from: u64,
    limit: u64,
    mut is_it: impl FnMut(&Sound) -> bool,
) -> io::Result<Option<Sound>> {
    let mut position = from;
    while position < limit {
        let length = usize::try_from(limit - position).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let bytes = file.read_at(position, length)?;
        for candidate in memmem::find_iter(&bytes, &frame::MAGIC) {
            let sound = sound_frame_at(file, nonce, position + candidate as u64, limit)?;
            if let Some(sound) = sound.filter(&mut is_it) {
                return Ok(Some(sound));
            }
        }
        if bytes.len() < BLOCK_BYTES {
            break;
        }
        // A magic may lie across the border.
        position += (BLOCK_BYTES - frame::MAGIC.len() + 1) as u64;
    }
    Ok(None)
}

/// The frame that begins here, if a sound one does and ends before `limit`.
fn sound_frame_at(file: &dyn File, nonce: u64, at: u64, limit: u64) -> io::Result<Option<Sound>> {
    let head = file.read_at(at, frame::FIXED_BYTES)?;
    match frame::claimed_length(&head) {
        Ok(length) if at + length as u64 <= limit => {
            let bytes = file.read_at(at, length)?;
            let verified = frame::verify(&bytes, nonce);
            Ok(verified.ok().map(|group_delta| Sound {
                place: Place { at, offset: frame::offset_of(&bytes) },
                group_at: at.saturating_sub(u64::from(group_delta)),
            }))
        }
        Ok(_) | Err(_) => Ok(None),
    }
}
