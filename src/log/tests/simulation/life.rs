//! One life of the log: it is opened, compared with the model, and used until a fault ends it or it is closed.

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use tokio::sync::watch;

use super::{
    model::{Asked, DESTINATIONS},
    run::{Configured, DISK_BYTES_MAX, Run},
    tally::Event,
};
use crate::log::{
    EmbeddedLog, OpenReport,
    interface::{AppendError, Appended, Frame, Log, ReadError, Reader},
    tests::position,
    writer::Writer,
};

/// The log while it is open.
pub(super) struct Life<'a> {
    pub(super) run: &'a mut Run,
    pub(super) log: EmbeddedLog,
    pub(super) writer: Writer,
    /// Whether each is detached, of those that may commit.
    pub(super) subscriptions: [Option<watch::Receiver<bool>>; DESTINATIONS.len()],
    tail: Option<(Box<dyn Reader>, u64)>,
}

/// A fault has ended the life, or what can be done in it.
#[derive(Debug)]
pub(super) struct Ended;

impl<'a> Life<'a> {
    pub(super) fn new(run: &'a mut Run, log: EmbeddedLog, writer: Writer) -> Self {
        Self { run, log, writer, subscriptions: [const { None }; DESTINATIONS.len()], tail: None }
    }

    /// Compares what was found with the model, and brings the destinations back.
    pub(super) fn begin(&mut self, report: &OpenReport, configured: &Configured) -> Result<(), Ended> {
        let (start, end) = (report.start.offset, report.end.offset);
        let frames = self.read(start, end)?;
        self.run.model.check_opened(&frames, start, end, &mut self.run.tally);
        let tally = &mut self.run.tally;
        tally.count_many(Event::TornTail, u64::from(report.torn_bytes > 0));
        tally.count_many(Event::Leftover, u64::from(report.temporary_files > 0));
        // What the life before may have changed, with who was configured then.
        self.check();
        for (destination, limit) in self.run.model.destinations.iter_mut().zip(configured) {
            destination.configure(*limit);
        }
        self.run.model.check_told(&report.alerts);
        for index in 0..DESTINATIONS.len() {
            if self.is_configured(index) && self.run.rng.u8(..8) > 0 {
                self.subscribe(index)?;
            }
        }
        Ok(())
    }

    /// An operator lets whoever is detached go on, while no agent runs.
    pub(super) fn repair(&mut self) -> Result<(), Ended> {
        for index in 0..DESTINATIONS.len() {
            if self.run.rng.u8(..4) > 0 {
                self.resume(index)?;
            }
        }
        self.close();
        Ok(())
    }

    /// Some steps, until a fault ends it or it is closed.
    pub(super) fn spend(&mut self, undisturbed: bool) -> Result<(), Ended> {
        let steps = self.run.rng.usize(..48);
        for _ in 0..steps {
            self.step()?;
        }
        if undisturbed {
            self.go_on()?;
        }
        if self.run.rng.bool() {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.run.runtime.block_on(self.log.close());
        assert!(!self.writer.turn(), "nothing waits");
        self.run.tally.count(Event::Closed);
    }

    fn step(&mut self) -> Result<(), Ended> {
        match self.run.rng.u8(..24) {
            0..11 => self.append(),
            11..16 => self.commit(),
            16..17 => self.read_from_anywhere(),
            17..19 => self.read_the_tail(),
            19..21 => {
                let index = self.run.rng.usize(..DESTINATIONS.len());
                if self.is_configured(index) { self.subscribe(index) } else { Ok(()) }
            }
            21..22 => {
                let index = self.run.rng.usize(..DESTINATIONS.len());
                self.resume(index)
            }
            22..23 => self.give_back(),
            _ => {
                self.run.clock.0.store(self.run.rng.u64(1..4_000_000), Ordering::SeqCst);
                Ok(())
            }
        }
    }

    /// After everything that happened the log takes and gives records, once every destination has caught up.
    fn go_on(&mut self) -> Result<(), Ended> {
        let end = self.run.model.end();
        for index in (0..DESTINATIONS.len()).filter(|index| self.is_configured(*index)).collect::<Vec<_>>() {
            if self.run.model.destinations[index].is_detached() {
                self.resume(index)?;
            }
            self.subscribe(index)?;
            self.commit_ranges(index, vec![(0, end)])?;
        }
        for _ in 0..3 {
            self.append()?;
        }
        assert!(self.run.model.end() > end, "nothing was accepted");
        let frames = self.read(end, self.run.model.end())?;
        assert_eq!(self.run.model.check_read(&frames, end), self.run.model.end());
        Ok(())
    }

    /// Hands over requests at once, so that they become one write group (or several, where it rolls), and judges the
    /// answers.
    fn append(&mut self) -> Result<(), Ended> {
        let Run { rng, alike, model, .. } = &mut *self.run;
        let asked: Vec<Asked> = (0..rng.usize(1..=4))
            .map(|_| {
                let (records, bytes) = match rng.u8(..16) {
                    _ if *alike => (1, 700),
                    0 => (rng.u32(1..=4), rng.usize(8000..30_000)),
                    1..4 => (rng.u32(1..=4), rng.usize(600..8000)),
                    _ => (rng.u32(1..=4), rng.usize(8..600)),
                };
                model.ask(records, bytes)
            })
            .collect();
        let appends = asked.iter().map(|one| one.request());
        let given_up = self.is_poisoned();
        let mut appends: Vec<_> = appends.map(|append| self.log.append(append)).collect();
        let mut answers: Vec<_> = appends.iter_mut().map(poll).collect();
        if answers.iter().any(Option::is_none) {
            assert!(self.writer.turn(), "the queue is open");
        }
        for (append, answer) in appends.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                *answer = poll(append);
            }
        }
        drop(appends);
        self.run.tally.count(Event::Group);
        for (asked, answer) in asked.into_iter().zip(answers) {
            self.judge(asked, answer.expect("a turn answers everybody"), given_up);
        }
        self.check();
        if self.run.machine.runs() { Ok(()) } else { Err(Ended) }
    }

    /// `given_up`: the log was poisoned before this was handed over.
    fn judge(&mut self, asked: Asked, answer: Result<Appended, AppendError>, given_up: bool) {
        let now = self.run.clock.0.load(Ordering::SeqCst);
        let Run { model, tally, machine, .. } = &mut *self.run;
        match answer {
            Ok(appended) => {
                assert!(!given_up, "accepted after a failure");
                model.acknowledge(asked, &appended, now);
                tally.count(Event::Appended);
            }
            Err(AppendError::Full { used, budget, .. }) => {
                assert!(used <= budget && budget == DISK_BYTES_MAX, "{used} of {budget}");
                model.refuse(asked);
                tally.count(Event::Full);
            }
            // A gap could not be recorded.
            Err(error @ AppendError::NoSpace { .. }) => {
                assert!(!machine.struck().is_empty(), "{error}");
                model.refuse(asked);
            }
            Err(error @ AppendError::Poisoned { .. }) => {
                assert!(!machine.struck().is_empty(), "{error}");
                if given_up {
                    // Nothing that comes after the failure is ever written.
                    model.refuse(asked);
                }
                tally.count(Event::Poisoned);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn read_from_anywhere(&mut self) -> Result<(), Ended> {
        let (start, end) = (self.log.status().start.offset, self.run.model.end());
        // Often where a destination stands.
        let from = match self.run.rng.usize(..2 * DESTINATIONS.len()) {
            index if index < DESTINATIONS.len() => self.run.model.destinations[index].offset().max(start),
            _ => self.run.rng.u64(start..=end),
        };
        let frames = self.read(from, end)?;
        assert_eq!(self.run.model.check_read(&frames, from), end);
        self.run.tally.count(Event::Read);
        Ok(())
    }

    /// A reader that was at the end finds what came since, and waits where nothing did.
    fn read_the_tail(&mut self) -> Result<(), Ended> {
        let end = self.run.model.end();
        let (mut reader, mut offset) = match self.tail.take() {
            Some(tail) => tail,
            None => (self.run.wait(self.log.read_from(position(end))).expect("the end can be read"), end),
        };
        if offset == end {
            assert!(poll(&mut reader.next()).is_none(), "read beyond the end");
        }
        while offset < end {
            let frames = match self.run.wait(reader.next()) {
                Ok(frames) => frames,
                // It was too slow.
                Err(ReadError::BelowStart { start, .. }) if start == self.log.status().start => return Ok(()),
                Err(error) => return self.fail(&error),
            };
            offset = self.run.model.check_read(&frames, offset);
        }
        self.tail = Some((reader, offset));
        self.run.tally.count(Event::ReadAtTheTail);
        Ok(())
    }

    fn read(&mut self, from: u64, end: u64) -> Result<Vec<Frame>, Ended> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut reader = match self.run.wait(self.log.read_from(position(from))) {
            Ok(reader) => reader,
            Err(error) => return self.fail(&error),
        };
        while frames.last().map_or(from, |last| last.position.offset + u64::from(last.records)) < end {
            match self.run.wait(reader.next()) {
                Ok(found) => frames.extend(found),
                Err(error) => return self.fail(&error),
            }
        }
        Ok(frames)
    }

    /// Reading fails when the process was ended, and never else.
    fn fail<T>(&self, error: &ReadError) -> Result<T, Ended> {
        assert!(!self.run.machine.runs(), "{error}");
        Err(Ended)
    }

    /// What holds after every step.
    pub(super) fn check(&mut self) {
        let status = self.log.status();
        self.run.model.check_status(&status);
        if self.is_poisoned() || !self.run.machine.runs() {
            // What was being done is done by half, perhaps: the next life looks.
            self.run.model.note_doubt();
            return;
        }
        (0..DESTINATIONS.len()).for_each(|index| self.check_gaps(index));
        let Run { model, tally, .. } = &mut *self.run;
        model.check_start(status.start.offset, tally);
        for (destination, detached) in model.destinations.iter().zip(&self.subscriptions) {
            let detached = detached.as_ref().map(|detached| *detached.borrow());
            assert!(detached.is_none_or(|detached| detached == destination.is_detached()), "{destination:?}");
        }
    }

    /// Whether nothing is accepted any more.
    pub(super) fn is_poisoned(&self) -> bool {
        self.writer.directory.poisoned().is_some()
    }

    fn is_configured(&self, index: usize) -> bool {
        self.run.model.destinations[index].limit.is_some()
    }
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
