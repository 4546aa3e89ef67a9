//! What a log is to the rest of the agent: nothing above it may know which kind it runs on.
//!
//! A [`Log`] appends requests durably, hands their frames to readers in order, keeps a cursor for each destination, and
//! gives space back once every cursor is past it.

mod log;

mod append;

mod read;

mod backlog;
mod progress;

mod status;

pub use append::{Append, AppendError, Appended, Attributes, ContentDigest, Idempotency};
pub use backlog::{BacklogLimit, Gap, GapCause, LogBounds, Retention, WhenFull};
pub use log::{Log, LogError};
pub use progress::{AtTime, From, Progress, Rewound, Subscription, Totals};
pub use read::{Frame, Located, ReadError, Reader};
pub use status::{Backlog, LogStatus, Written};
