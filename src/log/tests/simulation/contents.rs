//! A file's bytes as the page cache shows them and as the disk holds them, and everything that lies between the two.
//!
//! What is assumed of file systems and disks is written here, and in `FORMAT.md` in short:
//!
//! - A sector of 512 bytes is written whole or not at all; sectors reach the disk in any order.
//! - A write of which nothing was synced may be on the disk, in any of the sectors that it touched; a later write may
//!   be lost where an earlier one is not.
//! - Sizes (of growing, reserving and cutting) reach the disk apart from bytes.
//! - What was never written reads as zeros where space was reserved. Elsewhere, in a file that only grew by writing,
//!   it may be what somebody else left there, as ext4 without ordered data allows.
//! - fdatasync makes the bytes durable, with the size if it shrank or they could not be read back without it (as ext4
//!   and XFS do); not what was only reserved.
//! - A sync that fails takes every byte for written (as Linux does): some are, the rest never will be, the cache shows
//!   either the new bytes or, where it was evicted, the old ones, and the next sync reports success.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::mood::Mood;

pub(super) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// One file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    cache: Vec<u8>,
    /// What the disk holds; beyond `disk_size` only if a size that is not synced reaches it.
    disk: Vec<u8>,
    disk_size: usize,
    /// Sizes that the file had since its size was synced.
    sizes: Vec<usize>,
    /// What sectors were since they were synced, oldest first.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// Whether one of these was a cut.
    shrank: bool,
    /// The end of what was written since the last sync.
    written_end: usize,
    /// Up to here space is reserved, and reads as zeros.
    reserved: usize,
}

impl Contents {
    pub(super) fn size(&self) -> usize {
        self.cache.len()
    }

    /// Appends up to `length` bytes from `at` on.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let from = at.min(self.cache.len());
        let length = into.len().min(self.cache.len() - from);
        into[..length].copy_from_slice(&self.cache[from..from + length]);
        length
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.cache.len() {
            resize(&mut self.cache, end);
            self.sizes.push(end);
        }
        self.cache[at..end].copy_from_slice(bytes);
        self.written_end = self.written_end.max(end);
        self.note(at / SECTOR_BYTES, end.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn allocate(&mut self, size: usize) {
        if size > self.cache.len() {
            resize(&mut self.cache, size);
            self.sizes.push(size);
        }
        self.reserved = self.reserved.max(size);
    }

    pub(super) fn truncate(&mut self, size: usize) {
        let before = self.cache.len();
        resize(&mut self.cache, size);
        self.sizes.push(size);
        self.shrank = true;
        self.written_end = self.written_end.min(size);
        self.reserved = self.reserved.min(size);
        for sector in size / SECTOR_BYTES..before.div_ceil(SECTOR_BYTES) {
            // What is zeros already stays so.
            let range = range_of(sector, self.disk.len());
            if self.unsynced.contains_key(&sector)
                || self.disk[range.clone()] != [0; SECTOR_BYTES][..range.len()]
            {
                self.note(sector, sector + 1);
            }
        }
    }

    /// fdatasync, or fsync if `size_too`.
    pub(super) fn sync(&mut self, size_too: bool) {
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(newest) = versions.last() {
                self.put(sector, newest);
            }
        }
        if size_too || self.shrank || self.disk_size < self.written_end {
            self.sizes.clear();
            self.shrank = false;
            self.disk_size = self.cache.len();
            resize(&mut self.disk, self.disk_size);
        }
        self.written_end = 0;
    }

    /// A sync that reports an error.
    pub(super) fn fail_sync(&mut self, mood: &Mood, rng: &mut Rng) {
        let evicts = rng.bool();
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            match mood.sectors.choose(versions.len(), rng) {
                0 => {}
                chosen => self.put(sector, &versions[chosen - 1]),
            }
            if evicts && rng.bool() {
                let held = sector_of(&self.disk, sector);
                let range = range_of(sector, self.cache.len());
                let length = range.len();
                self.cache[range].copy_from_slice(&held[..length]);
            }
        }
    }

    /// The power goes: from now on the file is what reached the disk.
    pub(super) fn cut(&mut self, mood: &Mood, rng: &mut Rng) {
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            match mood.sectors.choose(versions.len(), rng) {
                0 if mood.garbage && sector * SECTOR_BYTES >= self.disk_size.max(self.reserved) => {
                    let mut left_behind = [0; SECTOR_BYTES];
                    rng.fill(&mut left_behind);
                    self.put(sector, &left_behind);
                }
                0 => {}
                chosen => self.put(sector, &versions[chosen - 1]),
            }
        }
        let size = match mood.sizes.choose(self.sizes.len(), rng) {
            0 => self.disk_size,
            chosen => self.sizes[chosen - 1],
        };
        self.sizes.clear();
        self.shrank = false;
        resize(&mut self.disk, size);
        self.disk_size = size;
        self.cache.clone_from(&self.disk);
        self.written_end = 0;
        self.reserved = self.reserved.min(size);
    }

    /// Keeps what the sectors are now as something that may reach the disk.
    fn note(&mut self, from: usize, to: usize) {
        for sector in from..to {
            self.unsynced.entry(sector).or_default().push(sector_of(&self.cache, sector));
        }
    }

    fn put(&mut self, sector: usize, bytes: &Sector) {
        let end = (sector + 1) * SECTOR_BYTES;
        if self.disk.len() < end {
            resize(&mut self.disk, end);
        }
        self.disk[end - SECTOR_BYTES..end].copy_from_slice(bytes);
    }
}

/// As `Vec::resize` with zeros, which takes its time where nothing is optimised.
fn resize(bytes: &mut Vec<u8>, size: usize) {
    if size < bytes.len() {
        bytes.truncate(size);
    } else {
        bytes.extend_from_slice(&vec![0; size - bytes.len()]);
    }
}

/// A sector with zeros behind the end.
fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let range = range_of(sector, bytes.len());
    let mut whole = [0; SECTOR_BYTES];
    whole[..range.len()].copy_from_slice(&bytes[range]);
    whole
}

/// The bytes of a sector in a file of this size.
fn range_of(sector: usize, size: usize) -> std::ops::Range<usize> {
    (sector * SECTOR_BYTES).min(size)..((sector + 1) * SECTOR_BYTES).min(size)
}
