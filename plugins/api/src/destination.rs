//! The trait that every plugin implements.

use async_trait::async_trait;

use crate::{
    operation::{Batch, Operation},
    verdict::{Confirmation, Reason, WriteError, Written},
};

/// What a destination can do and take at most, whatever the config says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It refuses an operation with an older version than the object's.
    pub versioned: bool,
    /// Waiting operations of a key may be replaced by a later save or delete before they are sent.
    pub coalesces: bool,
    /// Operations a batch, inclusive.
    pub operations_max: usize,
    /// Bytes a batch by [`Batch::bytes`], inclusive. A single operation may be larger and is then sent alone.
    pub bytes_max: usize,
}

/// Encodes batches, sends them and classifies the answers. Keeps no queue, retries nothing on its own (but may try
/// another host of the same service within one call) and never waits for anything but the destination.
#[async_trait]
pub trait Destination: Send + Sync + 'static {
    /// Sends the batch in one request where the destination allows it and returns one verdict for each operation,
    /// in order.
    ///
    /// Dropping the future is safe: whatever was sent counts as unknown, and the agent sends it again.
    ///
    /// # Errors
    /// A [`WriteError`] says what became of the whole request.
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError>;

    /// Whether the write that returned this handle is visible to searches.
    ///
    /// # Errors
    /// A [`WriteError`] if the destination could not tell.
    async fn confirmed(&self, confirmation: &Confirmation) -> Result<bool, WriteError>;

    /// Asks whether the destination serves and accepts our credentials; cheap, changes nothing.
    ///
    /// # Errors
    /// A [`WriteError`] of the kind that a write would meet.
    async fn probe(&self) -> Result<(), WriteError>;

    /// Whether the destination's rules on ids, index names, values and sizes allow this operation; asked before it
    /// joins a batch, since one that is not allowed could take a whole batch with it.
    ///
    /// # Errors
    /// The reason with which the operation is dead-lettered.
    fn admit(&self, operation: &Operation) -> Result<(), Reason>;

    /// What the destination can do and take; does not change during its life.
    fn capabilities(&self) -> Capabilities;
}
