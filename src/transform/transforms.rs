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

/// The threads that run transforms, and what waits for them.
#[derive(Debug)]
pub struct Transforms {
    slots: BTreeMap<Arc<str>, Arc<Slot>>,
    queue: Arc<Queue>,
}

/// With fewer threads a module would hold up everybody until it is known that it does not end.
const WORKERS_LEAST: usize = 2;
/// A guest's stack and the host's below it.
const STACK_BYTES: usize = 4 << 20;

impl Transforms {
    /// Starts the threads. They end when the last handle is dropped and nothing waits any more.
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
        let slots = slots.into_iter().map(|slot| (slot.name().clone(), slot)).collect();
        // From here on a failure closes the queue, and the threads that were started end.
        let transforms = Arc::new(Self { slots, queue });
        let kept_bytes_max = settings.transforms_bytes_max / (workers + 1);
        let start = |name: String, round| {
            let worker =
                Worker::new(transforms.queue.clone(), round, settings.record_bytes_max, kept_bytes_max);
            thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || worker.run())
        };
        for number in 0..workers {
            start(format!("transform-{number}"), Round::Quick)?;
        }
        start("transform-slow".to_owned(), Round::Slow)?;
        Ok(transforms)
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
        self.queue.push(key, self.slot(transform), Job::new(records, done));
    }

    /// Lets a transform run again on every index for which it is suspended.
    pub fn resume(&self, transform: &str) {
        self.queue.resume(transform);
    }

    /// What each transform did on each index.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.queue.status()
    }
}

impl Drop for Transforms {
    fn drop(&mut self) {
        self.queue.close();
    }
}
