//! What an operator can do with a running agent.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    error::ControlError,
    history::History,
    letters::{LetterReport, LettersReport, ListLetters, ShowLetter},
    reports::{
        DrainReport, DropReport, ForgetReport, FoundReport, PauseReport, ProbeReport, ReloadReport,
        ReplayProgress, ResetReport, ResumeReport, TransformReport,
    },
    requests::{Drain, DropLetters, Find, Forget, Pause, Reload, Replay, ResetCursor, Resume, Tail},
    status::Status,
    tail::TailEvent,
};

/// The agent as its operator's API sees it. Implemented by the composition root; every change is durable, or undone, when
/// its call returns. A dropped call may have been carried out.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// How everything is doing; cheap, and waits for nothing.
    async fn status(&self) -> Status;

    /// What was during the last hour; cheap, and waits for nothing.
    async fn history(&self) -> History;

    /// Reads the config anew and lets it serve, or tells only what would change.
    ///
    /// # Errors
    /// [`ControlError::refused`] with everything that is wrong; the config before serves on.
    async fn reload(&self, request: Reload) -> Result<ReloadReport, ControlError>;

    /// Sends nothing more to a destination until it is resumed, also after a restart. Its records wait in the log.
    ///
    /// # Errors
    /// If there is no such destination. One that is paused already is told the new reason.
    async fn pause(&self, destination: &str, request: Pause) -> Result<PauseReport, ControlError>;

    /// Lets a destination go on that an operator paused, or that was detached.
    ///
    /// # Errors
    /// If there is no such destination, it is neither paused nor detached, or the log does not reach back that far.
    async fn resume(&self, destination: &str, request: Resume) -> Result<ResumeReport, ControlError>;

    /// Asks a destination whether it would take anything, now; changes nothing.
    ///
    /// # Errors
    /// If there is no such destination; one that does not answer is a report, no error.
    async fn probe(&self, destination: &str) -> Result<ProbeReport, ControlError>;

    /// Deletes cursor, gaps and dead letters of a destination that is not configured any more.
    ///
    /// # Errors
    /// If there is no such destination, or it is configured.
    async fn forget(&self, destination: &str, request: Forget) -> Result<ForgetReport, ControlError>;

    /// Moves a destination's cursor.
    ///
    /// # Errors
    /// If there is no such destination, the log does not reach back that far, or the destination keeps no versions and
    /// the request does not allow what follows from that.
    async fn reset_cursor(
        &self,
        destination: &str,
        request: ResetCursor,
    ) -> Result<ResetReport, ControlError>;

    /// Lets a transform run again on every index for which it is suspended.
    ///
    /// # Errors
    /// If there is no such transform.
    async fn resume_transform(&self, transform: &str) -> Result<TransformReport, ControlError>;

    /// Refuses intake from now on, or takes it again. Returns at once, with what remains to be delivered.
    ///
    /// # Errors
    /// If it cannot be done as things stand.
    async fn drain(&self, request: Drain) -> Result<DrainReport, ControlError>;

    /// Where an object is.
    ///
    /// # Errors
    /// If the log or the dead letters cannot be read.
    async fn find(&self, request: Find) -> Result<FoundReport, ControlError>;

    /// Tells what happens to records from now on, until the agent stops or the receiver is dropped. Nothing waits for
    /// whoever receives: what does not fit is counted and told.
    ///
    /// # Errors
    /// If there is no such destination, or too many look already.
    async fn tail(&self, request: Tail) -> Result<mpsc::Receiver<TailEvent>, ControlError>;

    /// Sends dead letters through today's transform and the ordinary lane. Tells how far it is about once a second and
    /// at its end, where its state is done; a receiver that is dropped ends it. Safe to repeat.
    ///
    /// # Errors
    /// If there is no such destination, or it cannot take any now.
    async fn replay(
        &self,
        request: Replay,
    ) -> Result<mpsc::Receiver<Result<ReplayProgress, ControlError>>, ControlError>;

    /// Some dead letters of a destination.
    ///
    /// # Errors
    /// If there is no such destination, or its letters cannot be read.
    async fn list_letters(&self, request: ListLetters) -> Result<LettersReport, ControlError>;

    /// One dead letter.
    ///
    /// # Errors
    /// If there is no such destination or letter, or it cannot be read.
    async fn show_letter(&self, request: ShowLetter) -> Result<LetterReport, ControlError>;

    /// Deletes dead letters.
    ///
    /// # Errors
    /// If there is no such destination, or its letters cannot be written.
    async fn drop_letters(&self, request: DropLetters) -> Result<DropReport, ControlError>;
}
