//! How long to wait for an answer.
//!
//! A large body takes longer on a slow line, and a server that needed too long may need longer still: so the time
//! grows with the bytes, and doubles after a time-out until something succeeds. It never stays below what a request
//! needs, which would repeat it for ever.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Bytes a second that even a bad line carries.
const THROUGHPUT_MIN: u64 = 256 * 1024;

/// The time-out of one destination's requests.
#[derive(Debug)]
pub struct Patience {
    base: Duration,
    doubled: AtomicBool,
}

impl Patience {
    /// `base` is for a request without a body.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self { base, doubled: AtomicBool::new(false) }
    }

    /// The time-out of a request with this many bytes on the wire.
    #[must_use]
    pub fn timeout(&self, bytes: usize) -> Duration {
        let timeout = self.base + Duration::from_millis(bytes as u64 * 1000 / THROUGHPUT_MIN);
        if self.doubled.load(Ordering::Relaxed) { timeout * 2 } else { timeout }
    }

    /// An answer came in time.
    pub fn answered(&self) {
        self.doubled.store(false, Ordering::Relaxed);
    }

    /// No answer came in time.
    pub fn timed_out(&self) {
        self.doubled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_bytes_and_after_a_timeout() {
        let patience = Patience::new(Duration::from_secs(30));
        assert_eq!(patience.timeout(0), Duration::from_secs(30));
        assert_eq!(patience.timeout(10 << 20), Duration::from_secs(70));
        patience.timed_out();
        assert_eq!(patience.timeout(0), Duration::from_secs(60));
        patience.answered();
        assert_eq!(patience.timeout(0), Duration::from_secs(30));
    }
}
