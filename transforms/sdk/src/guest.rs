//! Between the generated bindings and the transform; only in WebAssembly.

use std::cell::OnceCell;

pub use crate::bindings::exports::sync_agent::transform::transformer::{Guest, InputRecord, Outcome};
use crate::{
    Transform,
    bindings::sync_agent::transform::{
        log as host,
        types::{self, Document},
    },
    log::{self, Level},
    outcome::{Change, Kind},
    run::{self, Action},
};

/// Makes the transform.
///
/// # Errors
/// What is wrong with its config.
pub fn init<T: Transform>(cell: &OnceCell<T>, index: &str, config: &str) -> Result<(), String> {
    let transform = run::start(index, config)?;
    cell.set(transform).map_err(|_| "init was called twice".to_owned())
}

/// Runs it on each record.
pub fn transform<T: Transform>(cell: &OnceCell<T>, records: Vec<InputRecord>) -> Vec<Outcome> {
    let Some(transform) = cell.get() else {
        return records.iter().map(|_| Outcome::Fail("init was not called".to_owned())).collect();
    };
    let outcomes = records.into_iter().map(|record| {
        let InputRecord { action, object_id, data } = record;
        log::set_object_id(&object_id);
        let action = match action {
            types::Action::Save => Action::Save,
            types::Action::PartialUpdate => Action::PartialUpdate,
            types::Action::PartialUpdateNoCreate => Action::PartialUpdateNoCreate,
            types::Action::Delete => Action::Delete,
        };
        outcome(run::run(transform, action, &object_id, data.as_deref().unwrap_or_default()).0)
    });
    let outcomes = outcomes.collect();
    log::set_object_id("");
    outcomes
}

pub(crate) fn log(level: Level, line: &str) {
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::write(level, line);
}

fn outcome(kind: Kind) -> Outcome {
    match kind {
        Kind::Unchanged => Outcome::Unchanged,
        Kind::Replace(data) => Outcome::Replace(data),
        Kind::Emit(changes) => Outcome::Emit(changes.into_iter().map(operation).collect()),
        Kind::Skip => Outcome::Skip,
        Kind::Fail(reason) => Outcome::Fail(reason),
    }
}

fn operation(change: Change) -> types::Operation {
    let document = |object_id, data| Document { object_id, data };
    match change {
        Change::Save { id, data } => types::Operation::Save(document(id, data)),
        Change::PartialUpdate { id, data } => types::Operation::PartialUpdate(document(id, data)),
        Change::PartialUpdateNoCreate { id, data } => {
            types::Operation::PartialUpdateNoCreate(document(id, data))
        }
        Change::Delete { id } => types::Operation::Delete(id),
    }
}
