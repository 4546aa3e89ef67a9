//! One life of the log: it is opened, compared with the model, and used until a fault ends it or it is closed.

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use super::{
    model::{self, Asked, DESTINATIONS},
    run::{DISK_BYTES_MAX, Run},
    tally::Event,
};
use crate::log::{
    EmbeddedLog, OpenReport,
    interface::{AppendError, Appended, Frame, From, Log, LogError, Progress, ReadError, Reader},
    tests::{position, progress, request},
    writer::Writer,
};

/// The log while it is open.
pub(super) struct Life<'a> {
    run: &'a mut Run,
    log: EmbeddedLog,
    writer: Writer,
    subscribed: [bool; DESTINATIONS.len()],
    tail: Option<(Box<dyn Reader>, u64)>,
    start: u64,
    poisoned: bool,
}

/// A fault has ended the life, or what can be done in it.
#[derive(Debug)]
pub(super) struct Ended;

impl<'a> Life<'a> {
    pub(super) fn new(run: &'a mut Run, log: EmbeddedLog, writer: Writer) -> Self {
        let start = log.status().start.offset;
        Self { run, log, writer, subscribed: [false; DESTINATIONS.len()], tail: None, start, poisoned: false }
    }

    /// Compares what was found with the model, and brings the destinations back.
    pub(super) fn begin(&mut self, report: &OpenReport) -> Result<(), Ended> {
        assert_eq!(report.alerts, [""; 0]);
        let (start, end) = (report.start.offset, report.end.offset);
        self.run.model.check_start(start);
        let frames = self.read(start, end)?;
        self.run.model.check_opened(&frames, start, end, &mut self.run.tally);
        let tally = &mut self.run.tally;
        tally.count_many(Event::TornTail, u64::from(report.torn_bytes > 0));
        tally.count_many(Event::Leftover, u64::from(report.temporary_files > 0));
        self.check();
        for index in 0..DESTINATIONS.len() {
            if self.run.rng.u8(..8) > 0 {
                self.subscribe(index)?;
            }
        }
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
            self.run.runtime.block_on(self.log.close());
            assert!(!self.writer.turn(), "nothing waits");
            self.run.tally.count(Event::Closed);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Ended> {
        match self.run.rng.u8(..20) {
            0..10 => self.append(),
            10..14 => self.commit(),
            14..15 => self.read_from_anywhere(),
            15..17 => self.read_the_tail(),
            17..18 => {
                let index = self.run.rng.usize(..DESTINATIONS.len());
                self.subscribe(index)
            }
            _ => {
                self.run.clock.0.store(self.run.rng.u64(1..4_000_000), Ordering::SeqCst);
                Ok(())
            }
        }
    }

    /// After everything that happened the log takes and gives records, once every destination has caught up.
    fn go_on(&mut self) -> Result<(), Ended> {
        let end = self.run.model.end;
        for index in 0..DESTINATIONS.len() {
            self.subscribe(index)?;
            self.commit_to(index, model::at_first(end))?;
        }
        for _ in 0..3 {
            self.append()?;
        }
        assert!(self.run.model.end > end, "nothing was accepted");
        let frames = self.read(end, self.run.model.end)?;
        assert_eq!(self.run.model.check_read(&frames, end), self.run.model.end);
        Ok(())
    }

    /// Hands over requests at once, so that they become one write group (or several, where it rolls), and judges the
    /// answers.
    fn append(&mut self) -> Result<(), Ended> {
        let rng = &mut self.run.rng;
        let asked: Vec<Asked> = (0..rng.usize(1..=4))
            .map(|_| {
                // Often alike, so that what is left of a torn write fits behind the next one.
                let (records, bytes) = match rng.u8(..16) {
                    0 => (rng.u32(1..=4), rng.usize(8000..30_000)),
                    1..4 => (rng.u32(1..=4), rng.usize(600..8000)),
                    4..8 => (rng.u32(1..=4), rng.usize(8..600)),
                    _ => (1, 700),
                };
                self.run.model.ask(records, bytes)
            })
            .collect();
        let appends = asked.iter().map(|one| request(one.number, one.records, one.bytes));
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
        let given_up = self.poisoned;
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
                assert!(!self.poisoned, "accepted after a failure");
                model.acknowledge(asked, &appended, now);
                tally.count(Event::Appended);
            }
            Err(AppendError::Full { used, budget, .. }) => {
                assert!(used <= budget && budget == DISK_BYTES_MAX, "{used} of {budget}");
                model.refuse(asked);
                tally.count(Event::Full);
            }
            Err(error @ AppendError::Poisoned { .. }) => {
                assert!(!machine.struck().is_empty(), "{error}");
                if given_up {
                    // Nothing that comes after the failure is ever written.
                    model.refuse(asked);
                }
                self.poisoned = true;
                tally.count(Event::Poisoned);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A destination comes further, perhaps with ranges that are settled beyond.
    fn commit(&mut self) -> Result<(), Ended> {
        let index = self.run.rng.usize(..DESTINATIONS.len());
        if !self.subscribed[index] {
            return Ok(());
        }
        let end = self.run.model.end;
        let rng = &mut self.run.rng;
        let from = self.run.model.destinations[index].furthest();
        let next = if rng.bool() { end } else { rng.u64(from..=end) };
        let mut reached = progress(next);
        let mut after = next;
        while reached.completed.len() < 3 && after + 2 <= end && rng.bool() {
            let begin = rng.u64(after + 1..end);
            after = rng.u64(begin + 1..=end);
            reached.completed.push((begin, after));
        }
        self.commit_to(index, reached)
    }

    fn commit_to(&mut self, index: usize, progress: Progress) -> Result<(), Ended> {
        self.run.model.destinations[index].ask(progress.clone());
        let committed = self.run.wait(self.log.commit(DESTINATIONS[index], &progress));
        if self.settle(committed)?.is_some() {
            self.run.model.destinations[index].acknowledge();
            self.run.tally.count(Event::Committed);
        }
        self.check();
        Ok(())
    }

    fn subscribe(&mut self, index: usize) -> Result<(), Ended> {
        let from = if self.run.rng.bool() { From::Now } else { From::Oldest };
        let first = model::first_offset(from, &self.log.status());
        let subscribed = self.run.wait(self.log.subscribe(DESTINATIONS[index], from));
        let destination = &mut self.run.model.destinations[index];
        if subscribed.is_err() && !destination.is_served() {
            destination.ask(model::at_first(first));
        }
        if let Some(found) = self.settle(subscribed)? {
            let Run { model, tally, .. } = &mut *self.run;
            model.destinations[index].check_found(found, first, tally);
            tally.count(Event::Subscribed);
            self.subscribed[index] = true;
        }
        self.check();
        Ok(())
    }

    fn read_from_anywhere(&mut self) -> Result<(), Ended> {
        let (start, end) = (self.log.status().start.offset, self.run.model.end);
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
        let end = self.run.model.end;
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

    /// What a cursor's operation came to; an error needs a fault, and `None` is one that the process survives.
    fn settle<T>(&self, result: Result<T, LogError>) -> Result<Option<T>, Ended> {
        let error = match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) => error,
        };
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        assert!(!self.run.machine.struck().is_empty(), "{error}");
        if self.run.machine.runs() { Ok(None) } else { Err(Ended) }
    }

    /// What holds after every step.
    fn check(&mut self) {
        let status = self.log.status();
        self.run.model.check_status(&status);
        assert!(status.start.offset >= self.start, "what was given back is there again");
        self.run.tally.count_many(Event::GivenBack, u64::from(status.start.offset > self.start));
        self.start = status.start.offset;
    }
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
