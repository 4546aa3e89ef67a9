//! Fixed-size entries in chunks: no entry ever moves, a chunk without entries gives its memory back, and there are
//! never more chunks than the most entries so far have filled.

use std::mem;

use super::key::{Fingerprint, ShortDigest};

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u32);

/// A remembered request. 52 bytes: there may be a million of them.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) digest: ShortDigest,
    pub(super) offset: u64,
    pub(super) version: u64,
    /// When it was remembered, in the table's ticks.
    pub(super) tick: u32,
    /// The next one of its owner; of a free entry, the next free one of its chunk.
    pub(super) next: Option32,
}

/// A slot or none, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Option32(u32);

/// Entries by slot.
#[derive(Debug, Default)]
pub(super) struct Slab {
    chunks: Vec<Chunk>,
    /// Chunks with room.
    roomy: Vec<u32>,
}

#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    free: Option32,
    live: u32,
    /// Whether it is among the roomy ones.
    listed: bool,
}

/// 208 KiB: large enough that the allocator gives it back to the system.
const CHUNK_ENTRIES: usize = 4096;

impl Option32 {
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn some(slot: Slot) -> Self {
        Self(slot.0)
    }

    pub(super) fn slot(self) -> Option<Slot> {
        (self != Self::NONE).then_some(Slot(self.0))
    }
}

impl Slab {
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        let number = match self.roomy.last() {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.chunks.len()).expect("the table bounds its entries");
                let none = Option32::NONE;
                self.chunks.push(Chunk { entries: Vec::new(), free: none, live: 0, listed: true });
                self.roomy.push(number);
                number
            }
        };
        let chunk = &mut self.chunks[number as usize];
        let slot = match chunk.free.slot() {
            Some(slot) => {
                let place = &mut chunk.entries[slot.0 as usize % CHUNK_ENTRIES];
                chunk.free = mem::replace(place, entry).next;
                slot
            }
            None => {
                // All at once, and exactly: growing would double.
                chunk.entries.reserve_exact(CHUNK_ENTRIES - chunk.entries.len());
                chunk.entries.push(entry);
                Slot(number * CHUNK_ENTRIES as u32 + chunk.entries.len() as u32 - 1)
            }
        };
        chunk.live += 1;
        if chunk.live as usize == CHUNK_ENTRIES {
            chunk.listed = false;
            self.roomy.pop();
        }
        slot
    }

    pub(super) fn get(&self, slot: Slot) -> &Entry {
        &self.chunks[slot.0 as usize / CHUNK_ENTRIES].entries[slot.0 as usize % CHUNK_ENTRIES]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.chunks[slot.0 as usize / CHUNK_ENTRIES].entries[slot.0 as usize % CHUNK_ENTRIES]
    }

    /// How many entries there is memory for.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.entries.capacity()).sum()
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        let number = slot.0 as usize / CHUNK_ENTRIES;
        let chunk = &mut self.chunks[number];
        let place = &mut chunk.entries[slot.0 as usize % CHUNK_ENTRIES];
        let removed = *place;
        place.next = chunk.free;
        chunk.free = Option32::some(slot);
        chunk.live -= 1;
        if chunk.live == 0 {
            (chunk.entries, chunk.free) = (Vec::new(), Option32::NONE);
        }
        if !mem::replace(&mut chunk.listed, true) {
            self.roomy.push(number as u32);
        }
        removed
    }
}
