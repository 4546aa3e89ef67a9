//! A durable fan-out agent: producers hand it an upsert over gRPC, get an answer as soon as it is safely on disk,
//! and every destination receives every object's changes in order, at its own pace.
//!
//! The modules stand in the order in which data flows; read them once, from top to bottom.
//!
//! | module | what it is for | may use |
//! |---|---|---|
//! | [`contract`] | the generated gRPC code | nothing of the agent |
//! | [`record`] | the nouns: record, request, positions, versions | nothing of the agent |
//! | [`config`] | the config, from TOML to checked values | nothing of the agent |
//! | [`runtime`] | named tasks, shutdown, clock | nothing of the agent |
//! | `ingress` | validates and transcodes requests, appends them | contract, record, config, runtime, log |
//! | [`log`] | the durable log | record, runtime |

pub mod contract;
pub mod record;

pub mod config;
pub mod runtime;

// pub mod ingress;
pub mod log;

pub mod cli;
