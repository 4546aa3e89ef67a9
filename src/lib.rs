//! A durable fan-out agent: producers hand it an upsert over gRPC, get an answer as soon as it is safely on disk,
//! and every destination receives every object's changes, in order, at its own pace.
//!
//! The modules stand in the order in which data flows; read them once, from top to bottom.
//!
//! | module | what it is for | may use |
//! |---|---|---|
//! | [`contract`] | the generated gRPC code | ingress |
//! | [`record`] | the nouns: record, request, payload | nothing of the agent |
//! | [`config`] | the config, from TOML to checked values | record |
//! | [`runtime`] | named tasks, shutdown, clock, counters, spans | nothing of the agent |
//! | [`ingress`] | validates and transcodes requests, appends them | contract, record, config, runtime, log |
//! | [`log`] | the durable log | record, runtime |
//! | [`router`] | which transform an index passes, to which destinations; pure | record, config |
//! | [`transform`] | runs the teams' WebAssembly components on records | record, config, runtime |
//! | [`feed`] | reads the log for one destination, transformed | record, log, router, transform, runtime |
//! | [`delivery`] | lanes: order, batches, retries, breaker, cursors | feed, log, router, dead_letter, tap, runtime |
//! | [`dead_letter`] | what a destination did not take | record, runtime |
//! | [`tap`] | lets somebody look at records while they pass | record, log, dead_letter, runtime |
//! | [`telemetry`] | how the agent tells what it does: log lines, metrics, health, traces | log, runtime |
//! | [`admin`] | what an operator sees and does: the API, its client, the dashboard | record, log, dead_letter, tap, runtime |
//! | [`agent`] | builds, wires and spawns all of them; names the plugins | everything |
//! | [`cli`] | the commands | everything |

pub mod contract;
pub mod record;

pub mod config;
pub mod runtime;

pub mod ingress;

pub mod log;

pub mod router;

pub mod transform;

pub mod feed;

pub mod delivery;

pub mod dead_letter;

pub mod tap;

pub mod telemetry;

pub mod admin;

pub mod agent;

pub mod cli;
