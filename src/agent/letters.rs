//! A destination's dead letters as its operators ask for them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    admin::{
        ControlError, DeadLetterStatus, DropLetters, DropReport, LeftLetter, ReplayProgress, ReplayState,
    },
    dead_letter::{Filter, StoreError, View, delete_letters},
    delivery::replay::{Left, Progress, State, Why},
};

/// How often a replay tells how far it is.
const TELL: Duration = Duration::from_secs(1);

/// Tells whether the letters of a store's file may have changed.
pub(super) type Stamp = [Option<(u64, SystemTime)>; 2];

/// The stamp of a store's file now.
pub(super) fn stamp(path: &Path) -> Stamp {
    let of = |path: PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    ["", "-wal"].map(|suffix| of(beside(path, suffix)))
}

/// The letters of a store's file; none if there is none.
pub(super) async fn count(path: PathBuf) -> DeadLetterStatus {
    let counted = spawn_blocking(move || View::open(&path)?.stats(&Filter::default())).await;
    let Ok(Ok(groups)) = counted else { return DeadLetterStatus::default() };
    let mut status = DeadLetterStatus::default();
    for group in groups {
        status.letters += group.letters;
        status.bytes += group.bytes;
        *status.by_reason.entry(group.reason.as_str().to_owned()).or_default() += group.letters;
    }
    status
}

/// Deletes letters, or tells how many there are to delete.
pub(super) async fn drop(path: PathBuf, request: DropLetters) -> Result<DropReport, ControlError> {
    let DropLetters { destination, filter, dry_run } = request;
    let filter = filter.to_filter()?;
    let dropped = spawn_blocking(move || -> Result<_, StoreError> {
        let mut by_reason = BTreeMap::new();
        for group in View::open(&path)?.stats(&filter)? {
            *by_reason.entry(group.reason.as_str().to_owned()).or_default() += group.letters;
        }
        let letters = match dry_run {
            true => by_reason.values().sum(),
            false => delete_letters(&path, &filter, &mut |_| {})?,
        };
        Ok((letters, by_reason))
    });
    match dropped.await {
        Ok(Ok((letters, by_reason))) => Ok(DropReport { destination, dry_run, letters, by_reason }),
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// Removes a store's file, with what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Tells how far a replay is, once a second and at its end. If nobody listens any more, the replay ends.
pub(super) fn tell(
    mut progress: watch::Receiver<Progress>,
) -> mpsc::Receiver<Result<ReplayProgress, ControlError>> {
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = tx.closed() => return,
                ended = ended(&mut progress) => {
                    let _ = tx.send(ended.as_ref().map_or_else(|| Err(interrupted()), told)).await;
                    return;
                }
                _ = ticks.tick() => {
                    let now = progress.borrow().clone();
                    let now = told(&now);
                    if tx.send(now).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    rx
}

/// How a replay ended; nothing if its lane did.
async fn ended(progress: &mut watch::Receiver<Progress>) -> Option<Progress> {
    Some(progress.wait_for(|progress| !goes_on(&progress.state)).await.ok()?.clone())
}

fn goes_on(state: &State) -> bool {
    matches!(state, State::Waiting | State::Running)
}

fn told(progress: &Progress) -> Result<ReplayProgress, ControlError> {
    let Progress { state, total, replayed, superseded, skipped, stale, purged, unrouted, failed, left } =
        progress;
    let state = match state {
        State::Waiting => ReplayState::Waiting,
        State::Running => ReplayState::Running,
        State::Done => ReplayState::Done,
        State::Interrupted => return Err(interrupted()),
        State::Failed(why) => return Err(self::failed(why)),
    };
    let left = if state == ReplayState::Done { left.iter().map(left_of).collect() } else { Vec::new() };
    Ok(ReplayProgress {
        state,
        letters: *total,
        replayed: *replayed,
        superseded: *superseded,
        skipped: *skipped,
        stale: *stale,
        purged: *purged,
        unrouted: *unrouted,
        failed: *failed,
        left,
    })
}

fn left_of(Left { id, object, why }: &Left) -> LeftLetter {
    let why = match why {
        Why::Stale => "stale: something newer of its object was delivered since".to_owned(),
        Why::Purged => "its data is gone, since its object was deleted".to_owned(),
        Why::Unrouted => "its index does not go to this destination any more".to_owned(),
        Why::Failed(reason) => reason.clone(),
    };
    LeftLetter { id: id.0, index: object.index.to_string(), object_id: object.object_id.to_string(), why }
}

fn interrupted() -> ControlError {
    let error =
        "the destination was changed, paused or stopped meanwhile; what was not replayed is as it was";
    ControlError::conflict(error, "ask for the replay again when it runs")
}

/// A store that does not do what is asked of it.
pub(super) fn failed(why: &str) -> ControlError {
    ControlError::failed(
        format!("dead letters cannot be read or changed: {why}"),
        "look at the data directory, then try again",
    )
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
