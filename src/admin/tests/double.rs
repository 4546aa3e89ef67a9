//! Stands in for the agent: remembers what it was asked, and answers at once unless a gate is shut.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use plugin_api::identity::Position;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::admin::{
    ConfigError, ConfigRefused, ConfigStatus, Control, ControlError, DestinationHistory, DestinationState,
    Drain, DrainReport, DropLetters, DropReport, Find, Forget, ForgetReport, FoundReport, History, Kind,
    LetterReport, LettersReport, ListLetters, LogStatus, Pause, PauseReport, ProbeReport, Reload,
    ReloadReport, Replay, ReplayProgress, ReplayState, ResetCursor, ResetReport, Resume, ResumeReport,
    ShowLetter, Status, Tail, TailEvent, Time, TransformReport,
};
use crate::tap::NotShown;

pub(super) struct Double {
    pub(super) asked: Mutex<Vec<String>>,
    /// What this file held when the last command came.
    pub(super) look_at: Mutex<Option<PathBuf>>,
    pub(super) seen: Mutex<String>,
    /// `pause` waits for a permit.
    pub(super) gate: Semaphore,
    /// `reload` is refused.
    pub(super) refuses: bool,
    /// Told when a replay has ended since nobody listens any more.
    pub(super) interrupted: Arc<Notify>,
}

impl Default for Double {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            look_at: Mutex::default(),
            seen: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            refuses: false,
            interrupted: Arc::default(),
        }
    }
}

impl Double {
    /// What it was asked, the oldest first.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        if let Some(path) = &*self.look_at.lock().unwrap() {
            *self.seen.lock().unwrap() = std::fs::read_to_string(path).unwrap_or_default();
        }
        self.asked.lock().unwrap().push(what);
    }
}

/// Everything at its beginning.
pub(super) fn status() -> Status {
    Status {
        at: Time::default(),
        agent_version: "0.1.0".to_owned(),
        started_at: Time::default(),
        draining: false,
        config: ConfigStatus {
            generation: 1,
            source: None,
            loaded_at: Time::default(),
            serving_last_accepted: false,
            refused: None,
            drift: Vec::new(),
        },
        log: LogStatus {
            id: "00000000-0000-0000-0000-000000000000".to_owned(),
            bytes: 0,
            held_bytes: 0,
            bytes_max: 1 << 30,
            oldest: None,
            end: Position::default(),
            records_per_second: 0.0,
            disk_full_in_seconds: None,
            refusing: None,
            versions_ahead_seconds: 0.0,
        },
        destinations: Vec::new(),
        transforms: Vec::new(),
    }
}

/// Two samples of one destination, of which the first tells nothing.
pub(super) fn history() -> History {
    let search = DestinationHistory {
        state: DestinationState::Running,
        since: Time::default(),
        lag: vec![None, Some(7)],
        records_per_second: vec![None, Some(0.5)],
    };
    History {
        step_seconds: 10,
        at: vec![Time::default(); 2],
        accepted_per_second: vec![0.0, 0.6],
        destinations: [("search".to_owned(), search)].into(),
    }
}

#[async_trait]
impl Control for Double {
    async fn status(&self) -> Status {
        status()
    }

    async fn history(&self) -> History {
        history()
    }

    async fn reload(&self, request: Reload) -> Result<ReloadReport, ControlError> {
        self.note(format!("reload {request:?}"));
        if self.refuses {
            let error = ConfigError {
                line: Some(3),
                key: "listen.grpc".to_owned(),
                message: "\"x\" is not an address".to_owned(),
                accepted: None,
            };
            let config =
                ConfigRefused { file: None, errors: vec![error], text: "listen.grpc: no\n".to_owned() };
            return Err(ControlError::refused(config));
        }
        Ok(ReloadReport {
            dry_run: request.dry_run,
            generation: 2,
            changes: Vec::new(),
            warnings: Vec::new(),
        })
    }

    async fn pause(&self, destination: &str, request: Pause) -> Result<PauseReport, ControlError> {
        self.note(format!("pause {destination} {request:?}"));
        self.gate.acquire().await.unwrap().forget();
        Ok(PauseReport { destination: destination.to_owned(), was_paused: false, pending: 7 })
    }

    async fn resume(&self, destination: &str, request: Resume) -> Result<ResumeReport, ControlError> {
        self.note(format!("resume {destination} {request:?}"));
        Err(ControlError::conflict("destination search is not paused", "there is nothing to resume"))
    }

    async fn probe(&self, destination: &str) -> Result<ProbeReport, ControlError> {
        self.note(format!("probe {destination}"));
        Ok(ProbeReport { destination: destination.to_owned(), healthy: true, error: None, milliseconds: 3 })
    }

    async fn forget(&self, destination: &str, request: Forget) -> Result<ForgetReport, ControlError> {
        self.note(format!("forget {destination} {request:?}"));
        Err(ControlError::not_found("destination", destination, ["search", "mirror"]))
    }

    async fn reset_cursor(
        &self,
        destination: &str,
        request: ResetCursor,
    ) -> Result<ResetReport, ControlError> {
        self.note(format!("reset_cursor {destination} {request:?}"));
        Ok(ResetReport {
            destination: destination.to_owned(),
            dry_run: request.dry_run,
            from: Position { partition: 0, offset: 9 },
            to: Position::default(),
            records: 9,
            versioned: true,
            meaning: "nothing older overwrites anything".to_owned(),
        })
    }

    async fn resume_transform(&self, transform: &str) -> Result<TransformReport, ControlError> {
        self.note(format!("resume_transform {transform}"));
        Ok(TransformReport { transform: transform.to_owned(), indexes: vec!["products".to_owned()] })
    }

    async fn drain(&self, request: Drain) -> Result<DrainReport, ControlError> {
        self.note(format!("drain {request:?}"));
        Ok(DrainReport { draining: request.on, remaining: Vec::new() })
    }

    async fn find(&self, request: Find) -> Result<FoundReport, ControlError> {
        self.note(format!("find {request:?}"));
        Err(ControlError::failed("the log cannot be read", "see to the disk"))
    }

    async fn tail(&self, request: Tail) -> Result<mpsc::Receiver<TailEvent>, ControlError> {
        self.note(format!("tail {request:?}"));
        let (tx, rx) = mpsc::channel(1);
        let interrupted = self.interrupted.clone();
        tokio::spawn(async move {
            let not_shown = NotShown { over_rate: 1, too_slow: 0 };
            while let Some(event) = TailEvent::not_shown(Time::default().0, not_shown)
                && tx.send(event).await.is_ok()
            {}
            interrupted.notify_one();
        });
        Ok(rx)
    }

    async fn replay(
        &self,
        request: Replay,
    ) -> Result<mpsc::Receiver<Result<ReplayProgress, ControlError>>, ControlError> {
        self.note(format!("replay {request:?}"));
        let (tx, rx) = mpsc::channel(1);
        let progress =
            |replayed, state| ReplayProgress { letters: 2, replayed, state, ..ReplayProgress::default() };
        match request.destination.as_str() {
            "endless" => {
                let interrupted = self.interrupted.clone();
                tokio::spawn(async move {
                    while tx.send(Ok(progress(0, ReplayState::Waiting))).await.is_ok() {}
                    interrupted.notify_one();
                });
            }
            "broken" => {
                tokio::spawn(async move {
                    let _ = tx.send(Ok(progress(1, ReplayState::Running))).await;
                    let _ = tx.send(Err(ControlError::failed("the store is gone", "look at the disk"))).await;
                });
            }
            _ => {
                tokio::spawn(async move {
                    for (replayed, state) in
                        [(0, ReplayState::Waiting), (1, ReplayState::Running), (2, ReplayState::Done)]
                    {
                        let _ = tx.send(Ok(progress(replayed, state))).await;
                    }
                });
            }
        }
        Ok(rx)
    }

    async fn list_letters(&self, request: ListLetters) -> Result<LettersReport, ControlError> {
        self.note(format!("list_letters {request:?}"));
        let destination = request.destination;
        Ok(LettersReport { destination, letters: Vec::new(), more: false, ranges: Vec::new() })
    }

    async fn show_letter(&self, request: ShowLetter) -> Result<LetterReport, ControlError> {
        self.note(format!("show_letter {request:?}"));
        Err(ControlError::new(Kind::NotFound, "there is no such letter", "list what there is"))
    }

    async fn drop_letters(&self, request: DropLetters) -> Result<DropReport, ControlError> {
        self.note(format!("drop_letters {request:?}"));
        let DropLetters { destination, dry_run, .. } = request;
        Ok(DropReport { destination, dry_run, letters: 0, by_reason: [].into() })
    }
}
