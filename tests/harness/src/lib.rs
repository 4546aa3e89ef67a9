//! What every scenario and every benchmark is made of: the agent as a process, load, and the history checker.
//!
//! Nothing here knows the agent's code. It is started as a binary, fed through its published gRPC contract and judged
//! by what its destinations hold, as a user would judge it. Errors panic with all that is known, since a scenario has
//! nobody to hand them to; what a benchmark must survive is returned.
//!
//! Read in the order in which a scenario uses it: [`process`] and [`watch`], [`load`], what destinations hold
//! ([`ndjson`], [`algolia`], [`elasticsearch`], [`dead_letters`]), [`history`]. [`contract`] is the wire, [`tls`] what may be around it, [`server`] stands in for the
//! agent in tests and baselines. [`guests`] builds transforms that misbehave; [`schema`] judges config files.

pub mod contract;
pub mod tls;

pub mod process;
pub mod usage;
pub mod watch;

pub mod load;
pub mod metrics;

pub mod ndjson;

pub mod algolia;
pub mod elasticsearch;
pub mod journal;

pub mod dead_letters;

pub mod history;

pub mod server;

pub mod guests;

pub mod schema;
