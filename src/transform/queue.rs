//! What waits for a thread: for each transform and index a lane, and the lanes take turns, one call at a time.
//!
//! A lane that was out of time lately has one thread at most, and all such lanes together leave at least one of several
//! threads to the others, so that a module that never ends costs others no more than their place in the round.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::{
    health::{Health, Turn},
    job::Job,
    slot::Slot,
    split::{CPU_LEAST, Part},
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
    wake: Condvar,
    workers: usize,
    now: Now,
}

#[derive(Default)]
struct State {
    lanes: Vec<Lane>,
    numbers: FxHashMap<Key, usize>,
    /// Lanes that have work, in turn.
    round: VecDeque<usize>,
    /// Threads that run for a lane that was out of time lately.
    suspects_running: usize,
    closed: bool,
}

struct Lane {
    key: Key,
    slot: Option<Arc<Slot>>,
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
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) part: Part,
    pub(super) turn: Turn,
    pub(super) place: Place,
}

/// Whose turn a task is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    lane: usize,
    suspect: bool,
    generation: u64,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// There was none.
    NotCalled,
    /// It came to its end with so many records, well or not.
    Ended { records: u32 },
    /// It was out of time.
    TimedOut,
}

/// Records of one call, and bytes of their bodies unless it is only one.
const BATCH_RECORDS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 << 10;

impl Queue {
    pub(super) fn new(workers: usize, now: Now) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), wake: Condvar::new(), workers, now })
    }

    /// Puts a job at the end of its lane.
    pub(super) fn push(&self, key: Key, slot: Option<&Arc<Slot>>, job: Arc<Job>) {
        let mut state = self.state();
        let lane = state.lane(key, slot);
        state.lanes[lane].work.push_back(Work::Fresh { job, next: 0 });
        state.enter_round(lane);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for a call to make; `None` when the queue is closed and nothing waits any more.
    pub(super) fn take(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if let Some(task) = state.next((self.now)(), self.workers) {
                if !state.round.is_empty() {
                    self.wake.notify_one();
                }
                return Some(task);
            }
            if state.closed && state.round.is_empty() {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a part back after its call, or nothing if it was lost. Returns it if all of it has an outcome.
    pub(super) fn put_back(&self, place: Place, part: Option<Part>, ran: Ran, cpu: Duration) -> Option<Part> {
        let now = (self.now)();
        let mut state = self.state();
        state.suspects_running -= usize::from(place.suspect);
        let lane = &mut state.lanes[place.lane];
        lane.running -= 1;
        lane.cpu += cpu;
        let (began, ended) = match ran {
            Ran::NotCalled => (false, false),
            Ran::Ended { records } => (false, lane.health.ended(place.generation, records, cpu)),
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
        state.enter_round(place.lane);
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
        drop(state);
        self.wake.notify_all();
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
        self.wake.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lane(&mut self, key: Key, slot: Option<&Arc<Slot>>) -> usize {
        *self.numbers.entry(key).or_insert_with_key(|key| {
            self.lanes.push(Lane {
                key: key.clone(),
                slot: slot.cloned(),
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

    fn enter_round(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if !lane.in_round && !lane.work.is_empty() {
            lane.in_round = true;
            self.round.push_back(number);
        }
    }

    /// The next call of the first lane that may make one.
    fn next(&mut self, now: Instant, workers: usize) -> Option<Task> {
        for _ in 0..self.round.len() {
            let number = self.round.pop_front()?;
            let lane = &mut self.lanes[number];
            let suspect = lane.health.is_suspect(now);
            let held_up =
                suspect && (lane.running > 0 || self.suspects_running >= workers.saturating_sub(1).max(1));
            let task = if held_up { None } else { lane.take(number, now, suspect) };
            lane.in_round = false;
            lane.running += usize::from(task.is_some());
            self.suspects_running += usize::from(suspect && task.is_some());
            self.enter_round(number);
            if task.is_some() {
                return task;
            }
        }
        None
    }
}

impl Lane {
    fn take(&mut self, number: usize, now: Instant, suspect: bool) -> Option<Task> {
        let work = self.work.pop_front()?;
        let job = match &work {
            Work::Fresh { job, .. } => job,
            Work::LaidAside(part) => part.job(),
        };
        let generation = job.serving(self.slot.as_deref()).map_or(0, |serving| serving.generation);
        let turn = self.health.turn(now, generation);
        let cpu_max = self.slot.as_ref().map_or(Duration::ZERO, |slot| slot.limits().cpu_max);
        let mut part = match work {
            Work::LaidAside(part) => part,
            Work::Fresh { job, next } => {
                let records = self.health.batch_records(cpu_max).min(BATCH_RECORDS_MAX);
                let end = batch_end(&job, next, records);
                if end < job.records.len() {
                    self.work.push_front(Work::Fresh { job: job.clone(), next: end });
                }
                Part::new(job, next..end, cpu_max)
            }
        };
        if turn == Turn::Trial {
            part.single_out(self.health.trial_cpu(CPU_LEAST, cpu_max));
        }
        let place = Place { lane: number, suspect, generation };
        Some(Task { key: self.key.clone(), slot: self.slot.clone(), part, turn, place })
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
        f.debug_struct("Queue").field("workers", &self.workers).finish_non_exhaustive()
    }
}
