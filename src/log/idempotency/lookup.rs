//! Finds entries by fingerprint: open addressing in many small shards, so that growing one is never felt, and in steps
//! of a quarter, so that a full table and a half-full one cost the same for each key: under six bytes.
//!
//! A place holds an entry's slot and eight bits of its fingerprint, so that the entries themselves are looked at only
//! where these agree.

use super::{key::Fingerprint, slab::Slot};

/// Slots by fingerprint; the same fingerprint may be there more than once.
#[derive(Debug)]
pub(super) struct Lookup {
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    /// The slot in the low bits, the tag above it; [`EMPTY`].
    places: Vec<u32>,
    used: usize,
}

/// The largest slot.
pub(super) const SLOT_MAX: u32 = SLOT_MASK - 1;

const SHARDS: usize = 256;
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
const EMPTY: u32 = u32::MAX;
const PLACES_MIN: usize = 16;

impl Default for Lookup {
    fn default() -> Self {
        Self { shards: vec![Shard::default(); SHARDS] }
    }
}

impl Lookup {
    /// Every slot whose fingerprint may be this one.
    pub(super) fn candidates(&self, fingerprint: Fingerprint) -> impl Iterator<Item = Slot> {
        let shard = &self.shards[shard_of(fingerprint)];
        let tag = tag_of(fingerprint);
        let from = shard.home(fingerprint);
        let places = shard.places.get(from..).into_iter().chain(shard.places.get(..from)).flatten();
        places
            .take_while(|place| **place != EMPTY)
            .filter(move |place| *place >> SLOT_BITS == tag)
            .map(|place| Slot(place & SLOT_MASK))
    }

    /// Adds a slot; `of` tells the fingerprints of those that are there.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, slot: Slot, of: impl Fn(Slot) -> Fingerprint) {
        let shard = &mut self.shards[shard_of(fingerprint)];
        // At most four of five places are used: beyond, looking for what is not there takes long.
        if (shard.used + 1) * 5 > shard.places.len() * 4 {
            shard.resize((shard.places.len() * 5 / 4).max(PLACES_MIN), &of);
        }
        shard.put(fingerprint, slot);
        shard.used += 1;
    }

    /// Removes a slot that is there.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, slot: Slot, of: impl Fn(Slot) -> Fingerprint) {
        let shard = &mut self.shards[shard_of(fingerprint)];
        shard.take(fingerprint, slot, &of);
        shard.used -= 1;
        if shard.used * 3 < shard.places.len() && shard.places.len() > PLACES_MIN {
            shard.resize((shard.used * 3 / 2).max(PLACES_MIN), &of);
        }
    }
}

impl Shard {
    /// Where a fingerprint's place would be, were it free.
    fn home(&self, Fingerprint(bytes): Fingerprint) -> usize {
        let hash = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        ((u64::from(hash) * self.places.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places.len() { 0 } else { at + 1 }
    }

    fn put(&mut self, fingerprint: Fingerprint, slot: Slot) {
        let mut at = self.home(fingerprint);
        while self.places[at] != EMPTY {
            at = self.after(at);
        }
        self.places[at] = tag_of(fingerprint) << SLOT_BITS | slot.0;
    }

    fn take(&mut self, fingerprint: Fingerprint, slot: Slot, of: impl Fn(Slot) -> Fingerprint) {
        let mut hole = self.home(fingerprint);
        while self.places[hole] & SLOT_MASK != slot.0 {
            assert_ne!(self.places[hole], EMPTY, "what is removed is there");
            hole = self.after(hole);
        }
        // Closes the hole: moves back what lies behind it and could lie nearer to its home.
        let mut at = self.after(hole);
        while self.places[at] != EMPTY {
            let home = self.home(of(Slot(self.places[at] & SLOT_MASK)));
            let length = self.places.len();
            let (from_home, from_hole) = ((at + length - home) % length, (at + length - hole) % length);
            if from_home >= from_hole {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.places[hole] = EMPTY;
    }

    fn resize(&mut self, length: usize, of: impl Fn(Slot) -> Fingerprint) {
        let before = std::mem::replace(&mut self.places, vec![EMPTY; length]);
        for place in before.into_iter().filter(|place| *place != EMPTY) {
            let slot = Slot(place & SLOT_MASK);
            self.put(of(slot), slot);
        }
    }
}

fn shard_of(Fingerprint(bytes): Fingerprint) -> usize {
    usize::from(bytes[0]) % SHARDS
}

fn tag_of(Fingerprint(bytes): Fingerprint) -> u32 {
    u32::from(bytes[5])
}
