//! What destinations do in a life of the log: they come, get further, are left behind, and are told to go on.

use super::{
    destination::at_first,
    life::{Ended, Life},
    model::DESTINATIONS,
    run::Run,
    settled::settle,
    tally::Event,
};
use crate::log::{
    interface::{From, Gap, GapCause, Log, LogError},
    tests::position,
};

impl Life<'_> {
    /// A destination comes further, perhaps with ranges that are settled beyond. One that is detached may not know yet:
    /// then nothing comes of it.
    pub(super) fn commit(&mut self) -> Result<(), Ended> {
        let index = self.run.rng.usize(..DESTINATIONS.len());
        if self.subscriptions[index].is_none() {
            return Ok(());
        }
        let end = self.run.model.end();
        let rng = &mut self.run.rng;
        let from = self.run.model.destinations[index].furthest();
        let next = if rng.bool() { end } else { rng.u64(from..=end) };
        let mut ranges = vec![(from, next)];
        let mut after = next;
        while ranges.len() <= 3 && after + 2 <= end && rng.bool() {
            let begin = rng.u64(after + 1..end);
            after = rng.u64(begin + 1..=end);
            ranges.push((begin, after));
        }
        self.commit_ranges(index, ranges)
    }

    /// A destination settles these ranges.
    pub(super) fn commit_ranges(&mut self, index: usize, ranges: Vec<(u64, u64)>) -> Result<(), Ended> {
        let frozen = self.subscriptions[index].as_ref().is_some_and(|detached| *detached.borrow());
        let destination = &mut self.run.model.destinations[index];
        let (mut reached, written) = settle(destination.reached(), ranges);
        reached.totals.written += written;
        if !frozen {
            destination.ask(reached.clone());
        }
        let committed = self.run.wait(self.log.commit(DESTINATIONS[index], &reached));
        if self.settle(committed)?.is_some() && !frozen {
            self.run.model.destinations[index].acknowledge();
            self.run.tally.count(Event::Committed);
        }
        self.check();
        Ok(())
    }

    pub(super) fn subscribe(&mut self, index: usize) -> Result<(), Ended> {
        let from = if self.run.rng.bool() { From::Now } else { From::Oldest };
        let status = self.log.status();
        let first = match from {
            From::Now => status.end.offset,
            From::Oldest => status.start.offset,
            From::At(position) => position.offset,
        };
        let destination = &mut self.run.model.destinations[index];
        destination.subscribed = true;
        let missing = destination.open_gap().is_some_and(|gap| gap.cause == GapCause::Removed);
        // Once the log is poisoned, an attempt that failed may have closed the gap.
        let missing = missing && !self.is_poisoned();
        let subscribed = self.run.wait(self.log.subscribe(DESTINATIONS[index], from));
        let destination = &mut self.run.model.destinations[index];
        if !destination.is_served() && (subscribed.is_err() || !self.run.machine.runs()) {
            destination.ask(at_first(first));
        }
        let Some(found) = self.settle(subscribed)? else {
            self.check();
            return Ok(());
        };
        // Once the log is poisoned, it is not certain that somebody is detached who is said to be.
        if !self.is_poisoned() || !*found.detached.borrow() {
            self.check_gaps(index);
            let Self { run, .. } = self;
            run.model.destinations[index].check_found(&found, first, &mut run.tally);
            assert!(!missing || found.alert.is_some(), "it is not told of what it missed");
            run.tally.count(Event::Subscribed);
        }
        self.subscriptions[index] = Some(found.detached);
        self.check();
        Ok(())
    }

    /// An operator lets a destination go on, if it is detached.
    pub(super) fn resume(&mut self, index: usize) -> Result<(), Ended> {
        let from = if self.run.rng.bool() { From::Now } else { From::Oldest };
        let start = self.log.status().start.offset;
        // Once the log is poisoned, a gap may have grown that the model has not looked at since.
        let grown = self.gaps(index).last().map_or(0, |gap| gap.to.offset);
        self.run.model.destinations[index].ask_to_resume();
        let resumed = self.run.wait(self.log.resume(DESTINATIONS[index], from));
        if let Err(LogError::NotDetached { .. }) = resumed {
            assert!(self.is_poisoned() || !self.run.model.destinations[index].is_detached());
            return Ok(());
        }
        let counted = self.run.model.destinations[index].accounted().unwrap_or(0);
        let resumed = self.settle(resumed)?;
        // Whatever came of it, it asks for its cursor again.
        self.subscriptions[index] = None;
        if let Some(gap) = resumed {
            self.check_gaps(index);
            let destination = &mut self.run.model.destinations[index];
            destination.subscribed = false;
            assert_eq!(destination.gaps().last(), Some(&gap));
            let (to, event) = match from {
                From::Now => (self.run.model.end(), Event::ResumedAtTheEnd),
                From::Oldest => (counted.max(grown).max(start), Event::ResumedAtTheStart),
                From::At(_) => unreachable!("it is asked for the two others only"),
            };
            assert_eq!(gap.to, position(to), "{gap:?}");
            self.run.tally.count(event);
        }
        self.check();
        Ok(())
    }

    pub(super) fn give_back(&mut self) -> Result<(), Ended> {
        let given = self.run.wait(self.log.give_back());
        self.settle(given)?;
        self.check();
        Ok(())
    }

    /// Looks at a destination's gaps, which must be certain.
    pub(super) fn check_gaps(&mut self, index: usize) {
        let found = self.gaps(index);
        let Run { model, tally, .. } = &mut *self.run;
        model.destinations[index].check_gaps(found, &model.kept, tally);
    }

    fn gaps(&self, index: usize) -> Vec<Gap> {
        self.writer.destinations.read_gaps(DESTINATIONS[index]).expect("gaps can be read")
    }

    /// What an operation on cursors came to; an error needs a fault, and `None` is one that the process survives. What
    /// was done just before the process ended is told to nobody.
    fn settle<T>(&self, result: Result<T, LogError>) -> Result<Option<T>, Ended> {
        if let Err(error) = &result {
            assert!(matches!(error, LogError::Io { .. }), "{error}");
            assert!(!self.run.machine.struck().is_empty(), "{error}");
        }
        if self.run.machine.runs() { Ok(result.ok()) } else { Err(Ended) }
    }
}
