//! Which letters are out of date: something newer of their object has been delivered since.
//!
//! A filter in memory spares the lanes the question for nearly every object that has no letter.

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use plugin_api::{
    identity::Version,
    operation::{Key, Operation},
};
use rusqlite::{Connection, params};
use rustc_hash::FxBuildHasher;

use super::Letter;

/// An operation that was delivered, as far as it concerns letters.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The object that it changed.
    key: Key,
    /// The index that its record was sent to.
    record_index: Arc<str>,
    version: Version,
}

impl From<&Operation> for Delivered {
    fn from(operation: &Operation) -> Self {
        let Operation { key, record_index, version, .. } = operation;
        Self { key: key.clone(), record_index: record_index.clone(), version: *version }
    }
}

/// Objects that have letters, and some that have none. Takes a MiB from the first letter on.
#[derive(Debug, Default)]
pub(super) struct Objects {
    bits: OnceLock<Box<[AtomicU64]>>,
}

const WORDS: usize = 1 << 17;

impl Objects {
    /// Those of a store that is opened.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let objects = Self::default();
        // Each is read from an index that holds nothing else.
        for sql in [
            "SELECT record_index, record_object_id FROM letters",
            "SELECT operation_index, operation_object_id FROM letters WHERE operation_index IS NOT NULL",
        ] {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                objects.add(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            }
        }
        Ok(objects)
    }

    /// All that there could be.
    pub(super) fn unknown() -> Self {
        let objects = Self::default();
        objects.bits.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(u64::MAX)).collect());
        objects
    }

    pub(super) fn add_all(&self, letters: &[Letter]) {
        for Letter { record, operation, .. } in letters {
            let keys = [Some(&record.key), operation.as_ref().map(|operation| &operation.key)];
            keys.into_iter().flatten().for_each(|key| self.add(&key.index, &key.object_id));
        }
    }

    pub(super) fn may_hold(&self, Operation { key, record_index, .. }: &Operation) -> bool {
        let Some(bits) = self.bits.get() else { return false };
        let holds = |index: &str| {
            let (word, bit) = place(index, &key.object_id);
            bits[word].load(Ordering::Acquire) & bit != 0
        };
        holds(&key.index) || (key.index != *record_index && holds(record_index))
    }

    fn add(&self, index: &str, object_id: &str) {
        let bits = self.bits.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let (word, bit) = place(index, object_id);
        bits[word].fetch_or(bit, Ordering::AcqRel);
    }
}

fn place(index: &str, object_id: &str) -> (usize, u64) {
    let hash = FxBuildHasher.hash_one((index, object_id));
    // The upper bits are the better ones.
    ((hash >> 40) as usize % WORDS, 1 << (hash >> 58))
}

/// Marks the letters of these operations' objects that are older.
pub(super) fn mark(connection: &mut Connection, delivered: &[Delivered]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut by_record = transaction.prepare_cached(
            "UPDATE letters SET stale = 1
             WHERE record_index = ?1 AND record_object_id = ?2 AND version < ?3 AND stale = 0",
        )?;
        let mut by_operation = transaction.prepare_cached(
            "UPDATE letters SET stale = 1
             WHERE operation_index = ?1 AND operation_object_id = ?2 AND version < ?3 AND stale = 0",
        )?;
        for Delivered { key, record_index, version } in delivered {
            by_record.execute(params![&**record_index, &*key.object_id, version.0])?;
            by_operation.execute(params![&*key.index, &*key.object_id, version.0])?;
        }
    }
    transaction.commit()
}
