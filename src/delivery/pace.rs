//! When a lane may send, and what: a batch, a probe, or nothing until a delay is over. Keeps the breaker and the delay,
//! and tells the operator when either changes.

use std::{sync::Arc, time::Duration};

use plugin_api::verdict::{Scope, WriteError};
use tokio::time::Instant;

use super::{
    backoff::Backoff,
    breaker::{Breaker, BreakerState},
    settings::LaneSettings,
    settle::Health,
};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Pace {
    destination: Arc<str>,
    backoff: Backoff,
    probe_interval: Duration,
    breaker: Breaker,
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
            resume_at: None,
            last_error: None,
        }
    }

    /// Nothing is sent before this moment, if there is one; [`Pace::resume`] ends the wait.
    pub(super) fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }

    pub(super) fn resume(&mut self) {
        self.resume_at = None;
    }

    /// Whether a probe must succeed before the next request.
    pub(super) fn wants_probe(&self) -> bool {
        self.breaker.wants_probe()
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
        self.resume_at.is_some() || *self.breaker.state() != BreakerState::Closed
    }

    /// Takes the outcome of a probe into account.
    pub(super) fn probed(&mut self, outcome: Result<(), WriteError>) {
        match outcome {
            Ok(()) => self.breaker.probed(),
            Err(error) => self.judge(health_of(error)),
        }
    }

    /// Takes the health that an answer shows into account.
    pub(super) fn judge(&mut self, health: Health) {
        match health {
            Health::Serves => {
                if *self.breaker.state() != BreakerState::Closed {
                    tracing::info!(destination = %self.destination, "destination serves again");
                }
                self.breaker.succeeded();
                self.last_error = None;
            }
            Health::Fails { reason, retry_after } => {
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
                self.wait(delay, reason.to_string());
            }
            Health::Refuses(reason) => {
                if !matches!(self.breaker.state(), BreakerState::Paused(_)) {
                    tracing::error!(
                        destination = %self.destination, %reason,
                        probe_interval_seconds = self.probe_interval.as_secs(),
                        "destination refuses everything: check its keys, plan and settings; it is probed until it serves",
                    );
                }
                self.wait(self.probe_interval, reason.to_string());
                self.breaker.refused(reason);
            }
        }
    }

    fn wait(&mut self, delay: Duration, error: String) {
        self.resume_at = Some(Instant::now() + delay);
        self.last_error = Some(error.into());
    }
}

/// A probe's failure, told as a request's would be.
fn health_of(error: WriteError) -> Health {
    match error {
        WriteError::Throttled { retry_after, reason } | WriteError::Unavailable { retry_after, reason } => {
            Health::Fails { reason, retry_after }
        }
        WriteError::Misconfigured { scope: Scope::Destination, reason } => Health::Refuses(reason),
        WriteError::Misconfigured { scope: Scope::Index(_), reason }
        | WriteError::Unknown { reason }
        | WriteError::TooLarge { reason }
        | WriteError::BatchRejected { reason, .. } => Health::Fails { reason, retry_after: None },
    }
}
