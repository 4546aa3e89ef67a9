//! Which letters are out of date: something newer of their object has been delivered since.
//!
//! A filter in memory spares the lanes the question for nearly every object that has no letter.

use std::{
    hash::BuildHasher as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use plugin_api::{
    identity::Version,
    operation::{Action, Key, Operation},
};
use rusqlite::Connection;
use rustc_hash::FxBuildHasher;

use super::{Change, Letter};

/// An operation that was delivered, as far as it concerns letters.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The object that it changed, by the destination's name.
    pub key: Key,
    /// The same object, by the name of the index that its record was sent to.
    pub namesake: Key,
    /// The object that its record is about.
    pub record: Key,
    /// Its record's version.
    pub version: Version,
    /// Whether it deleted its object.
    pub deletes: bool,
    /// Whether its record deletes its object.
    pub record_deletes: bool,
}

impl From<&Operation> for Delivered {
    fn from(operation: &Operation) -> Self {
        let Operation { key, record_index, version, action, .. } = operation;
        let Change { action: record_action, key: record, .. } = Change::of_record(operation);
        Self {
            key: key.clone(),
            namesake: Key { index: record_index.clone(), object_id: key.object_id.clone() },
            record,
            version: *version,
            deletes: *action == Action::Delete,
            record_deletes: record_action == Action::Delete,
        }
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

    /// Whether it holds an operation's object or its record's.
    pub(super) fn may_hold(&self, Operation { key, record_index, origin, .. }: &Operation) -> bool {
        let Some(bits) = self.bits.get() else { return false };
        let holds = |index: &str, object_id: &str| {
            let (word, bit) = place(index, object_id);
            bits[word].load(Ordering::Acquire) & bit != 0
        };
        let of_record = origin.as_ref().filter(|origin| origin.object_id != key.object_id);
        holds(&key.index, &key.object_id)
            || (key.index != *record_index && holds(record_index, &key.object_id))
            || of_record.is_some_and(|origin| holds(record_index, &origin.object_id))
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

/// Letters of a record's object, and letters of an operation's, each older than a version.
const OF_RECORD: &str = "record_index = ?1 AND record_object_id = ?2 AND version < ?3";
const OF_OPERATION: &str = "operation_index = ?1 AND operation_object_id = ?2 AND version < ?3";

/// Marks the letters of these operations' objects that are older; those of objects that were deleted lose their data.
pub(super) fn mark(connection: &mut Connection, delivered: &[Delivered]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mark = |of: &str| {
            transaction.prepare_cached(&format!("UPDATE letters SET stale = 1 WHERE {of} AND stale = 0"))
        };
        let purge = |of: &str| {
            transaction.prepare_cached(&format!(
                "UPDATE letters SET record_body = x'',
                     operation_body = CASE WHEN operation_body IS NULL THEN NULL ELSE x'' END
                 WHERE {of} AND (length(record_body) > 0 OR length(operation_body) > 0)"
            ))
        };
        let (mut mark_record, mut mark_operation) = (mark(OF_RECORD)?, mark(OF_OPERATION)?);
        let (mut purge_record, mut purge_operation) = (purge(OF_RECORD)?, purge(OF_OPERATION)?);
        for Delivered { key, namesake, record, version, deletes, record_deletes } in delivered {
            let version = version.0;
            let older = |of: &'_ Key| (of.index.clone(), of.object_id.clone(), version);
            mark_record.execute(older(record))?;
            mark_operation.execute(older(key))?;
            if namesake != record {
                mark_record.execute(older(namesake))?;
            }
            if *deletes {
                purge_record.execute(older(namesake))?;
                purge_operation.execute(older(key))?;
            }
            if *record_deletes {
                purge_record.execute(older(record))?;
            }
        }
    }
    transaction.commit()
}
