//! The operator's API: what an operator sees of a running agent and does with it, over HTTP.
//!
//! [`Control`] is what the composition root can do; everything here only carries its words: requests and reports as
//! JSON, each with its own type.
//!
//! Read in this order: the control with what goes over the wire, the status.

mod control;
mod error;
mod reports;
mod requests;
mod status;
mod time;

pub use control::Control;
pub use error::{ConfigError, ConfigRefused, ControlError, Kind};
pub use reports::{
    Arrival, DrainReport, DropReport, ForgetReport, FoundChange, FoundLetter, FoundReport, LetterReference,
    Missed, PauseReport, Planned, PlannedChange, ProbeReport, ReloadReport, Remaining, ReplayProgress,
    ResetReport, ResumeReport, TransformReport,
};
pub use requests::{
    Drain, DropLetters, Find, Forget, LetterFilter, Pause, Reload, Replay, ResetCursor, Resume, StartAt,
    StartAtError,
};
pub use status::{
    ConfigStatus, DeadLetterStatus, DestinationState, DestinationStatus, Lag, LogStatus, Oldest, Outcomes,
    RefusedConfigStatus, RefusedModule, Status, TransformStatus,
};
pub use time::Time;
