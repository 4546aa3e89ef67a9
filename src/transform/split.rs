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
    /// What a call gets however often its records were halved.
    cpu_least: Duration,
}

/// The CPU time that a record gets when it stands alone, of that of a whole batch. It is a share of it, so that an author
/// whose records need more can say so.
pub(super) fn cpu_least(cpu_max: Duration) -> Duration {
    const SHARE: u32 = 8;
    const LEAST: Duration = Duration::from_millis(10);
    (cpu_max / SHARE).max(LEAST).min(cpu_max)
}

impl Part {
    /// The records of `range`, which may spend `cpu_max` together.
    pub(super) fn new(job: Arc<Job>, range: Range<usize>, cpu_max: Duration) -> Self {
        let outcomes = Vec::with_capacity(range.len());
        Self {
            job,
            start: range.start,
            outcomes,
            left: vec![(range.len(), cpu_max)],
            cpu_least: cpu_least(cpu_max),
        }
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

    /// Makes the next call one of so many records at most; its time is what `cpu_of` makes of how many they are and of
    /// the time that they had.
    pub(super) fn cut(&mut self, records: usize, cpu_of: impl FnOnce(usize, Duration) -> Duration) {
        if let Some((count, cpu_max)) = self.left.pop() {
            let next = count.min(records);
            if next < count {
                self.left.push((count - next, cpu_max));
            }
            self.left.push((next, cpu_of(next, cpu_max)));
        }
    }

    /// Takes the result of the call, which took `spent` of CPU time. After a time-out each half has half the time; after
    /// a crash it has at least twice what led to it, or a guest that fills its memory first would be called slow.
    pub(super) fn called(&mut self, result: Result<Vec<Outcome>, CallError>, spent: Duration) {
        let Some((count, cpu_max)) = self.left.pop() else { return };
        match result {
            Ok(outcomes) => self.outcomes.extend(outcomes),
            Err(error) if count <= 1 => {
                self.outcomes.extend((0..count).map(|_| Outcome::Failed(reason(&error))))
            }
            Err(error) => {
                let again = if error.is_time_out() { Duration::ZERO } else { spent * 2 };
                let half = (cpu_max / 2).max(self.cpu_least).max(again).min(cpu_max);
                let first = count / 2;
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
        let job =
            Job::new(None, (0..records).map(record).collect(), move |done| drop(tx.send(done.outcomes)));
        (Part::new(job, 0..records, Duration::from_millis(250)), rx)
    }

    /// Whichever records are guilty, they alone fail, the others keep their order, and no call is made with less time
    /// than the least: after a time-out half of what it had, after a crash at least twice what led to it.
    #[test]
    fn the_guilty_alone_fail() {
        for (records, guilty) in
            [(1, vec![0]), (7, vec![3]), (256, vec![0, 255]), (256, vec![100, 101, 102]), (5, vec![])]
        {
            let (mut part, outcomes) = part(records);
            let mut calls = 0;
            while !part.is_finished() {
                let (batch, cpu_max) = part.next();
                assert!(cpu_max >= Duration::from_millis(250) / 8 && !batch.is_empty());
                let ids: Vec<usize> = batch.iter().map(|record| record.object_id.parse().unwrap()).collect();
                let result = if guilty.iter().any(|id| ids.contains(id)) {
                    Err(CallError::TimedOut { limit: cpu_max })
                } else {
                    let replaced = |id: usize| Outcome::Replace(id.to_string().into());
                    Ok(ids.into_iter().map(replaced).collect())
                };
                part.called(result, cpu_max);
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
        part.cut(1, |count, cpu_max| cpu_max * u32::try_from(count).unwrap() / 5);
        assert_eq!((part.next().0.len(), part.next().1), (1, Duration::from_millis(50)));
        part.called(Ok(vec![Outcome::Skip]), Duration::ZERO);
        assert_eq!((part.next().0.len(), part.next().1), (2, Duration::from_millis(250)));
        part.cut(2, |_, cpu_max| cpu_max);
        assert_eq!(part.next().0.len(), 2);
        let reason = Reason::new(ReasonCode::TransformSuspended, "");
        part.fail_all(&reason);
        part.finish();
        assert_eq!(
            outcomes.recv().unwrap(),
            [Outcome::Skip, Outcome::Failed(reason.clone()), Outcome::Failed(reason)]
        );
    }

    /// After a crash the halves have time to crash again, after a time-out they have half, and never less than the least.
    #[test]
    fn halves_have_their_share() {
        let ms = Duration::from_millis;
        let trapped = || Err(CallError::Trapped { reason: String::new() });
        let timed_out = || Err(CallError::TimedOut { limit: Duration::ZERO });
        let (mut part, _outcomes) = part(256);
        for (result, spent, half) in [
            (trapped(), ms(100), ms(200)),
            (trapped(), ms(10), ms(100)),
            (timed_out(), ms(100), ms(50)),
            (timed_out(), ms(50), ms(250) / 8),
            (trapped(), ms(30), ms(250) / 8),
        ] {
            part.called(result, spent);
            assert_eq!(part.next().1, half);
        }
        assert_eq!((cpu_least(ms(4)), cpu_least(ms(20)), cpu_least(ms(800))), (ms(4), ms(10), ms(100)));
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
