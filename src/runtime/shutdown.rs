//! How the agent stops: intake first, then delivery, each told by its own signal.

use tokio_util::sync::CancellationToken;

/// Held by whoever decides that it is time to stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    intake: CancellationToken,
    delivery: CancellationToken,
}

/// Held by what is to stop.
pub type Stop = CancellationToken;

impl Shutdown {
    /// Nothing new is taken from now on.
    pub fn stop_intake(&self) {
        self.intake.cancel();
    }

    /// Delivery lets its batch in flight end and takes no other.
    pub fn stop_delivery(&self) {
        self.delivery.cancel();
    }

    /// Cancelled by [`Shutdown::stop_intake`].
    #[must_use]
    pub fn intake(&self) -> Stop {
        self.intake.clone()
    }

    /// Cancelled by [`Shutdown::stop_delivery`].
    #[must_use]
    pub fn delivery(&self) -> Stop {
        self.delivery.clone()
    }
}
