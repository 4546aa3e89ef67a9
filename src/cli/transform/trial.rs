//! Runs records as an agent might: alone, after each other, repeated, shuffled. What a record becomes must not depend
//! on it, since instances are made anew at will and records may come twice.

use std::iter;

use fastrand::Rng;

use super::{
    lines::{Becomes, Case},
    subject::Subject,
};
use crate::{
    record::Record,
    transform::{CallError, Instance, LogTarget},
};

/// Records that the agent hands over at once.
pub(super) const BATCH: usize = 256;
/// Orders that are tried at random.
const SHUFFLES: u64 = 3;

/// What became of the records.
pub(super) struct Trial {
    /// Of each record alone, in their order.
    pub(super) becomes: Vec<Becomes>,
    /// Of each record whose result depends on others, the first that was another.
    pub(super) unstable: Vec<Unstable>,
}

/// A record that becomes something else in other company.
pub(super) struct Unstable {
    /// Which of the records.
    pub(super) at: usize,
    /// How it was run.
    pub(super) how: &'static str,
    pub(super) becomes: Becomes,
}

/// Runs all records in every way; `log` hears what the module logs of each alone.
pub(super) fn run(subject: &Subject, cases: &[Case], log: &LogTarget) -> Trial {
    let mut becomes = Vec::with_capacity(cases.len());
    let mut sound = Vec::with_capacity(cases.len());
    for (at, case) in cases.iter().enumerate() {
        let called = subject
            .start(log.clone())
            .and_then(|mut instance| call(&mut instance, subject, std::slice::from_ref(&case.record)));
        match called {
            Ok(mut alone) => {
                sound.push(at);
                becomes.extend(alone.pop());
            }
            Err(error) => becomes.push(Becomes::crashed(&error)),
        }
    }
    let mut trial = Trial { becomes, unstable: Vec::new() };
    let twice = sound.iter().flat_map(|at| iter::repeat_n(*at, 2)).collect();
    let shuffled = (0..SHUFFLES).map(|seed| {
        let mut order = sound.clone();
        Rng::with_seed(seed).shuffle(&mut order);
        ("in another order", order)
    });
    let runs = iter::once(("after the records before it", sound.clone()))
        .chain(iter::once(("a second time", twice)))
        .chain(shuffled);
    for (how, order) in runs {
        trial.compare(subject, cases, how, &order);
    }
    trial.unstable.sort_by_key(|unstable| unstable.at);
    trial.unstable.dedup_by_key(|unstable| unstable.at);
    trial
}

impl Trial {
    /// Runs the records in this order by one instance and notes what is not as it was alone.
    fn compare(&mut self, subject: &Subject, cases: &[Case], how: &'static str, order: &[usize]) {
        let mut instance = subject.start(LogTarget::Nowhere);
        for batch in order.chunks(BATCH) {
            let records: Vec<_> = batch.iter().map(|at| cases[*at].record.clone()).collect();
            let called = match &mut instance {
                Ok(instance) => call(instance, subject, &records),
                Err(error) => Err(error.clone()),
            };
            match called {
                Ok(found) => {
                    for (at, becomes) in batch.iter().copied().zip(found) {
                        if !becomes.is_same(&self.becomes[at]) {
                            self.unstable.push(Unstable { at, how, becomes });
                        }
                    }
                }
                // Each was sound alone; which of them it was together cannot be told.
                Err(error) => {
                    let becomes = Becomes::crashed(&error);
                    self.unstable.extend(batch.first().map(|at| Unstable { at: *at, how, becomes }));
                    instance = subject.start(LogTarget::Nowhere);
                }
            }
        }
    }
}

fn call(instance: &mut Instance, subject: &Subject, records: &[Record]) -> Result<Vec<Becomes>, CallError> {
    let outcomes = instance.call(records, subject.limits.cpu_max)?;
    Ok(records.iter().zip(outcomes).map(|(record, outcome)| Becomes::new(record, outcome)).collect())
}
