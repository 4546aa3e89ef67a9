//! How many requests of a lane may be in flight: more while they go well, half as soon as the destination struggles.
//!
//! Additive increase and multiplicative decrease, as in TCP (RFC 5681), on what tells of congestion before anything is
//! lost: throttling, failures, and answers that take much longer than usual.

use std::time::Duration;

use tokio::time::Instant;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: f64,
    max: f64,
    /// What an answer takes, smoothed, in seconds.
    latency: Option<f64>,
    decreased_at: Option<Instant>,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    /// As many were in flight then as might be.
    pub(super) at_limit: bool,
}

const START: f64 = 2.0;
/// An answer that takes so many times as long as usual tells of congestion,
const SLOW_FACTOR: f64 = 3.0;
/// but not before this.
const SLOW_MIN: Duration = Duration::from_millis(500);
/// The weight of a new latency.
const SMOOTHING: f64 = 0.1;

impl Concurrency {
    /// At most `max` requests.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { limit: START.min(max), max, latency: None, decreased_at: None }
    }

    /// Requests in flight at most.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A request was answered, or was not in time.
    pub(super) fn answered(&mut self, sent: Sent, congested: bool, now: Instant) {
        let latency = now.saturating_duration_since(sent.at).as_secs_f64();
        let usual = *self.latency.get_or_insert(latency);
        let slow = latency > SLOW_MIN.as_secs_f64().max(usual * SLOW_FACTOR);
        self.latency = Some(usual + (latency - usual) * SMOOTHING);
        if congested || slow {
            // What was sent before the last decrease says nothing about what came of that.
            if self.decreased_at.is_none_or(|decreased_at| sent.at > decreased_at) {
                self.limit = (self.limit / 2.0).max(1.0);
                self.decreased_at = Some(now);
            }
        } else if sent.at_limit {
            self.limit = (self.limit + 1.0 / self.limit).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `requests` that took so long, one after the other, each sent at the limit.
    fn answer(
        concurrency: &mut Concurrency,
        now: &mut Instant,
        requests: usize,
        latency: Duration,
        congested: bool,
    ) {
        for _ in 0..requests {
            let sent = Sent { at: *now, at_limit: true };
            *now += latency;
            concurrency.answered(sent, congested, *now);
        }
    }

    /// It grows by about one for each round of requests up to the maximum, halves on throttling down to one, and halves
    /// once for all that was in flight together.
    #[test]
    fn grows_and_halves() {
        let (mut concurrency, mut now) = (Concurrency::new(8), Instant::now());
        let fast = Duration::from_millis(10);
        answer(&mut concurrency, &mut now, 100, fast, false);
        assert_eq!(concurrency.limit(), 8);
        let sent = Sent { at: now, at_limit: true };
        now += fast;
        (0..8).for_each(|_| concurrency.answered(sent, true, now));
        assert_eq!(concurrency.limit(), 4);
        answer(&mut concurrency, &mut now, 9, fast, true);
        assert_eq!(concurrency.limit(), 1);
        answer(&mut concurrency, &mut now, 2, fast, false);
        assert_eq!(concurrency.limit(), 2);
    }

    /// Answers that suddenly take long are congestion; a destination that always takes so long is not.
    #[test]
    fn slowness_is_congestion() {
        let (mut concurrency, mut now) = (Concurrency::new(8), Instant::now());
        answer(&mut concurrency, &mut now, 100, Duration::from_millis(50), false);
        answer(&mut concurrency, &mut now, 1, Duration::from_secs(5), false);
        assert_eq!(concurrency.limit(), 4);
        answer(&mut concurrency, &mut now, 200, Duration::from_secs(5), false);
        assert_eq!(concurrency.limit(), 8);
    }

    /// What is never used is never learnt.
    #[test]
    fn idle_does_not_grow() {
        let (mut concurrency, now) = (Concurrency::new(8), Instant::now());
        (0..100).for_each(|_| concurrency.answered(Sent { at: now, at_limit: false }, false, now));
        assert_eq!(concurrency.limit(), 2);
    }
}
