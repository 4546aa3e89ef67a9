//! What waits for a thread: for each transform and index a lane, and the lanes take turns, one call at a time.
//!
//! There are two rounds. A lane that was out of time lately is served in the slow one, by a thread of its own at low
//! priority, so that a module that never ends takes from the others hardly more than what they leave. It gets one thread
//! at a time, and so does a lane that crashed lately.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::{
    health::{Health, Suspicion, Turn},
    job::Job,
    split::{Part, cpu_least},
    transforms::Status,
};

/// Tells the time; tests have their own.
pub(super) type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A transform on an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) transform: Arc<str>,
    pub(super) index: Arc<str>,
}

/// All lanes, shared by the threads.
pub(super) struct Queue {
    state: Mutex<State>,
    /// One for each round.
    wake: [Condvar; 2],
    now: Now,
}

/// Which lanes a thread serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Those that come to an end.
    Quick,
    /// Those that were out of time lately.
    Slow,
}

#[derive(Default)]
struct State {
    lanes: Vec<Lane>,
    numbers: FxHashMap<Key, usize>,
    /// Lanes that have work and may run, in turn.
    rounds: [VecDeque<usize>; 2],
    /// Calls that run.
    running: usize,
    closed: bool,
}

struct Lane {
    key: Key,
    work: VecDeque<Work>,
    in_round: bool,
    running: usize,
    health: Health,
    records: u64,
    failures: u64,
    cpu: Duration,
}

enum Work {
    /// A job, of which the records before `next` are taken already.
    Fresh { job: Arc<Job>, next: usize },
    /// A part between two of its calls.
    LaidAside(Part),
}

/// One call to make.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) key: Key,
    pub(super) part: Part,
    pub(super) turn: Turn,
    pub(super) place: Place,
}

/// Whose turn a task is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    lane: usize,
    generation: u64,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// There was none.
    NotCalled,
    /// It came to its end with so many records.
    Ended { records: u32 },
    /// It crashed, or no instance could be started.
    Crashed,
    /// It was out of time.
    TimedOut,
}

/// Records of one call, and bytes of their bodies unless it is only one.
const BATCH_RECORDS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 << 10;

impl Queue {
    pub(super) fn new(now: Now) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), wake: Default::default(), now })
    }

    /// Puts a job at the end of its lane.
    pub(super) fn push(&self, key: Key, job: Arc<Job>) {
        let now = (self.now)();
        let mut state = self.state();
        let lane = state.lane(key);
        state.lanes[lane].work.push_back(Work::Fresh { job, next: 0 });
        self.enter(&mut state, lane, now);
    }

    /// Waits for a call to make; `None` when the queue is closed and nothing is left to do.
    pub(super) fn take(&self, round: Round) -> Option<Task> {
        let mut state = self.state();
        loop {
            while let Some(number) = state.rounds[round as usize].pop_front() {
                let now = (self.now)();
                state.lanes[number].in_round = false;
                let task = match state.lanes[number].may_run(now) {
                    Some(of) if of == round => state.lanes[number].take(number, now),
                    // It was out of time while it waited here.
                    _ => None,
                };
                state.running += usize::from(task.is_some());
                self.enter(&mut state, number, now);
                if task.is_some() {
                    return task;
                }
            }
            if state.closed && state.running == 0 && state.rounds.iter().all(VecDeque::is_empty) {
                self.wake_all();
                return None;
            }
            state = self.wake[round as usize].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a part back after its call, or nothing if it was lost. Returns it if all of it has an outcome.
    pub(super) fn put_back(&self, place: Place, part: Option<Part>, ran: Ran, cpu: Duration) -> Option<Part> {
        let now = (self.now)();
        let mut state = self.state();
        state.running -= 1;
        let lane = &mut state.lanes[place.lane];
        lane.running -= 1;
        lane.cpu += cpu;
        let (began, ended) = match ran {
            Ran::NotCalled => (false, false),
            Ran::Ended { records } => (false, lane.health.ended(place.generation, records, cpu)),
            Ran::Crashed => (false, lane.health.crashed(now, place.generation)),
            Ran::TimedOut => (lane.health.timed_out(now, place.generation, cpu), false),
        };
        let changed = (began || ended).then(|| lane.key.clone());
        let finished = match part {
            Some(part) if part.is_finished() => {
                let (records, failures) = part.counts();
                lane.records += records;
                lane.failures += failures;
                Some(part)
            }
            Some(part) => {
                lane.work.push_front(Work::LaidAside(part));
                None
            }
            None => None,
        };
        self.enter(&mut state, place.lane, now);
        if state.closed && state.running == 0 {
            self.wake_all();
        }
        drop(state);
        if let Some(Key { transform, index }) = changed {
            if began {
                tracing::error!(%transform, %index, "transform is suspended on an index: it spends its CPU time without an end");
            } else {
                tracing::info!(%transform, %index, "transform runs again");
            }
        }
        finished
    }

    /// Lets a transform run again wherever it is suspended.
    pub(super) fn resume(&self, transform: &str) {
        let mut state = self.state();
        for lane in state.lanes.iter_mut().filter(|lane| &*lane.key.transform == transform) {
            lane.health.resume();
        }
    }

    pub(super) fn status(&self) -> Vec<Status> {
        let status = |lane: &Lane| Status {
            transform: lane.key.transform.clone(),
            index: lane.key.index.clone(),
            records: lane.records,
            failures: lane.failures,
            cpu: lane.cpu,
            suspended: lane.health.is_suspended(),
        };
        self.state().lanes.iter().map(status).collect()
    }

    /// Nothing is pushed any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake_all();
    }

    /// Lets a lane take part in the round where it belongs, if it has work and may run.
    fn enter(&self, state: &mut State, number: usize, now: Instant) {
        let lane = &mut state.lanes[number];
        if lane.in_round || lane.work.is_empty() {
            return;
        }
        let Some(round) = lane.may_run(now) else { return };
        lane.in_round = true;
        state.rounds[round as usize].push_back(number);
        self.wake[round as usize].notify_one();
    }

    fn wake_all(&self) {
        self.wake.iter().for_each(Condvar::notify_all);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lane(&mut self, key: Key) -> usize {
        *self.numbers.entry(key).or_insert_with_key(|key| {
            self.lanes.push(Lane {
                key: key.clone(),
                work: VecDeque::new(),
                in_round: false,
                running: 0,
                health: Health::default(),
                records: 0,
                failures: 0,
                cpu: Duration::ZERO,
            });
            self.lanes.len() - 1
        })
    }
}

impl Lane {
    /// In which round it may run; in none if it has a thread and gets no other.
    fn may_run(&mut self, now: Instant) -> Option<Round> {
        match self.health.suspicion(now) {
            Suspicion::None => Some(Round::Quick),
            _ if self.running > 0 => None,
            Suspicion::Crashed => Some(Round::Quick),
            Suspicion::TimedOut => Some(Round::Slow),
        }
    }

    fn take(&mut self, number: usize, now: Instant) -> Option<Task> {
        let work = self.work.pop_front()?;
        let job = match &work {
            Work::Fresh { job, .. } => job,
            Work::LaidAside(part) => part.job(),
        };
        let generation = job.serving().map_or(0, |serving| serving.generation);
        let turn = self.health.turn(now, generation);
        let cpu_max = job.slot().map_or(Duration::ZERO, |slot| slot.limits().cpu_max);
        let fit = self.health.batch_records(cpu_max).min(BATCH_RECORDS_MAX);
        let mut part = match work {
            Work::LaidAside(part) => part,
            Work::Fresh { job, next } => {
                let end = batch_end(&job, next, fit);
                if end < job.records.len() {
                    self.work.push_front(Work::Fresh { job: job.clone(), next: end });
                }
                Part::new(job, next..end, cpu_max)
            }
        };
        let health = &self.health;
        match turn {
            Turn::Batch => part.cut(fit, |records, given| health.cpu_of(records, given, cpu_max)),
            Turn::Trial => part.cut(1, |_, _| health.cpu_of(1, cpu_least(cpu_max), cpu_max)),
            Turn::Nothing => {}
        }
        self.running += 1;
        let place = Place { lane: number, generation };
        Some(Task { key: self.key.clone(), part, turn, place })
    }
}

/// Where a batch ends that begins with record `start`: it has one record at least.
fn batch_end(job: &Job, start: usize, records: usize) -> usize {
    let mut bytes = 0;
    let fits = |body: usize| {
        bytes += body;
        bytes <= BATCH_BYTES_MAX
    };
    let rest = job.records[start..].iter().take(records).map(|record| record.body.len());
    let count = rest.map(fits).take_while(|fits| *fits).count().max(1);
    (start + count).min(job.records.len())
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
