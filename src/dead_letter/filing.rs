//! Files letters within the budget, and lets the old ones go: each a transaction of its own.

use std::sync::Arc;

use plugin_api::identity::Timestamp;
use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;

use super::{
    Letter, StoreError,
    ledger::{Bounds, IndexFull, Ledger},
    range_rows, rows,
};

/// What was made of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the store.
    Kept,
    /// It is not, since letters of its index fill half of the budget; a range counts its record.
    Gap,
}

/// What became of a call to file letters.
#[derive(Debug)]
pub(super) enum Filing {
    /// Every letter met its fate.
    Done(Vec<Fate>),
    /// There is no room; nothing was filed.
    Full,
}

impl Filing {
    pub(super) fn result(self, ledger: &Ledger) -> Result<Vec<Fate>, StoreError> {
        match self {
            Self::Done(fates) => Ok(fates),
            Self::Full => Err(StoreError::Full {
                destination: ledger.destination().to_owned(),
                used: ledger.used(),
                budget: ledger.bounds().bytes_max,
            }),
        }
    }
}

/// Letters that expire at once, so that filing need not wait long.
const EXPIRE_LETTERS_MAX: u32 = 500;

/// Files all letters, each as its fate is, or none.
pub(super) fn file(
    connection: &mut Connection,
    ledger: &mut Ledger,
    letters: &[Letter],
) -> rusqlite::Result<Filing> {
    ledger.refresh(connection)?;
    let transaction = connection.transaction()?;
    let fates = fates(&transaction, ledger, letters)?;
    let with = |wanted| letters.iter().zip(&fates).filter(move |(_, fate)| **fate == wanted).map(|(l, _)| l);
    rows::file(&transaction, with(Fate::Kept))?;
    range_rows::add(&transaction, with(Fate::Gap))?;
    let changes =
        Ledger::changes(&transaction, with(Fate::Kept).map(|letter| letter.record.key.index.clone()))?;
    if !ledger.allows(&changes, letters.len()) {
        return Ok(Filing::Full);
    }
    transaction.commit()?;
    ledger.apply(changes);
    Ok(Filing::Done(fates))
}

fn fates(connection: &Connection, ledger: &Ledger, letters: &[Letter]) -> rusqlite::Result<Vec<Fate>> {
    match ledger.bounds().index_full {
        IndexFull::Refuse => return Ok(vec![Fate::Kept; letters.len()]),
        IndexFull::Gap => {}
    }
    let mut more: FxHashMap<&str, u64> = FxHashMap::default();
    let mut fates = Vec::with_capacity(letters.len());
    for letter in letters {
        let index = &*letter.record.key.index;
        let more = more.entry(index).or_default();
        // One that is there already is filed anew, after a crash for one, and needs no room.
        if ledger.is_full(index, *more) && !rows::holds(connection, letter)? {
            fates.push(Fate::Gap);
        } else {
            *more += letter.size();
            fates.push(Fate::Kept);
        }
    }
    Ok(fates)
}

/// Deletes some of the letters that are older than the bounds allow, the oldest first; returns how many of each index.
pub(super) fn expire(
    connection: &mut Connection,
    ledger: &mut Ledger,
    now: Timestamp,
) -> rusqlite::Result<Vec<(Arc<str>, u64)>> {
    ledger.refresh(connection)?;
    let Bounds { age_max: Some(age_max), .. } = ledger.bounds() else { return Ok(Vec::new()) };
    let oldest = now.0.saturating_sub(u64::try_from(age_max.as_micros()).unwrap_or(u64::MAX));
    let transaction = connection.transaction()?;
    let mut expired: FxHashMap<Arc<str>, u64> = FxHashMap::default();
    let mut statement = transaction.prepare_cached(
        "DELETE FROM letters WHERE id IN
             (SELECT id FROM letters WHERE dead_lettered_at < ?1 ORDER BY dead_lettered_at, id LIMIT ?2)
         RETURNING record_index",
    )?;
    let mut rows = statement.query(params![oldest, EXPIRE_LETTERS_MAX])?;
    while let Some(row) = rows.next()? {
        *expired.entry(row.get(0)?).or_default() += 1;
    }
    drop(rows);
    drop(statement);
    let changes = Ledger::changes(&transaction, expired.keys().cloned())?;
    transaction.commit()?;
    ledger.apply(changes);
    Ok(expired.into_iter().collect())
}
