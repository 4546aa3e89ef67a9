//! The circuit breaker of a lane: closed while requests succeed, open after a row of failures, half-open while a probe
//! and then one request find out whether the destination serves again.
//!
//! It keeps no time of its own: the lane asks what to do when a delay is over.

use plugin_api::verdict::Reason;

/// Failures in a row that open the breaker.
const FAILURES_TO_OPEN: u32 = 5;

/// Where the breaker stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go out.
    #[default]
    Closed,
    /// Nothing goes out but a probe when the delay is over.
    Open,
    /// A probe succeeded: one request goes out, and its outcome decides.
    HalfOpen,
    /// The destination refuses everything until an operator acts; a probe a minute looks whether he did.
    Paused(Reason),
}

/// Counts failures in a row and says what they mean.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: BreakerState,
    failures: u32,
}

impl Breaker {
    pub(super) fn state(&self) -> &BreakerState {
        &self.state
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// A request was answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request or a probe failed.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.failures < FAILURES_TO_OPEN => {}
            BreakerState::Closed | BreakerState::HalfOpen | BreakerState::Open | BreakerState::Paused(_) => {
                self.state = BreakerState::Open;
            }
        }
    }

    /// The destination refuses everything.
    pub(super) fn refused(&mut self, reason: Reason) {
        self.failures = self.failures.saturating_add(1);
        self.state = BreakerState::Paused(reason);
    }

    /// A probe succeeded.
    pub(super) fn probed(&mut self) {
        self.state = BreakerState::HalfOpen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five failures in a row open it, a probe half-opens it, and the next request decides.
    #[test]
    fn opens_probes_and_closes() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|_| breaker.failed());
        assert_eq!(breaker.state(), &BreakerState::Closed);
        breaker.failed();
        assert_eq!(breaker.state(), &BreakerState::Open);
        breaker.probed();
        assert_eq!(breaker.state(), &BreakerState::HalfOpen);
        breaker.failed();
        assert_eq!((breaker.state(), breaker.failures()), (&BreakerState::Open, 6));
        breaker.probed();
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.failures()), (&BreakerState::Closed, 0));
    }
}
