//! Which requests were accepted lately: within a window of time, up to a number of keys and of bytes.
//!
//! Time is what the log's clock has advanced while it was looked at: a clock that is set back takes nothing back, and
//! one that was ahead does not make keys last until it is reached again. What is too old counts as unknown at once and
//! is removed bit by bit with what comes in, so that no timer is needed and no call takes long.
//!
//! When there is no room, whoever holds the most keys forgets its oldest one: nobody can push out a neighbour's.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use plugin_api::identity::Timestamp;
use rustc_hash::FxHashMap;

use super::{
    key::{Accepted, Key, Owner, ShortDigest},
    lookup::{Lookup, SLOT_MAX},
    slab::{Entry, Option32, Slab, Slot},
};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Bounds {
    /// How long, at least (a tenth of a second more may pass).
    pub(in crate::log) window: Duration,
    /// How many keys, inclusive.
    pub(in crate::log) keys_max: usize,
    /// What keys and their owners may take in memory, in bytes.
    pub(in crate::log) bytes_max: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(in crate::log) struct Table {
    bounds: Bounds,
    entries: Slab,
    lookup: Lookup,
    keys: usize,
    shares: FxHashMap<Owner, Share>,
    /// The offset of each owner's oldest key.
    by_age: BTreeSet<(u64, Owner)>,
    /// How many keys each owner has; among equals the one with the oldest comes last.
    by_count: BTreeSet<(u32, Reverse<u64>, Owner)>,
    /// Microseconds that the clock has advanced.
    elapsed: u64,
    /// What the clock said last.
    seen: Option<Timestamp>,
    /// When the youngest of those was accepted that had to be forgotten before their time, in `elapsed`.
    forgotten: Option<u64>,
}

/// The keys of an owner, oldest first.
#[derive(Clone, Copy, Debug)]
struct Share {
    first: Slot,
    last: Slot,
    count: u32,
    first_offset: u64,
}

/// What is remembered of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Remembered {
    pub(in crate::log) digest: ShortDigest,
    pub(in crate::log) offset: u64,
    pub(in crate::log) version: u64,
}

/// Time is remembered in tenths of a second, in four bytes.
const TICK_MICROS: u64 = 100_000;
/// What a key takes: its entry, and its place in the lookup where that is emptiest.
const KEY_BYTES: usize = 59;
/// What an owner takes: its share and its places in both orders, in maps and trees that are half full.
const OWNER_BYTES: usize = 256;
/// Removed at most by one call, of what is too old: more than any call adds.
const REMOVED_MAX: usize = 32;

impl Bounds {
    /// What the agent remembers.
    pub(in crate::log) const DEFAULT: Self =
        Self { window: Duration::from_secs(600), keys_max: 1_000_000, bytes_max: 64_000_000 };
}

impl Table {
    /// How exactly ages are known.
    pub(in crate::log) const TICK: Duration = Duration::from_micros(TICK_MICROS);

    pub(in crate::log) fn new(bounds: Bounds) -> Self {
        assert!(bounds.keys_max < SLOT_MAX as usize / 2, "slots are three bytes");
        Self {
            bounds,
            entries: Slab::default(),
            lookup: Lookup::default(),
            keys: 0,
            shares: FxHashMap::default(),
            by_age: BTreeSet::new(),
            by_count: BTreeSet::new(),
            elapsed: 0,
            seen: None,
            forgotten: None,
        }
    }

    /// The clock says `now`; a little of what is too old is removed.
    pub(in crate::log) fn advance(&mut self, now: Timestamp) {
        let seen = self.seen.replace(now).unwrap_or(now);
        self.elapse(now.0.saturating_sub(seen.0));
    }

    /// The clock has advanced by so many microseconds and says `now`.
    pub(super) fn advance_by(&mut self, micros: u64, now: Timestamp) {
        self.seen = Some(now);
        self.elapse(micros);
    }

    fn elapse(&mut self, micros: u64) {
        // More than a window makes everything old, however much more; so ticks never come round.
        self.elapsed += micros.min(self.window_micros() + TICK_MICROS);
        for _ in 0..REMOVED_MAX {
            match self.by_age.first() {
                Some((_, owner)) if self.is_old(self.entries.get(self.shares[owner].first)) => {
                    let owner = *owner;
                    self.remove_first(owner);
                }
                _ => break,
            }
        }
    }

    /// What is remembered of a key.
    pub(in crate::log) fn find(&self, key: Key) -> Option<Remembered> {
        let candidates = self.lookup.candidates(key.fingerprint).map(|slot| self.entries.get(slot));
        let entry = candidates
            .filter(|entry| entry.fingerprint == key.fingerprint && !self.is_old(entry))
            .max_by_key(|entry| entry.offset)?;
        Some(Remembered { digest: entry.digest, offset: entry.offset, version: entry.version })
    }

    /// Remembers a request that was accepted just now; requests come in the order of their offsets.
    pub(in crate::log) fn insert(&mut self, accepted: &Accepted) {
        let Accepted { key: Key { fingerprint, owner }, digest, offset, version, .. } = *accepted;
        let entry = Entry { fingerprint, digest, offset, version, tick: self.tick(), next: Option32::NONE };
        let slot = self.entries.insert(entry);
        let entries = &self.entries;
        self.lookup.insert(fingerprint, slot, |slot| entries.get(slot).fingerprint);
        self.keys += 1;
        match self.shares.get_mut(&owner) {
            Some(share) => {
                self.entries.get_mut(share.last).next = Option32::some(slot);
                self.by_count.remove(&share.rank(owner));
                share.last = slot;
                share.count += 1;
                self.by_count.insert(share.rank(owner));
            }
            None => {
                let share = Share { first: slot, last: slot, count: 1, first_offset: offset };
                self.by_age.insert((offset, owner));
                self.by_count.insert(share.rank(owner));
                self.shares.insert(owner, share);
            }
        }
        while self.is_over() {
            self.evict();
        }
    }

    /// Whatever was accepted until now may be unknown here.
    pub(in crate::log) fn forget_before_now(&mut self) {
        self.forgotten = Some(self.elapsed);
    }

    /// How many keys are remembered.
    pub(in crate::log) fn keys(&self) -> usize {
        self.keys
    }

    /// How far back every key is remembered.
    pub(in crate::log) fn reach(&self) -> Duration {
        let since = self.forgotten.map(|forgotten| Duration::from_micros(self.elapsed - forgotten));
        since.map_or(self.bounds.window, |since| since.min(self.bounds.window))
    }

    fn tick(&self) -> u32 {
        // The low bits: no entry stays for the 13 years that they take to come round.
        (self.elapsed / TICK_MICROS) as u32
    }

    fn is_old(&self, entry: &Entry) -> bool {
        let ticks = self.tick().wrapping_sub(entry.tick);
        u64::from(ticks) * TICK_MICROS > self.window_micros()
    }

    fn window_micros(&self) -> u64 {
        self.bounds.window.as_micros() as u64
    }

    fn is_over(&self) -> bool {
        let bytes = self.keys * KEY_BYTES + self.shares.len() * OWNER_BYTES;
        self.keys > self.bounds.keys_max || bytes > self.bounds.bytes_max
    }

    fn evict(&mut self) {
        let Some((_, _, owner)) = self.by_count.last() else { return };
        let evicted = self.remove_first(*owner);
        if !self.is_old(&evicted) {
            let age = u64::from(self.tick().wrapping_sub(evicted.tick)) * TICK_MICROS;
            let accepted = self.elapsed.saturating_sub(age);
            self.forgotten = Some(self.forgotten.map_or(accepted, |forgotten| forgotten.max(accepted)));
        }
    }

    /// Forgets the oldest key of an owner that has one.
    fn remove_first(&mut self, owner: Owner) -> Entry {
        let share = self.shares[&owner];
        let slot = share.first;
        let fingerprint = self.entries.get(slot).fingerprint;
        let entries = &self.entries;
        self.lookup.remove(fingerprint, slot, |slot| entries.get(slot).fingerprint);
        let removed = self.entries.remove(slot);
        self.keys -= 1;
        self.by_age.remove(&(share.first_offset, owner));
        self.by_count.remove(&share.rank(owner));
        match removed.next.slot() {
            Some(first) => {
                let first_offset = self.entries.get(first).offset;
                let share = Share { first, count: share.count - 1, first_offset, ..share };
                self.by_age.insert((first_offset, owner));
                self.by_count.insert(share.rank(owner));
                self.shares.insert(owner, share);
            }
            None => {
                self.shares.remove(&owner);
            }
        }
        removed
    }
}

impl Share {
    fn rank(&self, owner: Owner) -> (u32, Reverse<u64>, Owner) {
        (self.count, Reverse(self.first_offset), owner)
    }
}
