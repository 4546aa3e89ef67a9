//! The history checker: what producers were told against what each destination applied.
//!
//! A pure function, [`check`]: it gets every request with its outcome (`model`), and for each destination what it
//! applied in order, the restarts of the agent in between, and its dead letters. It says what broke a guarantee and
//! counts what at-least-once delivery allows. It relies on the load generator for two things: sequence numbers rise
//! with each operation of a key, and no two requests in flight share a key, so that a key's sequence is its accept
//! order.

mod model;
pub use model::{Applied, Destination, Event, Identity, Outcome, Request, Sent};

mod table;

mod check;
pub use check::check;

mod findings;
pub use findings::{Finding, Findings};

#[cfg(test)]
mod tests;
