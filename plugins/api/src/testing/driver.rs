//! What takes a test's changes to the destination, as an engine must: [`Client`](super::Client), or the agent's own.

use std::sync::Arc;

use async_trait::async_trait;

use super::history::Change;
use crate::{destination::Destination, verdict::Reason};

/// An engine in front of one destination.
#[async_trait]
pub trait Driver: Send + Sized {
    /// Starts one that has accepted nothing yet.
    async fn start(destination: Arc<dyn Destination>, tuning: Tuning) -> Self;

    /// Takes changes that are newer than all before. Neighbours of one index and action come in together. What was
    /// settled before counts as persisted; what is settled later may not be.
    async fn accept(&mut self, changes: &[Change]);

    /// Works on for a moment, or until there is something to see.
    async fn work(&mut self);

    /// How it is doing.
    fn progress(&self) -> Progress;

    /// What it has given up, each with its number.
    fn rejected(&self) -> Vec<Rejected>;

    /// Everything that it would tell an operator of errors.
    fn words(&self) -> Vec<String>;

    /// It is killed at this moment and starts again, with what was persisted and a new destination.
    #[must_use]
    async fn crash(self, destination: Arc<dyn Destination>) -> Self;
}

/// How an engine delivers.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Operations a batch, inclusive.
    pub operations_max: usize,
    /// Attempts of a single record that alone fails while others succeed.
    pub attempts_max: u32,
}

impl Default for Tuning {
    /// Small batches, and nothing is taken for poison.
    fn default() -> Self {
        Self { operations_max: 8, attempts_max: 1_000 }
    }
}

/// An engine at one moment.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Every accepted change is settled.
    pub settled: bool,
    /// The last request failed.
    pub failing: bool,
    /// Operations in flight.
    pub in_flight: usize,
}

/// A change that was given up.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The change's number.
    pub number: u64,
    /// Why.
    pub reason: Reason,
}
