//! The agent as its operators' API sees it.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use plugin_api::identity::{Position, Timestamp};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    destinations::Handle,
    letters, letters_read,
    rates::Rates,
    reload::{Reloader, position_of},
    supervisor::{Command, Reset},
    tail::Tails,
};
use crate::{
    admin::{
        self, Control, ControlError, DestinationState, Drain, DrainReport, DropLetters, DropReport, Find,
        Forget, ForgetReport, FoundReport, History, LetterReport, LettersReport, ListLetters, Missed, Pause,
        PauseReport, ProbeReport, Reload, ReloadReport, Remaining, Replay, ReplayProgress, ResetCursor,
        ResetReport, Resume, ResumeReport, Searched, ShowLetter, StartAt, Status, Tail, TailEvent,
        TransformReport,
    },
    dead_letter::store_path,
    delivery::{LaneState, replay},
    log::interface::{From as LogStart, Gap, LogError},
};

/// What serves the API.
pub(super) struct Operator {
    pub(super) reloader: Arc<Reloader>,
    pub(super) rates: Arc<Rates>,
    pub(super) tails: Tails,
    pub(super) started_at: Timestamp,
}

/// How long an operator's probe may take.
const PROBE_WITHIN: Duration = Duration::from_secs(30);
/// How long a command waits for the requests that are in flight.
const COMMAND_WITHIN: Duration = Duration::from_secs(120);

#[async_trait]
impl Control for Operator {
    async fn status(&self) -> Status {
        self.tell().await
    }

    async fn history(&self) -> History {
        self.rates.history()
    }

    async fn reload(&self, request: Reload) -> Result<ReloadReport, ControlError> {
        self.reloader.reload(request.dry_run).await
    }

    async fn pause(&self, destination: &str, request: Pause) -> Result<PauseReport, ControlError> {
        let handle = self.find_destination(destination)?;
        let why = request.why.unwrap_or_else(|| "an operator wants it so".to_owned());
        let was_paused = handle.paused().is_some();
        let said = |commands: &mut super::kept::Commands| {
            commands.paused.insert(destination.to_owned(), why.clone());
        };
        self.reloader.kept.say(said).map_err(not_kept)?;
        self.reloader.destinations.pause(destination, Some(why));
        let end = self.reloader.log.status().end;
        let pending = handle.snapshot().map_or(0, |snapshot| snapshot.pending(end));
        Ok(PauseReport { destination: destination.to_owned(), was_paused, pending })
    }

    async fn resume(&self, destination: &str, request: Resume) -> Result<ResumeReport, ControlError> {
        let handle = self.find_destination(destination)?;
        let was_paused = handle.paused().is_some();
        let status = self.reloader.log.status();
        let is_detached =
            status.backlogs.iter().any(|backlog| backlog.destination == destination && backlog.detached);
        if !was_paused && !is_detached {
            let error = format!("destination {destination:?} is neither paused nor detached");
            return Err(ControlError::conflict(error, "see `sync-agent status` for what it is doing"));
        }
        let missed = if is_detached {
            let from = self.start_at(request.from.unwrap_or(StartAt::Oldest)).await?;
            let gap = self.ask(&handle, destination, |done| Command::Resume { from, done }).await?;
            Some(gap.map_err(|error| log_error(&error))?)
        } else {
            None
        };
        if was_paused {
            let said = |commands: &mut super::kept::Commands| commands.paused.remove(destination);
            self.reloader.kept.say(said).map_err(not_kept)?;
            self.reloader.destinations.pause(destination, None);
        }
        let end = self.reloader.log.status().end;
        let position = match (&missed, handle.snapshot()) {
            (Some(gap), _) => gap.to,
            (None, Some(snapshot)) => snapshot.delivered,
            (None, None) => end,
        };
        Ok(ResumeReport {
            destination: destination.to_owned(),
            position,
            pending: end.offset.saturating_sub(position.offset),
            missed: missed.map(missed_of),
        })
    }

    async fn probe(&self, destination: &str) -> Result<ProbeReport, ControlError> {
        let handle = self.find_destination(destination)?;
        let built = handle.built().ok_or_else(|| self.no_destination(destination))?;
        let start = Instant::now();
        let answer = timeout(PROBE_WITHIN, built.destination.probe()).await;
        let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {PROBE_WITHIN:?}")),
        };
        let waits = handle.snapshot().is_some_and(|snapshot| snapshot.state == LaneState::BackingOff);
        if error.is_none() && waits {
            // It need not wait until it would have looked itself.
            handle.command(Command::Restart).await;
        }
        Ok(ProbeReport { destination: destination.to_owned(), healthy: error.is_none(), error, milliseconds })
    }

    async fn forget(&self, destination: &str, request: Forget) -> Result<ForgetReport, ControlError> {
        let reloader = &self.reloader;
        let served = reloader.log.served().await.map_err(|error| log_error(&error))?;
        if reloader.destinations.is_there(destination) {
            let error = format!("destination {destination:?} is configured");
            return Err(ControlError::conflict(error, "take it out of the config first, and let that serve"));
        }
        let Some((_, progress)) = served.iter().find(|(name, _)| name == destination) else {
            let gone: Vec<&str> = served
                .iter()
                .map(|(name, _)| &**name)
                .filter(|name| !reloader.destinations.is_there(name))
                .collect();
            return Err(ControlError::not_found("forgotten destination", destination, gone));
        };
        let position = progress.as_ref().map_or_else(Position::default, |progress| progress.next);
        let path = store_path(&reloader.destinations.shared.data_dir, destination);
        let letters = letters::count(path.clone()).await.letters;
        if !request.dry_run {
            // The letters first: without its cursor nobody would know of them.
            letters::remove(&path).map_err(|error| {
                let error = format!("dead letters of {destination:?} cannot be removed: {error}");
                ControlError::failed(error, "look at the data directory, then try again")
            })?;
            reloader.log.forget(destination).await.map_err(|error| log_error(&error))?;
            let said = |commands: &mut super::kept::Commands| commands.paused.remove(destination);
            reloader.kept.say(said).map_err(not_kept)?;
        }
        Ok(ForgetReport {
            destination: destination.to_owned(),
            dry_run: request.dry_run,
            position,
            letters,
            backlog_bytes: 0,
        })
    }

    async fn reset_cursor(
        &self,
        destination: &str,
        request: ResetCursor,
    ) -> Result<ResetReport, ControlError> {
        let handle = self.find_destination(destination)?;
        let built = handle.built().ok_or_else(|| self.no_destination(destination))?;
        let versioned = built.destination.capabilities().versioned;
        let from = self.start_at(request.from).await?;
        let log = &self.reloader.log;
        let reset = match request.dry_run {
            true => {
                let rewound = log.rewind(destination, from, true).await.map_err(|error| log_error(&error))?;
                Reset { rewound, refused: false }
            }
            false => {
                let may_go_back = versioned || request.allow_rewind;
                let command = |done| Command::Reset { from, may_go_back, done };
                let done = self.ask(&handle, destination, command).await?;
                done.map_err(|error| log_error(&error))?
            }
        };
        let moved = reset.rewound;
        if reset.refused {
            let error = format!(
                "destination {destination:?} keeps no versions: its objects would pass through older states until the \
                 cursor is back at {}",
                moved.from
            );
            return Err(ControlError::conflict(error, "say that this is wanted with --allow-rewind"));
        }
        let records = moved.from.offset.abs_diff(moved.to.offset);
        let meaning = match (moved.to < moved.from, versioned) {
            (true, true) => {
                format!(
                    "{records} records are delivered again: the destination keeps what is newer, but a partial update \
                     may bring a deleted object back until its delete comes again"
                )
            }
            (true, false) => format!(
                "{records} records are delivered again: objects pass through older states until the cursor is back"
            ),
            (false, _) if records == 0 => "it stands there already".to_owned(),
            (false, _) => {
                format!("{records} records before the new position are left out, and recorded as a gap")
            }
        };
        Ok(ResetReport {
            destination: destination.to_owned(),
            dry_run: request.dry_run,
            from: moved.from,
            to: moved.to,
            records,
            versioned,
            meaning,
        })
    }

    async fn resume_transform(&self, transform: &str) -> Result<TransformReport, ControlError> {
        let host = self.reloader.transform_host.lock().await;
        let modules = host.modules();
        if !modules.iter().any(|module| &*module.transform == transform) {
            let known = modules.iter().map(|module| &*module.transform);
            return Err(ControlError::not_found("transform", transform, known));
        }
        let suspended =
            host.work().into_iter().filter(|work| &*work.transform == transform && work.suspended);
        let indexes = suspended.map(|work| work.index.to_string()).collect();
        if let Some(transforms) = host.transforms() {
            transforms.resume(transform);
        }
        Ok(TransformReport { transform: transform.to_owned(), indexes })
    }

    async fn drain(&self, request: Drain) -> Result<DrainReport, ControlError> {
        let said = |commands: &mut super::kept::Commands| commands.draining = request.on;
        self.reloader.kept.say(said).map_err(not_kept)?;
        self.reloader.policy.drain(request.on);
        let status = self.status().await;
        let remaining = status.destinations.into_iter().filter(|destination| {
            destination.state != DestinationState::NotConfigured && destination.lag.records > 0
        });
        let remaining = remaining.map(|destination| Remaining {
            destination: destination.name,
            records: destination.lag.records,
            why: match destination.state {
                DestinationState::Running => None,
                _ => destination.why.or(destination.last_error),
            },
        });
        Ok(DrainReport { draining: request.on, remaining: remaining.collect() })
    }

    async fn find(&self, request: Find) -> Result<FoundReport, ControlError> {
        let data_dir = &self.reloader.destinations.shared.data_dir;
        let searched = self.reloader.destinations.all().into_iter().filter_map(|(name, destination)| {
            let snapshot = destination.snapshot()?;
            Some(Searched {
                destination: name.to_string(),
                since: Position { partition: 0, offset: snapshot.since },
                delivered: snapshot.delivered,
                store: store_path(data_dir, &name),
            })
        });
        admin::find(&*self.reloader.log, searched.collect(), &request).await
    }

    async fn tail(&self, request: Tail) -> Result<mpsc::Receiver<TailEvent>, ControlError> {
        if let Some(destination) = &request.destination {
            self.find_destination(destination)?;
        }
        self.tails.start(request)
    }

    async fn replay(
        &self,
        request: Replay,
    ) -> Result<mpsc::Receiver<Result<ReplayProgress, ControlError>>, ControlError> {
        let handle = self.find_destination(&request.destination)?;
        let name = &request.destination;
        let not_now = |error: String| {
            ControlError::conflict(error, "see `sync-agent status` for what it is doing, then try again")
        };
        let paused = handle.paused().is_some();
        let replays = handle.replays().filter(|_| !paused);
        let replays = replays.ok_or_else(|| not_now(format!("destination {name:?} is not delivered to")))?;
        let (filter, force, dry_run) = (request.filter.to_filter()?, request.force, request.dry_run);
        let asked = replay::Request { filter, force, dry_run };
        let progress = replays.start(asked).map_err(|refused| not_now(refused.to_string()))?;
        Ok(letters::tell(progress))
    }

    async fn list_letters(&self, request: ListLetters) -> Result<LettersReport, ControlError> {
        let path = self.letters_of(&request.destination).await?;
        letters_read::list(path, request).await
    }

    async fn show_letter(&self, request: ShowLetter) -> Result<LetterReport, ControlError> {
        let path = self.letters_of(&request.destination).await?;
        letters_read::show(path, request).await
    }

    async fn drop_letters(&self, request: DropLetters) -> Result<DropReport, ControlError> {
        let path = self.letters_of(&request.destination).await?;
        letters::drop(path, request).await
    }
}

impl Operator {
    fn find_destination(&self, name: &str) -> Result<Handle, ControlError> {
        self.reloader.destinations.get(name).ok_or_else(|| self.no_destination(name))
    }

    fn no_destination(&self, name: &str) -> ControlError {
        let all = self.reloader.destinations.all();
        ControlError::not_found("destination", name, all.iter().map(|(name, _)| &**name))
    }

    /// Where the dead letters of a destination lie, also of one that is not configured any more.
    async fn letters_of(&self, destination: &str) -> Result<PathBuf, ControlError> {
        let served = self.reloader.log.served().await.map_err(|error| log_error(&error))?;
        if !served.iter().any(|(name, _)| name == destination) {
            return Err(self.no_destination(destination));
        }
        Ok(store_path(&self.reloader.destinations.shared.data_dir, destination))
    }

    async fn start_at(&self, from: StartAt) -> Result<LogStart, ControlError> {
        let time = match from {
            StartAt::Now => return Ok(LogStart::Now),
            StartAt::Oldest => return Ok(LogStart::Oldest),
            StartAt::Time(time) => time,
        };
        let microseconds = i64::try_from(time.0.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or(jiff::Timestamp::MAX);
        position_of(&*self.reloader.log, time)
            .await
            .map_err(|why| ControlError::invalid(why, "see `sync-agent status` for where the log begins"))
    }

    /// Has a destination's supervisor do something between two lanes.
    async fn ask<T>(
        &self,
        handle: &Handle,
        name: &str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ControlError> {
        let (done, answer) = oneshot::channel();
        let asked = async { if handle.command(command(done)).await { answer.await.ok() } else { None } };
        match timeout(COMMAND_WITHIN, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                let error = format!("destination {name:?} was changed or removed at the same time");
                Err(ControlError::conflict(error, "look at `sync-agent status`, then try again"))
            }
            Err(_) => {
                let error = format!("requests to {name:?} are still in flight after {COMMAND_WITHIN:?}");
                Err(ControlError::failed(
                    error,
                    "it is done as soon as they end; look at `sync-agent status`",
                ))
            }
        }
    }
}

fn missed_of(gap: Gap) -> Missed {
    Missed {
        from: gap.from,
        to: gap.to,
        records: gap.records,
        by_index: gap.by_index.into_iter().map(|(index, count)| (index.into_string(), count)).collect(),
    }
}

fn not_kept(error: io::Error) -> ControlError {
    let error = format!("what you say cannot be kept for the next start: {error}");
    ControlError::failed(error, "look at the disk and the data directory, then say it again")
}

fn log_error(error: &LogError) -> ControlError {
    match error {
        LogError::NotDetached { .. }
        | LogError::Detached { .. }
        | LogError::InUse { .. }
        | LogError::Unknown { .. } => {
            ControlError::conflict(error.to_string(), "see `sync-agent status` for what it is doing")
        }
        LogError::Io { .. } | LogError::Halted { .. } | LogError::Closed => {
            ControlError::failed(error.to_string(), "look at the data directory and the agent's log")
        }
    }
}
