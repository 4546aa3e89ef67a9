//! Lanes: each takes one log to one destination, in order, at the destination's pace.
//!
//! A record enters a lane from its feed (`intake`; `tracker` knows what is outstanding), its operations wait in the
//! `queue` until a batch takes them, the plugin sends the batch, and `settle` turns the answer into outcomes, letters
//! and resends. `pace` says what may be sent when, by `backoff`, `breaker`, `concurrency` and `rate`; `visibility` follows
//! what was written until searches see it; `replay` is what an operator may ask for; `meters` count and `spans` tell. `lane` drives all of them;
//! none of them knows a destination by name.

mod intake;

mod tracker;

mod queue;

mod letters;
pub mod replay;
mod settle;

mod pace;

mod backoff;
mod breaker;
mod concurrency;
mod rate;

mod visibility;

mod lane;
mod meters;
mod settings;
mod spans;
mod status;

pub use backoff::Backoff;
pub use breaker::BreakerState;
pub use lane::start;
pub use letters::Letters;
pub use meters::Meters;
pub use rate::RateLimit;
pub use settings::{LaneSettings, Wiring};
pub use status::{LaneState, Snapshot};

#[cfg(test)]
mod lane_tests;
#[cfg(test)]
mod tests;
