//! A destination's rate limit: how soon after a batch the next one may leave.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::BatchBounds;

/// What a destination may be sent each second; `None` where that is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Operations, at least 1.
    pub operations_per_second: Option<u32>,
    /// Bytes of their bodies and names, at least 1.
    pub bytes_per_second: Option<u64>,
}

/// Keeps a rate limit: each batch takes its time, whether it is used or not.
#[derive(Debug)]
pub(super) struct Rate {
    limit: RateLimit,
    free_at: Option<Instant>,
}

impl Rate {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, free_at: None }
    }

    /// When the next batch may leave; `None` if at once.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        self.free_at.filter(|free_at| *free_at > now)
    }

    /// No batch takes more than a second's share.
    pub(super) fn bound(&self, bounds: BatchBounds) -> BatchBounds {
        let operations = self.limit.operations_per_second.map_or(usize::MAX, |max| max as usize);
        let bytes = self.limit.bytes_per_second.and_then(|max| usize::try_from(max).ok());
        BatchBounds {
            operations_max: bounds.operations_max.min(operations),
            bytes_max: bounds.bytes_max.min(bytes.unwrap_or(usize::MAX)),
        }
    }

    /// A batch leaves now.
    pub(super) fn sent(&mut self, operations: usize, bytes: usize, now: Instant) {
        let seconds = |count: usize, per_second: f64| count as f64 / per_second;
        let by_operations =
            self.limit.operations_per_second.map_or(0.0, |max| seconds(operations, f64::from(max)));
        let by_bytes = self.limit.bytes_per_second.map_or(0.0, |max| seconds(bytes, max as f64));
        let from = self.free_at(now).unwrap_or(now);
        self.free_at = Some(from + Duration::from_secs_f64(by_operations.max(by_bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over any time no more is sent than the limit allows, plus one batch.
    #[test]
    fn keeps_the_limit() {
        let limit = RateLimit { operations_per_second: Some(100), bytes_per_second: Some(10_000) };
        let (mut rate, start) = (Rate::new(limit), Instant::now());
        let bounds = rate.bound(BatchBounds { operations_max: 1_000, bytes_max: 1_000 });
        assert_eq!((bounds.operations_max, bounds.bytes_max), (100, 1_000));
        let (mut now, mut operations, mut bytes) = (start, 0, 0);
        for batch in 0..20 {
            now = rate.free_at(now).unwrap_or(now);
            let size = if batch % 2 == 0 { 10 } else { 600 };
            rate.sent(50, size * 10, now);
            (operations, bytes) = (operations + 50, bytes + size * 10);
        }
        let seconds = now.duration_since(start).as_secs_f64();
        assert!(f64::from(operations - 50) <= 100.0 * seconds + 0.001, "{operations} in {seconds} s");
        assert!((bytes - 6_000) as f64 <= 10_000.0 * seconds + 0.001, "{bytes} in {seconds} s");
        // A pause is not made up for.
        now += Duration::from_secs(100);
        rate.sent(50, 0, now);
        assert!(rate.free_at(now).is_some());
    }

    /// Without a limit nothing waits.
    #[test]
    fn without_a_limit() {
        let (mut rate, now) = (Rate::new(RateLimit::default()), Instant::now());
        rate.sent(1_000_000, 1 << 30, now);
        assert_eq!(rate.free_at(now), None);
    }
}
