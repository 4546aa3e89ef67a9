//! What a destination plugin is: the nouns that it shares with the agent and the trait that it implements.
//!
//! A plugin encodes a batch, sends it and returns a verdict for every operation. Batching, order, retries, the
//! circuit breaker and dead letters are the agent's, written once above this crate. Nothing here knows the agent.
//!
//! Read in the order in which data flows: [`identity`], [`operation`], [`verdict`], [`destination`]. [`settings`] is how a
//! plugin declares its keys of the config file. With the feature `testing` there is the suite that every plugin must pass,
//! too.

pub mod identity;
pub mod operation;
pub mod verdict;

pub mod destination;

pub mod settings;

#[cfg(feature = "testing")]
pub mod testing;
