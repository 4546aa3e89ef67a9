//! Some records on their way through a guest: a call that goes wrong is made again with each half of its records, until
//! the guilty one stands alone. It alone fails.

use std::{ops::Range, sync::Arc, time::Duration};

use plugin_api::verdict::{Reason, ReasonCode};

use super::{
    error::{CallError, LoadError},
    job::Job,
    outcome::Outcome,
};
use crate::record::Record;

/// A run of a job's records. Whoever has it makes one call at a time, so that it can be laid aside between two of them.
#[derive(Debug)]
pub(super) struct Part {
    job: Arc<Job>,
    start: usize,
    /// Of the records before those that are left.
    outcomes: Vec<Outcome>,
    /// What is left, the next last: so many records, and the CPU time for a call with them.
    left: Vec<(usize, Duration)>,
}

/// The least CPU time that half a batch gets, however often it was halved.
pub(super) const CPU_LEAST: Duration = Duration::from_millis(10);

impl Part {
    /// The records of `range`, which may spend `cpu_max` together.
    pub(super) fn new(job: Arc<Job>, range: Range<usize>, cpu_max: Duration) -> Self {
        let outcomes = Vec::with_capacity(range.len());
        Self { job, start: range.start, outcomes, left: vec![(range.len(), cpu_max)] }
    }

    pub(super) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The records of the next call, and what it may spend.
    pub(super) fn next(&self) -> (&[Record], Duration) {
        let (count, cpu_max) = self.left.last().copied().unwrap_or_default();
        let from = self.start + self.outcomes.len();
        (&self.job.records[from..from + count], cpu_max)
    }

    /// Makes the next call one of a single record, with that time.
    pub(super) fn single_out(&mut self, cpu_max: Duration) {
        if let Some((count, of_rest)) = self.left.pop() {
            if count > 1 {
                self.left.push((count - 1, of_rest));
            }
            self.left.push((count.min(1), cpu_max));
        }
    }

    /// Takes the result of the call.
    pub(super) fn called(&mut self, result: Result<Vec<Outcome>, CallError>) {
        let Some((count, cpu_max)) = self.left.pop() else { return };
        match result {
            Ok(outcomes) => self.outcomes.extend(outcomes),
            Err(error) if count <= 1 => {
                self.outcomes.extend((0..count).map(|_| Outcome::Failed(reason(&error))))
            }
            Err(_) => {
                let (first, half) = (count / 2, (cpu_max / 2).max(CPU_LEAST).min(cpu_max));
                self.left.push((count - first, half));
                self.left.push((first, half));
            }
        }
    }

    /// The records of the next call fail, all of them and without one.
    pub(super) fn fail(&mut self, reason: &Reason) {
        if let Some((count, _)) = self.left.pop() {
            self.outcomes.extend((0..count).map(|_| Outcome::Failed(reason.clone())));
        }
    }

    /// All that is left fails.
    pub(super) fn fail_all(&mut self, reason: &Reason) {
        while !self.left.is_empty() {
            self.fail(reason);
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.left.is_empty()
    }

    /// Records, and those of them that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        let failed = self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_)));
        (self.outcomes.len() as u64, failed.count() as u64)
    }

    /// Hands the outcomes to the job, which may be done with them.
    pub(super) fn finish(self) {
        self.job.finish(self.start, self.outcomes);
    }
}

/// What the letter of a record says on which a call failed.
fn reason(error: &CallError) -> Reason {
    Reason::new(code(error), error.to_string())
}

fn code(error: &CallError) -> ReasonCode {
    match error {
        CallError::Trapped { .. } | CallError::OutOfMemory { .. } | CallError::TooMuchReturned { .. } => {
            ReasonCode::TransformTrapped
        }
        CallError::TimedOut { .. } => ReasonCode::TransformTimedOut,
        CallError::WrongCount { .. } => ReasonCode::TransformInvalid,
    }
}

/// What the letters of records say for which no instance could be started: none of them is guilty.
pub(super) fn start_reason(error: &LoadError) -> Reason {
    let code = match error {
        LoadError::Start { error } => code(error),
        _ => ReasonCode::TransformFailed,
    };
    Reason::new(code, format!("the module could not be started for this index: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use plugin_api::operation::Action;

    use super::*;

    fn part(records: usize) -> (Part, mpsc::Receiver<Vec<Outcome>>) {
        let (tx, rx) = mpsc::channel();
        let record = |id: usize| Record {
            action: Action::Save,
            index: "products".into(),
            object_id: id.to_string().into(),
            body: Bytes::new(),
        };
        let job = Job::new((0..records).map(record).collect(), move |done| tx.send(done.outcomes).unwrap());
        (Part::new(job, 0..records, Duration::from_millis(250)), rx)
    }

    /// Whichever records are guilty, they alone fail, the others keep their order, and no call is made with less time
    /// than the least.
    #[test]
    fn the_guilty_alone_fail() {
        for (records, guilty) in
            [(1, vec![0]), (7, vec![3]), (256, vec![0, 255]), (256, vec![100, 101, 102]), (5, vec![])]
        {
            let (mut part, outcomes) = part(records);
            let mut calls = 0;
            while !part.is_finished() {
                let (batch, cpu_max) = part.next();
                assert!(cpu_max >= CPU_LEAST && !batch.is_empty());
                let ids: Vec<usize> = batch.iter().map(|record| record.object_id.parse().unwrap()).collect();
                let result = if guilty.iter().any(|id| ids.contains(id)) {
                    Err(CallError::TimedOut { limit: cpu_max })
                } else {
                    let replaced = |id: usize| Outcome::Replace(id.to_string().into());
                    Ok(ids.into_iter().map(replaced).collect())
                };
                part.called(result);
                calls += 1;
            }
            part.finish();
            for (id, outcome) in outcomes.recv().unwrap().into_iter().enumerate() {
                match outcome {
                    Outcome::Failed(reason) => {
                        assert!(guilty.contains(&id), "{id}");
                        assert_eq!(reason.code, ReasonCode::TransformTimedOut);
                    }
                    other => assert_eq!(other, Outcome::Replace(id.to_string().into())),
                }
            }
            assert!(calls <= 1 + 16 * guilty.len(), "{calls} calls for {guilty:?}");
        }
    }

    /// A record is singled out of a batch; when the rest is failed, outcomes keep their order.
    #[test]
    fn one_is_singled_out() {
        let (mut part, outcomes) = part(3);
        part.single_out(CPU_LEAST);
        assert_eq!(part.next().0.len(), 1);
        part.called(Ok(vec![Outcome::Skip]));
        let reason = Reason::new(ReasonCode::TransformSuspended, "");
        part.fail_all(&reason);
        part.finish();
        assert_eq!(
            outcomes.recv().unwrap(),
            [Outcome::Skip, Outcome::Failed(reason.clone()), Outcome::Failed(reason)]
        );
    }

    /// A part that is lost with its thread tells that its records failed: nobody waits for ever.
    #[test]
    fn a_lost_part_is_told() {
        let (part, outcomes) = part(2);
        drop(part);
        let outcomes = outcomes.recv().unwrap();
        assert!(matches!(&outcomes[..], [Outcome::Failed(_), Outcome::Failed(_)]));
    }
}
