//! The config: TOML and the environment in, checked values out. Pure but for reading the file and the secrets.

mod checked;

pub use checked::{
    AlgoliaSettings, Backoff, BatchLimits, Config, Data, Destination, FileSettings, IndexRule, Kind, Limits,
    Listen, NonIdempotent, OnBacklogFull, Secret, SecretSource,
};
