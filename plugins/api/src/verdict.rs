//! What a destination answers: a verdict for every operation, or one error for the whole request.

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

/// The kind of a [`Reason`]: a fixed word for metrics, filters and letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasonCode {
    /// The transform said that it cannot process the record.
    TransformFailed,
    /// The transform crashed on the record.
    TransformTrapped,
    /// The transform spent its CPU time on the record.
    TransformTimedOut,
    /// What the transform made of the record cannot be delivered.
    TransformInvalid,
    /// The transform spent too much CPU time on other records of the index, and does not run on it for now.
    TransformSuspended,
    /// The destination looked at the record and refused it.
    Rejected,
    /// The record alone is larger than the destination takes.
    TooLarge,
    /// The destination's rules on ids, index names or values exclude the operation; it was never sent.
    NotAdmitted,
    /// The destination refuses this index; its other indexes go on.
    IndexRefused,
    /// The destination holds the object with a version that no agent gave it, so that ours will never be taken.
    ForeignVersion,
    /// The record's own request failed again and again while others succeeded.
    PoisonSuspected,
    /// The destination asked for less.
    Throttled,
    /// The destination could not be reached or answered that it is not able to serve.
    Unavailable,
    /// The request was sent and its outcome is not known.
    Unknown,
    /// Credentials, plan or settings keep the destination from accepting anything.
    Misconfigured,
}

impl ReasonCode {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::TransformFailed,
        Self::TransformTrapped,
        Self::TransformTimedOut,
        Self::TransformInvalid,
        Self::TransformSuspended,
        Self::Rejected,
        Self::TooLarge,
        Self::NotAdmitted,
        Self::IndexRefused,
        Self::ForeignVersion,
        Self::PoisonSuspected,
        Self::Throttled,
        Self::Unavailable,
        Self::Unknown,
        Self::Misconfigured,
    ];

    /// The code's name in letters, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransformFailed => "transform_failed",
            Self::TransformTrapped => "transform_trapped",
            Self::TransformTimedOut => "transform_timed_out",
            Self::TransformInvalid => "transform_invalid",
            Self::TransformSuspended => "transform_suspended",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::NotAdmitted => "not_admitted",
            Self::IndexRefused => "index_refused",
            Self::ForeignVersion => "foreign_version",
            Self::PoisonSuspected => "poison_suspected",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// Why an operation or a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What kind of reason this is.
    pub code: ReasonCode,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The destination's own words, or ours: a lowercase fragment with the offending value and the limit.
    pub message: String,
}

impl Reason {
    /// A reason without an HTTP status.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, status: None, message: message.into() }
    }

    /// The same reason with the HTTP status that it came with.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} ({status}): {}", self.code.as_str(), self.message),
            None => write!(f, "{}: {}", self.code.as_str(), self.message),
        }
    }
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Applied (or applied before, by a request that was sent twice).
    Written,
    /// The destination holds a newer version of the object already.
    Superseded,
    /// Not applied, and may succeed later: send it again, and after it every later operation of its key.
    Retry(Reason),
    /// Not applied, and never will be as it stands.
    Reject(Reason),
}

/// Asks later whether a write is visible to searches; opaque to everyone but its plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The index that was written.
    pub index: Arc<str>,
    /// The plugin's own handle, at most 256 bytes; kept with the cursor, so that it outlives a restart.
    pub handle: String,
}

/// A request that the destination answered item by item.
#[derive(Debug)]
pub struct Written {
    /// One for each operation of the batch, in its order.
    pub verdicts: Vec<Verdict>,
    /// At most one for each index; a newer one covers the older ones of its index.
    pub confirmations: Vec<Confirmation>,
}

/// How much of a destination a refusal concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it: keys, plan, method.
    Destination,
    /// One index.
    Index(Arc<str>),
}

/// A request that failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The destination asks for less (429 and its kin). Nothing was applied; wait, then send the same again.
    #[error("{reason}")]
    Throttled {
        /// How long the destination asked to wait.
        retry_after: Option<Duration>,
        /// Its words.
        reason: Reason,
    },
    /// Not reachable or not serving (refused connections, 502, 503, 504): wait and probe.
    #[error("{reason}")]
    Unavailable {
        /// How long the destination asked to wait.
        retry_after: Option<Duration>,
        /// What happened.
        reason: Reason,
    },
    /// Sent, but the outcome is not known (a time-out, a cut connection, a 500): the same operations are sent again
    /// before anything newer of their keys.
    #[error("{reason}")]
    Unknown {
        /// How long the destination asked to wait.
        retry_after: Option<Duration>,
        /// What happened.
        reason: Reason,
    },
    /// An operator must act: keys, plan, an index that may not be written.
    #[error("{reason}")]
    Misconfigured {
        /// How much of the destination is concerned.
        scope: Scope,
        /// The destination's words.
        reason: Reason,
    },
    /// The request is larger than the destination takes: split it.
    #[error("{reason}")]
    TooLarge {
        /// The destination's words.
        reason: Reason,
    },
    /// Nothing was applied because of at least one operation in the batch.
    #[error("{reason}")]
    BatchRejected {
        /// Which operation of the batch, if the destination told; otherwise the batch is bisected.
        culprit: Option<usize>,
        /// The destination's words.
        reason: Reason,
    },
}

impl WriteError {
    /// The reason that every kind carries.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Throttled { reason, .. }
            | Self::Unavailable { reason, .. }
            | Self::Unknown { reason, .. }
            | Self::Misconfigured { reason, .. }
            | Self::TooLarge { reason }
            | Self::BatchRejected { reason, .. } => reason,
        }
    }
}
