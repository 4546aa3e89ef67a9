//! What destinations over HTTP share: how to reach a host safely, how long to wait, and what an answer means
//! whichever service gave it.
//!
//! Not for anything that only one service says or does, and not for retries, rates or breakers, which are the
//! agent's. [`attributes`] looks into a record before it is admitted. A request goes through the modules in their order: its [`secret`] and [`endpoint`] come from the config,
//! the [`client`] is built once, [`hosts`] says whom to ask first, [`body`] packs and reads bytes under a limit,
//! [`exchange`] sends and waits as long as [`patience`] allows, [`retry_after`] reads a wish and [`classify`] tells
//! what the answer means.

pub mod attributes;

pub mod endpoint;
pub mod secret;

pub mod client;
pub mod hosts;

pub mod body;
pub mod exchange;
pub mod patience;

pub mod classify;
pub mod retry_after;
