//! A write group: frames that are written with one call and become durable together.

use std::{io::IoSlice, mem};

use bytes::Bytes;

use super::interface::Frame;

/// Payloads that are shorter are copied behind their heads: a piece of its own costs the kernel more than that.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Frames in the order in which they are written. Long payloads stay where they are and are not copied.
#[derive(Debug, Default)]
pub(super) struct Group {
    frames: Vec<Frame>,
    /// Heads, with the payloads that are copied.
    heads: Vec<u8>,
    /// Payloads that are not, each with the byte of `heads` before which it goes.
    payloads: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Group {
    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame, whose head `write_head` appends to the buffer that it is given.
    pub(super) fn push(&mut self, frame: Frame, write_head: impl FnOnce(&mut Vec<u8>, &Frame)) {
        let before = self.heads.len();
        write_head(&mut self.heads, &frame);
        self.bytes += self.heads.len() - before + frame.payload.len();
        if frame.payload.len() < COPIED_BYTES_MAX {
            self.heads.extend_from_slice(&frame.payload);
        } else {
            self.payloads.push((self.heads.len(), frame.payload.clone()));
        }
        self.frames.push(frame);
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
    pub(super) fn take(&mut self) -> Vec<Frame> {
        self.heads.clear();
        self.payloads.clear();
        self.bytes = 0;
        mem::take(&mut self.frames)
    }

    /// Gives memory back, down to `bytes` for heads and room for so many frames.
    pub(super) fn shrink_to(&mut self, bytes: usize, frames: usize) {
        self.heads.shrink_to(bytes);
        self.payloads.shrink_to(frames);
    }
}
