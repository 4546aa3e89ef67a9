//! The config: TOML and the environment in, checked values out.
//!
//! [`load`] reads the file; from there on everything is one pure function of the text and an [`Environment`]. It goes
//! on after an error, so that [`ConfigErrors`] holds all of them. Relative paths are relative to the working
//! directory. Environment variables of the replaced system override the file ([`Override`]).
//!
//! Each key is declared once, in [`keys`]; what reads and what describes the file goes by that.

mod load;

mod check;
mod destinations;
mod environment;
pub mod keys;
mod listen;
mod overrides;
mod permissions;
mod reader;
mod secret;
mod telemetry;
mod tls;
mod transforms;
mod units;

mod changes;
mod checked;
pub mod listing;
mod problem;
mod warnings;

pub mod reference;
mod schema;

#[cfg(test)]
mod tests;

pub use changes::{Change, ChangeKind, Changes};
pub use checked::{
    AlgoliaSettings, Backoff, BatchLimits, CaFile, CallerRateLimit, ClientAuth, Clients, Config, Data,
    DeadLetters, Destination, ElasticsearchAuth, ElasticsearchSettings, FileSettings, IndexNames, IndexRule,
    Kind, Limits, Listen, NonIdempotent, OnBacklogFull, PartialUpdates, Permission, RateLimit, Retention,
    Secret, SecretSource, StartFrom, Telemetry, Tls, Transform,
};
#[cfg(test)]
pub(crate) use environment::FixedEnvironment;
pub use environment::{Environment, ProcessEnvironment};
pub use load::{Loaded, Source, data_dir, load, load_text};
pub use overrides::Override;
pub use permissions::CALLER_BYTES_MAX;
pub use problem::{ConfigErrors, Problem};
pub use schema::schema;
pub use units::{show_duration, show_size};
pub use warnings::warnings;
