//! How long to wait after a failure: exponential, with full jitter, never less than the destination asked for.
//!
//! Full jitter (a delay drawn evenly from zero to the bound) spreads lanes that failed together; see "Exponential
//! Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

/// Delays of a series of failures.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The bound of the first delay.
    pub min: Duration,
    /// The bound of every delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay after this many failures in a row, at least `retry_after`.
    #[must_use]
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        self.bound(failures).mul_f64(fastrand::f64()).max(retry_after.unwrap_or_default())
    }

    /// The bound that doubles with every failure.
    #[must_use]
    pub fn bound(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(30) };

    /// The bound doubles up to the maximum, also after very many failures.
    #[test]
    fn bound_doubles_up_to_max() {
        let bounds = [1, 2, 3, 9, 10, 33, u32::MAX].map(|failures| BACKOFF.bound(failures).as_millis());
        assert_eq!(bounds, [100, 200, 400, 25_600, 30_000, 30_000, 30_000]);
    }

    /// A destination's own Retry-After is a lower bound, whatever the jitter draws.
    #[test]
    fn retry_after_is_honoured() {
        let asked = Duration::from_secs(60);
        assert!((0..100).all(|failures| BACKOFF.delay(failures, Some(asked)) >= asked));
        assert!((0..100).all(|_| BACKOFF.delay(3, None) <= BACKOFF.bound(3)));
    }
}
