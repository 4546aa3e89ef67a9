//! One live instance of a module, for one index.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use plugin_api::operation::Action;
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use super::{
    check::Checker,
    contract::{InputRecord, Transform, types},
    error::{CallError, LoadError},
    host::Host,
    limits::{Deadline, Limits},
    log::{About, LogTarget},
    module::Module,
    outcome::Outcome,
    words::tamed,
};
use crate::record::Record;

/// A module that runs. Not for a thread of the async runtime.
pub struct Instance {
    store: Store<Host>,
    bindings: Transform,
    checker: Checker,
    memory_bytes_max: usize,
}

/// What a guest may hand over in one call, in either direction of the contract that leads to the host.
const RETURNED_BYTES_MAX: usize = 16 << 20;

/// The time of the call ran out. Wasmtime carries it out of the guest.
#[derive(Debug, thiserror::Error)]
#[error("out of time")]
struct OutOfTime;

impl Instance {
    /// Instantiates the module and calls its `init`, which has as much time as a call.
    ///
    /// # Errors
    /// If `init` says no or does not come to its end.
    pub fn start(
        module: &Module,
        index: &str,
        config_json: &str,
        limits: &Limits,
        log: LogTarget,
    ) -> Result<Self, LoadError> {
        let mut store = Store::new(module.engine().inner(), Host::new(index, limits, log));
        store.limiter(|host| &mut host.memory);
        store.set_hostcall_fuel(RETURNED_BYTES_MAX);
        store.epoch_deadline_callback(|context| {
            if context.data().deadline.passed() {
                Err(OutOfTime.into())
            } else {
                Ok(UpdateDeadline::Continue(1))
            }
        });
        store.data_mut().deadline = Deadline::after(limits.cpu_max);
        store.set_epoch_deadline(1);
        let went_wrong = |store: &Store<Host>, error: &wasmtime::Error| {
            let error = call_error(store, error, limits.cpu_max, limits.memory_bytes_max);
            LoadError::Start { error }
        };
        let bindings = match module.pre().instantiate(&mut store) {
            Ok(bindings) => bindings,
            Err(error) => return Err(went_wrong(&store, &error)),
        };
        let transformer = bindings.sync_agent_transform_transformer();
        match transformer.call_init(&mut store, index, config_json) {
            Ok(Ok(())) => {}
            Ok(Err(message)) => return Err(LoadError::InitRefused { message: tamed(&message) }),
            Err(error) => return Err(went_wrong(&store, &error)),
        }
        store.data().log_printed();
        let memory_bytes_max = limits.memory_bytes_max;
        Ok(Self { store, bindings, checker: Checker::default(), memory_bytes_max })
    }

    /// The same instance with another limit on what one body may have; without it there is only the limit on what one
    /// call may return.
    #[must_use]
    pub fn with_record_bytes_max(self, record_bytes_max: usize) -> Self {
        Self { checker: Checker { record_bytes_max }, ..self }
    }

    /// Runs the transform on some records; `cpu_max` is what the call may spend. There is one outcome for each record,
    /// checked: what cannot be delivered has become a failure of its record.
    ///
    /// # Errors
    /// If there are none. The instance must then be dropped.
    pub fn call(&mut self, records: &[Record], cpu_max: Duration) -> Result<Vec<Outcome>, CallError> {
        let inputs = records.iter().map(input).collect::<Result<Vec<_>, _>>()?;
        let host = self.store.data_mut();
        host.about = About {
            object_id: records.first().map(|record| record.object_id.clone()),
            records: records.len(),
        };
        host.memory.begin_call();
        host.deadline = Deadline::after(cpu_max);
        self.store.set_epoch_deadline(1);
        let transformer = self.bindings.sync_agent_transform_transformer();
        let outcomes = transformer
            .call_transform(&mut self.store, &inputs)
            .map_err(|error| call_error(&self.store, &error, cpu_max, self.memory_bytes_max))?;
        self.store.data().log_printed();
        if outcomes.len() != records.len() {
            return Err(CallError::WrongCount { found: outcomes.len(), expected: records.len() });
        }
        let checked =
            records.iter().zip(outcomes).map(|(record, outcome)| self.checker.check(record, outcome));
        Ok(checked.collect())
    }

    /// Memory that the guest holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    pub(super) fn smoke(mut self, limits: &Limits) -> Result<(), LoadError> {
        let failed = |records| move |error| LoadError::Smoke { records, error };
        self.call(&[], limits.cpu_max).map_err(failed("no records"))?;
        let record = Record {
            action: Action::Save,
            index: self.store.data().index.clone(),
            object_id: Arc::from("smoke-test"),
            body: Bytes::from_static(b"{}"),
        };
        self.call(&[record], limits.cpu_max).map_err(failed("one record, a save of {}"))?;
        Ok(())
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

fn input(record: &Record) -> Result<InputRecord<'_>, CallError> {
    let action = match record.action {
        Action::Save => types::Action::Save,
        Action::PartialUpdate => types::Action::PartialUpdate,
        Action::PartialUpdateNoCreate => types::Action::PartialUpdateNoCreate,
        Action::Delete => types::Action::Delete,
    };
    let data = match record.action {
        Action::Delete => None,
        _ => Some(simdutf8::basic::from_utf8(&record.body).map_err(|_| CallError::Trapped {
            reason: "the record's body is not UTF-8, which only a damaged log can hold".to_owned(),
        })?),
    };
    Ok(InputRecord { action, object_id: &record.object_id, data })
}

/// Translates what came out of the guest instead of a result.
fn call_error(
    store: &Store<Host>,
    error: &wasmtime::Error,
    limit: Duration,
    memory_bytes_max: usize,
) -> CallError {
    let host = store.data();
    let printed = host.log_printed();
    if error.is::<OutOfTime>() {
        return CallError::TimedOut { limit };
    }
    if let Some(wanted) = host.memory.refused() {
        return CallError::OutOfMemory { wanted, limit: memory_bytes_max };
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return CallError::Trapped {
            reason: format!("it called exit({code}): return `fail` for what cannot be processed"),
        };
    }
    let words = error.root_cause().to_string();
    if words.contains("fuel allocated for hostcalls") {
        return CallError::TooMuchReturned { limit: RETURNED_BYTES_MAX };
    }
    if let Some(panic) = printed.as_deref().and_then(panic_message) {
        return CallError::Trapped {
            reason: format!("it panicked {panic}: return `fail` for what cannot be processed"),
        };
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            "its calls are nested too deep, the stack is used up: look for a recursion without end".to_owned()
        }
        Some(trap) => format!("it crashed ({trap})"),
        None => format!("it crashed ({})", tamed(&words)),
    };
    match printed.map(|text| tamed(text.trim())).filter(|text| !text.is_empty()) {
        Some(text) => CallError::Trapped { reason: format!("{reason}, and printed: {text}") },
        None => CallError::Trapped { reason },
    }
}

/// Place and message of a Rust guest's panic: `thread '<unnamed>' (1) panicked at src/lib.rs:3:5:` and the message.
fn panic_message(printed: &str) -> Option<String> {
    let (_, after) = printed.rsplit_once(" panicked ")?;
    let words = after.split("\nnote: run with").next().unwrap_or(after);
    Some(tamed(&words.trim().replacen(":\n", ": ", 1)))
}
