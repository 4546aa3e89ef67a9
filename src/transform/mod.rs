//! Runs the teams' WebAssembly components on records, between the log and the lanes.
//!
//! An [`Engine`] compiles and interrupts; a [`Module`] is a component that was compiled and checked; an [`Instance`] is
//! one that runs, for one index, on one thread. A [`Slot`] holds the module that serves under a transform's name, and
//! [`Transforms`] runs records through slots on threads of its own. Nothing a guest does panics, blocks or fills the
//! host: it has a deadline in CPU time, a memory limit, no file, clock or network, and what it returns is checked before
//! it is believed. What a transform could not process is never delivered untransformed.
//!
//! [`Modules`] loads the modules of a config, all or none, and lets what replaces their files serve once it has passed
//! the same checks.
//!
//! Never call into an [`Instance`] on a thread of the async runtime: the call blocks, and a guest that prints would
//! panic there.

mod contract;
mod engine;
mod error;
mod limits;

mod imports;
mod module;

mod host;
mod instance;
mod log;
mod printed;
mod words;

mod check;
mod json;
mod outcome;

mod health;
mod job;
mod meters;
mod queue;
mod slot;
mod split;
mod transforms;
mod worker;

mod cache;
mod load;
mod modules;
mod watch;

pub use engine::Engine;
pub use error::{CallError, LoadError};
pub use instance::Instance;
pub use limits::Limits;
pub(crate) use load::Loader;
pub use load::Refusal;
pub use log::{Level, Lines, LogTarget};
pub use meters::Meters;
pub use module::Module;
pub(crate) use modules::Otherwise;
pub use modules::{ModuleError, ModuleErrors, ModuleStatus, Modules, Refused};
pub use outcome::{Digest, Outcome, Product, Transformed};
pub use slot::{Serving, Slot};
pub use transforms::{Settings, Status, Transforms};
pub use watch::{ReadError, WatchSettings};

#[cfg(test)]
mod tests;
