//! The wall clock, injected where a test must set it back. Durations and timers use tokio's clock instead, which tests
//! pause.

use std::time::{SystemTime, UNIX_EPOCH};

use plugin_api::identity::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the unix epoch; may jump in either direction.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
