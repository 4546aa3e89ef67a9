//! What a store's letters take, in all and by index, and what an operator is told of it.
//!
//! The file counts by itself (its table `usage`); the ledger is what of it is needed at every filing, read again only
//! where somebody else has changed the file. Warnings come once for each crossing upward.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, Row};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

/// What a store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of letters, by [`super::Letter::size`].
    pub bytes_max: u64,
    /// A letter that is older goes; `None` where none ever does.
    pub age_max: Option<Duration>,
    /// What becomes of an index whose letters alone fill half of `bytes_max`.
    pub index_full: IndexFull,
}

/// What becomes of an index whose letters alone fill half of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFull {
    /// Letters are kept as long as there is any room; who accepts records refuses the index, see
    /// [`Usage::full_indexes`].
    Refuse,
    /// What is rejected of it from then on is only counted, in a range.
    Gap,
}

impl Default for Bounds {
    /// A GiB, no age, and refusal.
    fn default() -> Self {
        Self { bytes_max: 1 << 30, age_max: None, index_full: IndexFull::Refuse }
    }
}

/// What the letters of a store take at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all of them.
    pub used: u64,
    /// The most that they may take.
    pub budget: u64,
    /// The indexes whose letters alone fill half of the budget, with their bytes; at most two.
    pub full_indexes: Vec<(Arc<str>, u64)>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Ledger {
    destination: String,
    bounds: Bounds,
    by_index: FxHashMap<Arc<str>, u64>,
    used: u64,
    full: BTreeSet<Arc<str>>,
    /// The one of [`LEVELS`] that the letters have reached; 0 below all of them.
    level: u64,
    /// Changes when another connection has changed the file.
    data_version: Option<i64>,
    published: watch::Sender<Usage>,
}

/// What filing or deleting has made of some indexes: their bytes now, none for those without letters.
pub(super) type Changes = Vec<(Arc<str>, u64)>;

/// Percents of the budget that are worth a word.
const LEVELS: [u64; 3] = [50, 80, 95];
/// Percents that letters must fall below a level before it is told again.
const HYSTERESIS: u64 = 5;
/// From this percentage on an index fills half of the budget, and as far below it must fall to be as others again.
const HALF: u64 = 50;

impl Ledger {
    pub(super) fn new(destination: String, bounds: Bounds) -> (Self, watch::Receiver<Usage>) {
        let usage = Usage { budget: bounds.bytes_max, ..Usage::default() };
        let (published, watched) = watch::channel(usage);
        let ledger = Self {
            destination,
            bounds,
            by_index: FxHashMap::default(),
            used: 0,
            full: BTreeSet::new(),
            level: 0,
            data_version: None,
            published,
        };
        (ledger, watched)
    }

    pub(super) fn destination(&self) -> &str {
        &self.destination
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Takes note of what others have changed in the file, an operator with a shell for one.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.data_version == Some(version) {
            return Ok(());
        }
        let mut statement = connection.prepare_cached("SELECT record_index, bytes FROM usage")?;
        let rows = statement.query_map([], |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?)))?;
        let by_index: FxHashMap<Arc<str>, u64> = rows.collect::<rusqlite::Result<_>>()?;
        self.used = by_index.values().sum();
        self.by_index = by_index;
        self.data_version = Some(version);
        let indexes: Vec<Arc<str>> = self.by_index.keys().chain(&self.full).cloned().collect();
        indexes.iter().for_each(|index| self.judge(index));
        self.tell();
        Ok(())
    }

    /// Whether an index fills half of the budget, with so many bytes more than the ledger knows of.
    pub(super) fn is_full(&self, index: &str, more: u64) -> bool {
        self.full.contains(index) || self.percent(self.of(index) + more) >= HALF
    }

    /// What the file says now of some indexes, in the middle of a transaction.
    pub(super) fn changes(
        connection: &Connection,
        indexes: impl IntoIterator<Item = Arc<str>>,
    ) -> rusqlite::Result<Changes> {
        let mut statement = connection.prepare_cached("SELECT bytes FROM usage WHERE record_index = ?1")?;
        let distinct: BTreeSet<Arc<str>> = indexes.into_iter().collect();
        let read = |index: Arc<str>| {
            let bytes: Option<u64> = statement.query_row([&*index], |row| row.get(0)).optional()?;
            Ok((index, bytes.unwrap_or(0)))
        };
        distinct.into_iter().map(read).collect()
    }

    /// Whether the budget allows for what so many letters change. What makes nothing larger is always allowed, and so is
    /// a letter that is alone: one larger than the whole budget must not hold its destination for ever.
    pub(super) fn allows(&self, changes: &Changes, letters: usize) -> bool {
        let used = self.used_after(changes);
        used <= self.bounds.bytes_max || used <= self.used || (self.used == 0 && letters == 1)
    }

    /// The changes are committed.
    pub(super) fn apply(&mut self, changes: Changes) {
        self.used = self.used_after(&changes);
        for (index, bytes) in changes {
            match bytes {
                0 => _ = self.by_index.remove(&index),
                bytes => _ = self.by_index.insert(index.clone(), bytes),
            }
            self.judge(&index);
        }
        self.tell();
    }

    fn used_after(&self, changes: &Changes) -> u64 {
        let before: u64 = changes.iter().map(|(index, _)| self.of(index)).sum();
        let after: u64 = changes.iter().map(|(_, bytes)| bytes).sum();
        (self.used + after).saturating_sub(before)
    }

    fn of(&self, index: &str) -> u64 {
        self.by_index.get(index).copied().unwrap_or(0)
    }

    fn percent(&self, bytes: u64) -> u64 {
        // A budget is a TiB at most, and letters are larger only by one record.
        bytes * 100 / self.bounds.bytes_max.max(1)
    }

    /// Whether the index fills half of the budget, and a word if that has changed.
    fn judge(&mut self, index: &Arc<str>) {
        let (destination, bytes, budget) = (&self.destination, self.of(index), self.bounds.bytes_max);
        let percent = self.percent(bytes);
        if percent >= HALF && !self.full.contains(index) {
            self.full.insert(index.clone());
            match self.bounds.index_full {
                IndexFull::Refuse => tracing::error!(
                    %destination, %index, bytes, budget,
                    "dead letters of one index fill half of their budget: requests for it are refused until some are \
                     deleted or replayed",
                ),
                IndexFull::Gap => tracing::error!(
                    %destination, %index, bytes, budget,
                    "dead letters of one index fill half of their budget: what is rejected of it is not kept any more \
                     and counts as a gap, until some are deleted or replayed",
                ),
            }
        } else if percent < HALF - HYSTERESIS && self.full.remove(index) {
            tracing::info!(
                %destination, %index, bytes, budget,
                "dead letters of the index leave room again: it is served as the others are",
            );
        }
    }

    fn tell(&mut self) {
        let (destination, used, budget) = (&self.destination, self.used, self.bounds.bytes_max);
        let percent = self.percent(used);
        let level = level(percent, self.level);
        if level > self.level {
            tracing::warn!(
                %destination, used, budget, percent,
                "dead letters fill their budget: at all of it the destination pauses until some are deleted",
            );
        }
        self.level = level;
        let full_indexes = self.full.iter().map(|index| (index.clone(), self.of(index))).collect();
        let usage = Usage { used, budget, full_indexes };
        self.published.send_if_modified(|published| {
            let modified = *published != usage;
            *published = usage;
            modified
        });
    }
}

/// The highest level that is reached, or was reached and is not left.
fn level(percent: u64, before: u64) -> u64 {
    let holds = |level: &u64| percent >= *level || (*level <= before && percent + HYSTERESIS >= *level);
    LEVELS.into_iter().rev().find(holds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each level is told once on the way up, and again only after it was left by more than what expires at once.
    #[test]
    fn levels_are_told_once_for_each_crossing() {
        let mut before = 0;
        let mut told = Vec::new();
        for percent in [10, 49, 50, 51, 49, 50, 46, 79, 80, 78, 81, 96, 94, 96, 100, 89, 96, 44, 50, 99] {
            let now = level(percent, before);
            if now > before {
                told.push((percent, now));
            }
            before = now;
        }
        assert_eq!(told, [(50, 50), (80, 80), (96, 95), (96, 95), (50, 50), (99, 95)]);
    }
}
