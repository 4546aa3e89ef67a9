//! One thread that runs transforms, and the instances that it keeps between calls.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use plugin_api::verdict::{Reason, ReasonCode};
use rustc_hash::FxHashMap;

use super::{
    error::{CallError, LoadError},
    health::Turn,
    instance::Instance,
    limits::thread_cpu,
    log::LogTarget,
    outcome::Outcome,
    queue::{Key, Queue, Ran, Round, Task},
    slot::{Serving, Slot},
    split::{Part, start_reason},
};
use crate::record::Record;

/// What a thread needs.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Arc<Queue>,
    round: Round,
    record_bytes_max: usize,
    /// Memory of the instances that it may keep.
    kept_bytes_max: usize,
    kept: FxHashMap<Key, Kept>,
    turns: u64,
}

/// An instance between two calls.
#[derive(Debug)]
struct Kept {
    instance: Instance,
    generation: u64,
    calls: u32,
    bytes_at_start: usize,
    used_at: u64,
}

/// Why a call has no outcomes.
enum Failure {
    Start(LoadError),
    Call(CallError),
}

/// Calls after which an instance is replaced, whatever it has gathered.
const CALLS_MAX: u32 = 1_000;
/// The priority of the thread for the slow, which on a busy machine leaves it about a tenth of a processor: enough for a
/// call to end before the ceiling on its wall time.
const SLOW_NICE: i32 = 10;
/// What an instance costs beside its guest's memory.
const INSTANCE_BYTES: usize = 64 << 10;

impl Worker {
    pub(super) fn new(
        queue: Arc<Queue>,
        round: Round,
        record_bytes_max: usize,
        kept_bytes_max: usize,
    ) -> Self {
        Self { queue, round, record_bytes_max, kept_bytes_max, kept: FxHashMap::default(), turns: 0 }
    }

    /// Works until the queue is closed.
    pub(super) fn run(mut self) {
        // WASI's streams want a runtime around them, though none of ours ever waits; without this they would start one
        // with threads of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let _entered = runtime.as_ref().ok().map(|runtime| runtime.enter());
        if self.round == Round::Slow
            && let Err(error) = rustix::process::setpriority_process(None, SLOW_NICE)
        {
            tracing::warn!(%error, "slow transforms run at the priority of all others");
        }
        while let Some(task) = self.queue.take(self.round) {
            let place = task.place;
            let started = thread_cpu();
            let ran = catch_unwind(AssertUnwindSafe(|| self.turn(task)));
            let cpu = thread_cpu().saturating_sub(started);
            let (part, ran) = match ran {
                Ok((part, ran)) => (Some(part), ran),
                Err(_) => {
                    tracing::error!("a thread for transforms failed on a call, whose records fail with it");
                    self.kept.clear();
                    (None, Ran::NotCalled)
                }
            };
            let finished = self.queue.put_back(place, part, ran, cpu);
            if let Some(part) = finished
                && catch_unwind(AssertUnwindSafe(|| part.finish())).is_err()
            {
                tracing::error!("whoever waited for transformed records failed when it was told of them");
            }
        }
    }

    /// Makes one call.
    fn turn(&mut self, task: Task) -> (Part, Ran) {
        let Task { key, mut part, turn, .. } = task;
        let job = part.job().clone();
        let Some((slot, serving)) = job.slot().and_then(|slot| Some((slot, job.serving()?))) else {
            part.fail_all(&not_serving(&key));
            return (part, Ran::NotCalled);
        };
        if turn == Turn::Nothing {
            part.fail_all(&suspended());
            return (part, Ran::NotCalled);
        }
        let (records, cpu_max) = part.next();
        if records.is_empty() {
            part.called(Ok(Vec::new()), Duration::ZERO);
            return (part, Ran::NotCalled);
        }
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let started = thread_cpu();
        let result = self.call(&key, slot, serving, records, cpu_max);
        let spent = thread_cpu().saturating_sub(started);
        slot.meters().call_cpu.observe(spent.as_secs_f64());
        let ran = match &result {
            Ok(_) => Ran::Ended { records: count },
            Err(Failure::Call(error) | Failure::Start(LoadError::Start { error })) if error.is_time_out() => {
                Ran::TimedOut
            }
            Err(_) => Ran::Crashed,
        };
        match result {
            Ok(outcomes) => part.called(Ok(outcomes), spent),
            Err(Failure::Call(error)) => part.called(Err(error), spent),
            Err(Failure::Start(error)) => part.fail(&start_reason(&error)),
        }
        (part, ran)
    }

    fn call(
        &mut self,
        key: &Key,
        slot: &Slot,
        serving: &Serving,
        records: &[Record],
        cpu_max: Duration,
    ) -> Result<Vec<Outcome>, Failure> {
        // Taken out: unless all goes well it is not used again.
        let kept = self.kept.remove(key).filter(|kept| kept.generation == serving.generation);
        let mut kept = match kept {
            Some(kept) => kept,
            None => self.start(key, slot, serving).map_err(Failure::Start)?,
        };
        let outcomes = kept.instance.call(records, cpu_max).map_err(Failure::Call)?;
        self.turns += 1;
        (kept.calls, kept.used_at) = (kept.calls + 1, self.turns);
        if kept.calls < CALLS_MAX && !kept.has_grown(slot.limits().memory_bytes_max) {
            self.kept.insert(key.clone(), kept);
            self.drop_oldest();
        }
        Ok(outcomes)
    }

    fn start(&self, key: &Key, slot: &Slot, serving: &Serving) -> Result<Kept, LoadError> {
        let log = LogTarget::Agent { transform: slot.name().clone(), rate: slot.log_rate().clone() };
        let instance = Instance::start(&serving.module, &key.index, slot.config(), slot.limits(), log)?;
        let instance = instance.with_record_bytes_max(self.record_bytes_max);
        let bytes_at_start = instance.memory_bytes();
        Ok(Kept { instance, generation: serving.generation, calls: 0, bytes_at_start, used_at: 0 })
    }

    /// Keeps within the bound, but for the instance that was used last.
    fn drop_oldest(&mut self) {
        let mut bytes: usize = self.kept.values().map(Kept::bytes).sum();
        while bytes > self.kept_bytes_max && self.kept.len() > 1 {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used_at).map(|(key, _)| key.clone());
            let Some(kept) = oldest.and_then(|key| self.kept.remove(&key)) else { return };
            bytes -= kept.bytes();
        }
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        self.instance.memory_bytes() + INSTANCE_BYTES
    }

    /// Whether it came near its limit since it was started, so that a new one has more room.
    fn has_grown(&self, memory_bytes_max: usize) -> bool {
        let bytes = self.instance.memory_bytes();
        bytes > self.bytes_at_start && bytes > memory_bytes_max / 4 * 3
    }
}

fn not_serving(key: &Key) -> Reason {
    let message = format!(
        "no module serves as transform \"{}\": look into the agent's log for why it was refused",
        key.transform
    );
    Reason::new(ReasonCode::TransformFailed, message)
}

fn suspended() -> Reason {
    Reason::new(
        ReasonCode::TransformSuspended,
        "the transform is suspended on this index, since too many of its calls did not end in time: replace the module, \
         or resume the transform",
    )
}
