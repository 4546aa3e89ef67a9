//! A write group: frames that are written with one call and become durable together.

use std::io::IoSlice;

/// Payloads that are shorter are copied behind their heads: a piece of its own costs the kernel more than that.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Frames in the order in which they are written. Long payloads stay where they are and are not copied.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Heads, with the payloads that are copied.
    heads: Vec<u8>,
    /// Payloads that are not, each with the byte of `heads` before which it goes.
    payloads: Vec<(usize, Vec<u8>)>,
    bytes: usize,
}

impl Group {
    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds a frame, whose head `write_head` appends to the buffer that it is given.
    pub(super) fn push(&mut self, payload: Vec<u8>, write_head: impl FnOnce(&mut Vec<u8>, &[u8])) {
        let before = self.heads.len();
        write_head(&mut self.heads, &payload);
        self.bytes += self.heads.len() - before + payload.len();
        if payload.len() < COPIED_BYTES_MAX {
            self.heads.extend_from_slice(&payload);
        } else {
            self.payloads.push((self.heads.len(), payload));
        }
    }

    /// The bytes, in pieces.
    pub(super) fn pieces(&self) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(2 * self.payloads.len() + 1);
        let mut from = 0;
        for (at, payload) in &self.payloads {
            pieces.extend([IoSlice::new(&self.heads[from..*at]), IoSlice::new(payload)]);
            from = *at;
        }
        pieces.push(IoSlice::new(&self.heads[from..]));
        pieces
    }

    /// Takes all frames out.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.payloads.clear();
        self.bytes = 0;
    }

    /// Gives memory back, down to `bytes` for heads and room for so many frames.
    pub(super) fn shrink_to(&mut self, bytes: usize, frames: usize) {
        self.heads.shrink_to(bytes);
        self.payloads.shrink_to(frames);
    }
}
