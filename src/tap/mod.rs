//! Lets somebody look at records while they pass: what is accepted, and what becomes of it at each destination.
//!
//! Nothing waits for whoever looks. As long as nobody does, a batch costs one atomic load here. Otherwise a record is
//! copied only once it is known that it will be shown: it matches, it is within the listener's rate, and the listener has
//! room for it. What is not shown is counted.

mod event;
mod listener;

mod listening;
mod open;

#[cfg(test)]
mod tests;

pub use event::{Event, Kind, Shown};
pub use listener::{Filter, NotShown};
pub use listening::Listening;
pub use open::{LISTENERS_MAX, Open, Tap, TooMany};
