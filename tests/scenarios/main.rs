//! What the agent guarantees, tried on the real binary: each file is one way for things to go wrong, each test says
//! which guarantee it protects. `tests/README.md` has the table.
//!
//! Every agent runs in its own directory and on its own port, so scenarios run side by side.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod abuse;
mod alerts;

mod backlog;

mod kill;

mod elasticsearch;
mod examples;
mod metrics;
mod operator;
mod outage;
mod permissions;

mod poison;

mod rejects;

mod reload;

mod repeats;

mod rot;

mod screen;

mod secrets;

mod shutdown;

mod stderr;

mod storm;

mod tail;

mod tls;

mod traces;

mod transforms;
