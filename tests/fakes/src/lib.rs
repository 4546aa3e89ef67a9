//! Stand-ins for the services that the agent delivers to: real servers on loopback sockets, faithful to the
//! answers of the real ones and told by a test how to misbehave.
//!
//! Used by tests, benches and the `demo` command. Nothing here knows the agent.

mod host;
mod journal;

pub mod algolia;
pub mod elasticsearch;
