//! Runs records through transforms, on threads of its own.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    job::Job,
    outcome::Transformed,
    queue::{Key, Now, Queue, Round},
    slot::Slot,
    worker::Worker,
};
use crate::record::Record;

/// How transforms run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Memory of all instances together that are kept between calls.
    pub transforms_bytes_max: usize,
    /// Threads; there are at least 2, and one more for transforms that do not end in time.
    pub workers: usize,
    /// What the body of one produced record may have, in bytes; the same as for records that come in.
    pub record_bytes_max: usize,
}

/// What one transform did on one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The transform.
    pub transform: Arc<str>,
    /// The index.
    pub index: Arc<str>,
    /// Records that came to an outcome.
    pub records: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// CPU time of all calls.
    pub cpu: Duration,
    /// Whether its records fail at once, since it spent too much time.
    pub suspended: bool,
}

/// The transforms of a config, and the threads that run them.
#[derive(Clone, Debug)]
pub struct Transforms {
    slots: BTreeMap<Arc<str>, Arc<Slot>>,
    threads: Arc<Threads>,
}

/// What waits for the threads. They end when the last handle is dropped and nothing waits any more.
#[derive(Debug)]
struct Threads {
    queue: Arc<Queue>,
}

/// With fewer threads a module would hold up everybody until it is known that it does not end.
const WORKERS_LEAST: usize = 2;
/// A guest's stack and the host's below it.
const STACK_BYTES: usize = 4 << 20;

impl Transforms {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(slots: Vec<Arc<Slot>>, settings: &Settings) -> io::Result<Arc<Self>> {
        Self::start_at(slots, settings, Arc::new(Instant::now))
    }

    /// With a clock of the caller's.
    pub(super) fn start_at(slots: Vec<Arc<Slot>>, settings: &Settings, now: Now) -> io::Result<Arc<Self>> {
        let workers = settings.workers.max(WORKERS_LEAST);
        let queue = Queue::new(now);
        // From here on a failure closes the queue, and the threads that were started end.
        let threads = Arc::new(Threads { queue });
        let kept_bytes_max = settings.transforms_bytes_max / (workers + 1);
        let start = |name: String, round| {
            let worker = Worker::new(threads.queue.clone(), round, settings.record_bytes_max, kept_bytes_max);
            thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || worker.run())
        };
        for number in 0..workers {
            start(format!("transform-{number}"), Round::Quick)?;
        }
        start("transform-slow".to_owned(), Round::Slow)?;
        Ok(Arc::new(Self { slots: by_name(slots), threads }))
    }

    /// Other transforms on the same threads. What was submitted to those before runs through those.
    #[must_use]
    pub fn with(&self, slots: Vec<Arc<Slot>>) -> Arc<Self> {
        Arc::new(Self { slots: by_name(slots), threads: self.threads.clone() })
    }

    /// Every transform's slot, by name ascending.
    pub fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.values()
    }

    /// The slot of that name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Arc<Slot>> {
        self.slots.get(name)
    }

    /// Runs the transform of that name on records of one index. `done` is called on one of the threads, always exactly
    /// once, with an outcome for each record; it must not block. Nothing is refused: the caller bounds how much of it
    /// waits here.
    pub fn submit(
        &self,
        transform: &Arc<str>,
        index: &Arc<str>,
        records: Vec<Record>,
        done: impl FnOnce(Transformed) + Send + 'static,
    ) {
        let key = Key { transform: transform.clone(), index: index.clone() };
        self.threads.queue.push(key, Job::new(self.slot(transform).cloned(), records, done));
    }

    /// Lets a transform run again on every index for which it is suspended.
    pub fn resume(&self, transform: &str) {
        self.threads.queue.resume(transform);
    }

    /// What each transform did on each index.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.threads.queue.status()
    }
}

fn by_name(slots: Vec<Arc<Slot>>) -> BTreeMap<Arc<str>, Arc<Slot>> {
    slots.into_iter().map(|slot| (slot.name().clone(), slot)).collect()
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
    }
}
