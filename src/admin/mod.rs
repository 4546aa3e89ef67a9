//! The operator's API: what an operator sees of a running agent and does with it, over HTTP.
//!
//! [`Control`] is what the composition root can do; everything here only carries its words: requests and reports as
//! JSON, each with its own type.
//!
//! Read in this order: the control, with what goes over the wire; the server that carries it, with the dashboard, a page
//! for browsers that asks it as any client does; the client; where an object is.

mod control;
mod error;
mod history;
mod letters;
mod reports;
mod requests;
mod status;
mod tail;
mod time;

mod server;

mod client;

mod find;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Events};
pub use control::Control;
pub use error::{ConfigError, ConfigRefused, ControlError, Kind};
pub use find::{Searched, find};
pub use history::{DestinationHistory, History};
pub use letters::{
    LetterChange, LetterHead, LetterRange, LetterReason, LetterReport, LettersReport, ListLetters, ShowLetter,
};
pub use reports::{
    Arrival, DrainReport, DropReport, ForgetReport, FoundChange, FoundLetter, FoundReport, LeftLetter,
    Missed, PauseReport, Planned, PlannedChange, ProbeReport, ReloadReport, Remaining, ReplayProgress,
    ReplayState, ResetReport, ResumeReport, TransformReport,
};
pub use requests::{
    Drain, DropLetters, Find, Forget, LetterFilter, Pause, Reload, Replay, ResetCursor, Resume, StartAt,
    StartAtError, Tail,
};
pub use server::{BindError, Server, socket_path};
pub use status::{
    ConfigStatus, DeadLetterStatus, DestinationState, DestinationStatus, Lag, LogStatus, Oldest, Outcomes,
    RefusedConfigStatus, RefusedModule, Status, TransformStatus,
};
pub use tail::{TailChange, TailEvent, TailKind};
pub use time::Time;
