//! The host with real guests, built from source: what each bad module and each bad record comes to, and what it says.

mod cost;
mod isolation;
mod limits;
mod loading;
mod logging;
mod outcomes;
mod suspension;
mod swapping;

use std::{
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use bytes::Bytes;
use harness::guests::guest;
use plugin_api::{operation::Action, verdict::ReasonCode};

use super::{
    Engine, Instance, LoadError, LogTarget, Module, Outcome, Settings, Slot, Transformed, Transforms,
    limits::Limits,
};
use crate::record::Record;

fn engine() -> &'static Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap())
}

/// The guest that does what its config says.
fn misbehaves() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::compile(engine(), &guest("misbehaves")).unwrap())
}

fn compile(name: &str) -> Result<Module, LoadError> {
    Module::compile(engine(), &guest(name))
}

fn behave(how: &str) -> String {
    format!(r#"{{"behave":"{how}"}}"#)
}

/// On that record alone.
fn behave_on(how: &str, id: &str) -> String {
    format!(r#"{{"behave":"{how}","only":"{id}"}}"#)
}

fn start(config: &str) -> Result<Instance, LoadError> {
    Instance::start(misbehaves(), "products", config, &Limits::default(), LogTarget::Nowhere)
}

fn record(id: &str) -> Record {
    record_of(Action::Save, id, r#"{"price":1}"#)
}

fn record_of(action: Action, id: &str, body: &str) -> Record {
    Record {
        action,
        index: "products".into(),
        object_id: id.into(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// Records "0", "1" and so on.
fn records(count: usize) -> Vec<Record> {
    (0..count).map(|id| record(&id.to_string())).collect()
}

/// Enough for a loaded machine: nothing waits for this long unless it hangs.
const LONG: Duration = Duration::from_secs(120);

fn settings() -> Settings {
    Settings { transforms_bytes_max: 512 << 20, workers: 2, record_bytes_max: 64 << 10 }
}

/// A slot in which the misbehaving guest serves.
fn slot(name: &str, config: &str) -> Arc<Slot> {
    let slot = Slot::new(name, config, Limits::default());
    slot.swap(misbehaves().clone());
    slot
}

fn submit(
    transforms: &Transforms,
    transform: &str,
    index: &str,
    records: Vec<Record>,
) -> mpsc::Receiver<Transformed> {
    let (tx, rx) = mpsc::channel();
    transforms
        .submit(&transform.into(), &index.into(), records, move |transformed| tx.send(transformed).unwrap());
    rx
}

fn run(transforms: &Transforms, transform: &str, records: Vec<Record>) -> Vec<Outcome> {
    submit(transforms, transform, "products", records).recv_timeout(LONG).unwrap().outcomes
}

/// Code and words of a failure.
fn failure(outcome: &Outcome) -> (ReasonCode, &str) {
    match outcome {
        Outcome::Failed(reason) => (reason.code, &reason.message),
        other => panic!("not a failure: {other:?}"),
    }
}
