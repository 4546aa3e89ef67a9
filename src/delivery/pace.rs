//! When a lane may send, and what: batches, one batch, a probe, or nothing until a delay is over. Keeps the breaker, the
//! delay, the concurrency and the rate, and tells the operator when the breaker changes.

use std::{sync::Arc, time::Duration};

use plugin_api::verdict::{Reason, Scope, WriteError};
use tokio::time::Instant;

use super::{
    backoff::Backoff,
    breaker::{Breaker, BreakerState},
    concurrency::{Concurrency, Sent},
    queue::BatchBounds,
    rate::Rate,
    settings::LaneSettings,
    settle::Health,
};

/// What a lane may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Nothing, before this moment or another answer.
    Nothing(Option<Instant>),
    /// A probe.
    Probe,
    /// A batch.
    Batch,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Pace {
    destination: Arc<str>,
    backoff: Backoff,
    probe_interval: Duration,
    breaker: Breaker,
    concurrency: Concurrency,
    rate: Rate,
    resume_at: Option<Instant>,
    last_error: Option<Arc<str>>,
}

impl Pace {
    pub(super) fn new(settings: &LaneSettings) -> Self {
        Self {
            destination: settings.name.clone(),
            backoff: settings.backoff,
            probe_interval: settings.probe_interval,
            breaker: Breaker::default(),
            concurrency: Concurrency::new(settings.requests_max),
            rate: Rate::new(settings.rate_limit),
            resume_at: None,
            last_error: None,
        }
    }

    /// What may be sent while so many requests are in flight.
    pub(super) fn permit(&self, in_flight: usize, now: Instant) -> Permit {
        if let Some(resume_at) = self.resume_at.filter(|resume_at| *resume_at > now) {
            return Permit::Nothing(Some(resume_at));
        }
        match self.breaker.state() {
            // What is still in flight tells more than a probe.
            BreakerState::Open | BreakerState::Paused(_) | BreakerState::HalfOpen if in_flight > 0 => {
                Permit::Nothing(None)
            }
            BreakerState::Open | BreakerState::Paused(_) => Permit::Probe,
            BreakerState::Closed if in_flight >= self.concurrency.limit() => Permit::Nothing(None),
            BreakerState::Closed | BreakerState::HalfOpen => {
                self.rate.free_at(now).map_or(Permit::Batch, |free_at| Permit::Nothing(Some(free_at)))
            }
        }
    }

    /// Nothing is sent before this moment; it may be over.
    pub(super) fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }

    /// How much the next batch may carry.
    pub(super) fn bound(&self, bounds: BatchBounds) -> BatchBounds {
        self.rate.bound(bounds)
    }

    /// Batches in flight at most.
    pub(super) fn limit(&self) -> usize {
        self.concurrency.limit()
    }

    /// A batch leaves now, while so many others are in flight.
    pub(super) fn sent(&mut self, in_flight: usize, operations: usize, bytes: usize, now: Instant) -> Sent {
        self.rate.sent(operations, bytes, now);
        Sent { at: now, at_limit: in_flight + 1 >= self.concurrency.limit() }
    }

    pub(super) fn breaker(&self) -> &BreakerState {
        self.breaker.state()
    }

    /// The last failure, until a request succeeds.
    pub(super) fn last_error(&self) -> Option<&Arc<str>> {
        self.last_error.as_ref()
    }

    /// Whether the last request or probe failed.
    pub(super) fn is_failing(&self) -> bool {
        self.last_error.is_some() || *self.breaker.state() != BreakerState::Closed
    }

    /// Takes the outcome of a probe into account.
    pub(super) fn probed(&mut self, outcome: Result<(), WriteError>, now: Instant) {
        match outcome {
            Ok(()) => self.breaker.probed(),
            Err(error) => self.judge(health_of(error), now),
        }
    }

    /// Takes an answer into account.
    pub(super) fn answered(&mut self, sent: Sent, health: Health, now: Instant) {
        let congested = match &health {
            Health::Serves { congested } => *congested,
            Health::Throttles { .. } | Health::Fails { .. } => true,
            Health::Refuses(_) => false,
        };
        self.concurrency.answered(sent, congested, now);
        let is_late = matches!(self.breaker.state(), BreakerState::Open | BreakerState::Paused(_))
            && !matches!(health, Health::Serves { .. });
        // Of several that were in flight together each failure counts on the way to an open breaker, and none after.
        if !is_late {
            self.judge(health, now);
        }
    }

    fn judge(&mut self, health: Health, now: Instant) {
        match health {
            Health::Serves { .. } => {
                if *self.breaker.state() != BreakerState::Closed {
                    tracing::info!(destination = %self.destination, "destination serves again");
                }
                self.breaker.succeeded();
                self.last_error = None;
            }
            Health::Throttles { reason, retry_after } => {
                let delay = self.fail(&reason, retry_after);
                self.wait(delay, reason.to_string(), now);
            }
            Health::Fails { reason, retry_after } => {
                let delay = self.fail(&reason, retry_after);
                // While others may succeed only what failed waits; it does so in the queue.
                let waits = retry_after.is_some() || *self.breaker.state() != BreakerState::Closed;
                self.wait(if waits { delay } else { Duration::ZERO }, reason.to_string(), now);
            }
            Health::Refuses(reason) => {
                if !matches!(self.breaker.state(), BreakerState::Paused(_)) {
                    tracing::error!(
                        destination = %self.destination, %reason,
                        probe_interval_seconds = self.probe_interval.as_secs(),
                        "destination refuses everything: check its keys, plan and settings; it is probed until it serves",
                    );
                }
                self.wait(self.probe_interval, reason.to_string(), now);
                self.breaker.refused(reason);
            }
        }
    }

    /// Counts a failure; returns how long to wait.
    fn fail(&mut self, reason: &Reason, retry_after: Option<Duration>) -> Duration {
        let before = self.breaker.state().clone();
        self.breaker.failed();
        let failures = self.breaker.failures();
        let delay = self.backoff.delay(failures, retry_after);
        if failures == 1 || before != *self.breaker.state() {
            tracing::warn!(
                destination = %self.destination, %reason, failures,
                delay_ms = delay.as_millis() as u64, breaker = ?self.breaker.state(), "destination failed",
            );
        }
        delay
    }

    fn wait(&mut self, delay: Duration, error: String, now: Instant) {
        self.resume_at = self.resume_at.max(Some(now + delay));
        self.last_error = Some(error.into());
    }
}

/// A probe's failure, told as a request's would be.
fn health_of(error: WriteError) -> Health {
    match error {
        WriteError::Throttled { retry_after, reason } => Health::Throttles { reason, retry_after },
        WriteError::Unavailable { retry_after, reason } | WriteError::Unknown { retry_after, reason } => {
            Health::Fails { reason, retry_after }
        }
        WriteError::Misconfigured { scope: Scope::Destination, reason } => Health::Refuses(reason),
        WriteError::Misconfigured { scope: Scope::Index(_), reason }
        | WriteError::TooLarge { reason }
        | WriteError::BatchRejected { reason, .. } => Health::Fails { reason, retry_after: None },
    }
}
