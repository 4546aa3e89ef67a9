//! How a transform fares on one index: what its records cost, and whether it spends so much time for nothing that it
//! is kept from running.
//!
//! Only time-outs count. A crash costs little and says something about one record; a call that does not end costs its
//! whole deadline, and a module that does so on every record would take a processor from everybody.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The health of one transform on one index.
#[derive(Debug, Default)]
pub(super) struct Health {
    generation: u64,
    /// When calls were out of time, and what they had spent.
    time_outs: VecDeque<(Instant, Duration)>,
    suspended: Option<Suspended>,
    crashed_until: Option<Instant>,
    /// CPU time of a record, smoothed; nothing until a call has ended well.
    record_cpu: Duration,
}

#[derive(Debug)]
struct Suspended {
    trial_at: Instant,
    successes: u32,
}

/// What may run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A batch.
    Batch,
    /// One record, to see whether it runs again.
    Trial,
    /// Nothing: records fail at once.
    Nothing,
}

/// What happened lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nothing bad.
    None,
    /// A call crashed, and its records may be halved now.
    Crashed,
    /// A call did not end.
    TimedOut,
}

/// How long a time-out counts for a suspension.
const WINDOW: Duration = Duration::from_secs(60);
/// What time-outs may burn within the window.
const BURNED_MAX: Duration = Duration::from_secs(5);
/// How long a time-out makes suspect.
const SUSPECT_WINDOW: Duration = Duration::from_secs(10);
/// How long a crash is remembered: while its records are halved, and a little longer.
const CRASH_WINDOW: Duration = Duration::from_secs(1);
/// Time between two records that are tried while it is suspended.
const TRIAL_EVERY: Duration = Duration::from_secs(1);
/// Trials in a row that must come to their end.
const SUCCESSES: u32 = 10;
/// A batch is to take a quarter of its time at most, by what its records have cost so far.
const BATCH_SHARE: u32 = 4;

impl Health {
    /// Says what may run of that generation; a new one starts with a clean record. A trial that is given out must be
    /// run.
    pub(super) fn turn(&mut self, now: Instant, generation: u64) -> Turn {
        if generation > self.generation {
            *self = Self { generation, ..Self::default() };
        }
        match &mut self.suspended {
            // A batch that began with the module before.
            _ if generation < self.generation => Turn::Batch,
            None => Turn::Batch,
            Some(suspended) if now >= suspended.trial_at => {
                suspended.trial_at = now + TRIAL_EVERY;
                Turn::Trial
            }
            Some(_) => Turn::Nothing,
        }
    }

    /// A call of that many records has come to its end. Returns whether a suspension ended with it.
    pub(super) fn ended(&mut self, generation: u64, records: u32, cpu: Duration) -> bool {
        if generation != self.generation || records == 0 {
            return false;
        }
        let one = cpu / records;
        self.record_cpu = if self.record_cpu.is_zero() { one } else { (self.record_cpu * 4 + one) / 5 };
        self.ended_in_time()
    }

    /// A call crashed, which says nothing of what its records cost. Returns whether a suspension ended with it.
    pub(super) fn crashed(&mut self, now: Instant, generation: u64) -> bool {
        if generation != self.generation {
            return false;
        }
        self.crashed_until = Some(now + CRASH_WINDOW);
        self.ended_in_time()
    }

    fn ended_in_time(&mut self) -> bool {
        let Some(suspended) = &mut self.suspended else { return false };
        suspended.successes += 1;
        let lifted = suspended.successes >= SUCCESSES;
        if lifted {
            self.resume();
        }
        lifted
    }

    /// A call was out of time. Returns whether a suspension began with it.
    pub(super) fn timed_out(&mut self, now: Instant, generation: u64, burned: Duration) -> bool {
        if generation != self.generation {
            return false;
        }
        self.time_outs.push_back((now, burned));
        self.forget(now);
        if let Some(suspended) = &mut self.suspended {
            suspended.successes = 0;
            return false;
        }
        let burned: Duration = self.time_outs.iter().map(|(_, burned)| *burned).sum();
        if burned < BURNED_MAX {
            return false;
        }
        self.suspended = Some(Suspended { trial_at: now + TRIAL_EVERY, successes: 0 });
        true
    }

    /// Lets it run again.
    pub(super) fn resume(&mut self) {
        self.suspended = None;
        self.time_outs.clear();
    }

    /// Whether its records fail at once.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether it must be watched.
    pub(super) fn suspicion(&mut self, now: Instant) -> Suspicion {
        self.forget(now);
        let lately = |(at, _): &(Instant, Duration)| now.saturating_duration_since(*at) < SUSPECT_WINDOW;
        if self.suspended.is_some() || self.time_outs.back().is_some_and(lately) {
            Suspicion::TimedOut
        } else if self.crashed_until.is_some() {
            Suspicion::Crashed
        } else {
            Suspicion::None
        }
    }

    /// How many records a batch should have so that heavy but honest work stays far from its deadline.
    pub(super) fn batch_records(&self, cpu_max: Duration) -> usize {
        let share = cpu_max / BATCH_SHARE;
        match self.record_cpu.as_nanos() {
            0 => usize::MAX,
            one => usize::try_from(share.as_nanos() / one).unwrap_or(usize::MAX).max(1),
        }
    }

    /// What a call with so many records may spend, if it would be given `given`: several times what they have cost so
    /// far if that is more.
    pub(super) fn cpu_of(&self, records: usize, given: Duration, cpu_max: Duration) -> Duration {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let expected = self.record_cpu.saturating_mul(records).saturating_mul(BATCH_SHARE);
        expected.max(given).min(cpu_max)
    }

    fn forget(&mut self, now: Instant) {
        while self.time_outs.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.time_outs.pop_front();
        }
        self.crashed_until = self.crashed_until.filter(|until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn suspended() -> (Health, Instant) {
        let (mut health, start) = (Health::default(), Instant::now());
        assert_eq!(health.turn(start, 1), Turn::Batch);
        for _ in 0..19 {
            assert!(!health.timed_out(start, 1, 250 * MS), "below five seconds");
        }
        assert!(health.timed_out(start, 1, 250 * MS));
        (health, start)
    }

    /// Five seconds within a minute suspend; the same spread over more than a minute does not.
    #[test]
    fn time_outs_suspend() {
        let (mut health, start) = suspended();
        assert_eq!(health.turn(start, 1), Turn::Nothing);

        let mut health = Health::default();
        health.turn(start, 1);
        for second in 0..600 {
            let now = start + Duration::from_secs(second * 4);
            assert!(
                !health.timed_out(now, 1, 250 * MS),
                "a poison record every four seconds suspends nobody"
            );
            assert_eq!(health.turn(now, 1), Turn::Batch);
            assert_eq!(health.suspicion(now), Suspicion::TimedOut);
        }
        assert_eq!(health.suspicion(start + Duration::from_secs(599 * 4 + 10)), Suspicion::None);
    }

    /// One record a second is tried; ten in a row that end lift the suspension, and a time-out between starts anew.
    #[test]
    fn trials_lift() {
        let (mut health, start) = suspended();
        let mut trials = 0;
        for tenth in 1..=300_u32 {
            let now = start + tenth * 100 * MS;
            match health.turn(now, 1) {
                Turn::Batch => panic!("suspended"),
                Turn::Nothing => continue,
                Turn::Trial => trials += 1,
            }
            assert_eq!(health.turn(now, 1), Turn::Nothing, "one at a time");
            if trials == 10 {
                assert!(!health.timed_out(now, 1, 10 * MS), "it is suspended already");
            } else if health.ended(1, 1, MS) {
                assert_eq!((trials, tenth), (20, 200), "ten after the one that was out of time");
                assert_eq!(health.turn(now, 1), Turn::Batch);
                assert_eq!(health.suspicion(now), Suspicion::None);
                return;
            }
        }
        panic!("never lifted");
    }

    /// A new module starts with a clean record, and what is left of the one before neither suspends nor lifts; an
    /// operator lifts at once.
    #[test]
    fn a_new_module_and_an_operator_lift() {
        let (mut health, start) = suspended();
        assert_eq!(health.turn(start, 2), Turn::Batch);
        assert!(!health.is_suspended());
        for _ in 0..100 {
            assert!(!health.timed_out(start, 1, 250 * MS));
        }
        assert_eq!((health.turn(start, 1), health.turn(start, 2)), (Turn::Batch, Turn::Batch));

        let (mut health, start) = suspended();
        health.resume();
        assert_eq!(health.turn(start, 1), Turn::Batch);
    }

    /// Heavy records come in small batches, light ones are not held back.
    #[test]
    fn batches_follow_the_cost() {
        let mut health = Health::default();
        health.turn(Instant::now(), 1);
        assert_eq!(health.batch_records(250 * MS), usize::MAX);
        health.ended(1, 100, 200 * MS);
        assert_eq!(health.batch_records(250 * MS), 31);
        health.ended(1, 1, 1000 * MS);
        assert_eq!(health.batch_records(250 * MS), 1, "never none");
        for _ in 0..100 {
            health.ended(1, 256, MS);
        }
        assert!(health.batch_records(250 * MS) > 10_000);
    }

    /// What is known to be heavy gets the time for it, and never more than a batch.
    #[test]
    fn heavy_records_get_their_time() {
        let mut health = Health::default();
        health.turn(Instant::now(), 1);
        assert_eq!(health.cpu_of(256, 31 * MS, 250 * MS), 31 * MS);
        health.ended(1, 2, 30 * MS);
        assert_eq!(health.cpu_of(1, 31 * MS, 250 * MS), 60 * MS);
        assert_eq!(health.cpu_of(4, 31 * MS, 250 * MS), 240 * MS);
        assert_eq!(health.cpu_of(usize::MAX, 31 * MS, 250 * MS), 250 * MS);
    }

    /// A crash keeps an index to one thread for a second, and suspends nothing.
    #[test]
    fn crashes_are_suspect() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.turn(start, 1);
        for _ in 0..1_000 {
            health.crashed(start, 1);
        }
        assert!(!health.is_suspended());
        assert_eq!(health.suspicion(start), Suspicion::Crashed);
        assert_eq!(health.suspicion(start + CRASH_WINDOW), Suspicion::None);
    }
}
