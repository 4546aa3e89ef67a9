//! The cases. Each has a destination of its own; a case whose fault a kind of destination cannot show says so and ends.
//!
//! [`answers`] asks the plugin directly, every other module through a [`Driver`](super::Driver).

pub mod answers;
pub mod content;
pub mod secrets;

pub mod crash;
pub mod late;
pub mod order;
pub mod poison;
pub mod refused;
pub mod trouble;
