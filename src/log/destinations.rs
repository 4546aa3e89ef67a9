//! Who reads the log and how far each has come: cursors, the list of destinations that the log has served, and from
//! both what may be given back to the disk (rules 8, 9 and 14). `left_behind` has what becomes of those that nothing is
//! kept for.
//!
//! A cursor never moves back, and counts only once it is durable. What is certain is kept; when in doubt a destination
//! restarts at the oldest position, never at the newest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use plugin_api::identity::Position;
use tokio::sync::watch;

use super::{
    catalogue::{Catalogue, Durable},
    cursor,
    directory::{Directory, at, halted},
    gaps,
    interface::{Backlog, BacklogLimit, From, Gap, LogError, Progress, Subscription, WhenFull},
    sections::FormatError,
    served,
};
use crate::runtime::Clock;

/// The destinations of an open log.
pub(super) struct Destinations {
    pub(super) directory: Arc<Directory>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) durable: watch::Receiver<Durable>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reach: Reach,
    state: Mutex<State>,
    /// One gives segments back at a time, so that they go oldest first and each after its gaps are recorded.
    pub(super) reclaiming: Mutex<()>,
    /// That it fails has been told.
    pub(super) cannot_give_back: AtomicBool,
}

/// The log bytes at which a destination is behind by as much as it may be; `u64::MAX` if none can be.
#[derive(Debug)]
pub(super) struct Reach {
    refuse_at: AtomicU64,
    detach_at: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    /// Everyone whom this log has served.
    pub(super) listed: BTreeSet<String>,
    pub(super) configured: BTreeMap<String, BacklogLimit>,
    /// Configured but not subscribed yet: as long as there are any, nothing goes.
    pub(super) expected: BTreeSet<String>,
    pub(super) subscribed: BTreeMap<String, Arc<Cursor>>,
    /// Those of the listed that hold nothing back: detached, or not configured.
    pub(super) left_behind: BTreeSet<String>,
}

/// Guards a cursor's file. Its lock is apart from the offset, so that nobody waits for a neighbour's sync.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) writing: Mutex<()>,
    /// The offset that is durable.
    pub(super) persisted: AtomicU64,
    limit: Mutex<BacklogLimit>,
    pub(super) detached: watch::Sender<bool>,
}

impl Destinations {
    /// Reads the list and checks that no cursor lies beyond the log's end (rule 14). Returns what an operator must
    /// know beside it.
    pub(super) fn open(
        directory: Arc<Directory>,
        catalogue: Arc<Catalogue>,
        durable: watch::Receiver<Durable>,
        clock: Arc<dyn Clock>,
        configured: BTreeMap<String, BacklogLimit>,
    ) -> Result<(Self, Vec<String>), LogError> {
        let mut alerts = Vec::new();
        let listed = match served::read(&directory)? {
            Ok(listed) => listed,
            Err(what) => {
                let path = directory.destinations();
                let counted = "every configured destination, and each that has a cursor, counts as served";
                alerts.push(format!("{}: {what}; {counted}", path.display()));
                let mut listed = served::with_cursor(&directory)?;
                listed.extend(configured.keys().cloned());
                served::write(&directory, &listed)?;
                listed
            }
        };
        let expected = configured.keys().cloned().collect();
        let (subscribed, left_behind) = (BTreeMap::new(), BTreeSet::new());
        let state = Mutex::new(State { listed, configured, expected, subscribed, left_behind });
        let (reach, reclaiming) = (Reach::unlimited(), Mutex::default());
        let cannot_give_back = AtomicBool::default();
        let destinations =
            Self { directory, catalogue, durable, clock, reach, state, reclaiming, cannot_give_back };
        let mut state = destinations.state();
        for destination in state.listed.clone() {
            let progress = destinations.read_cursor(&destination)?.ok();
            if let Some(progress) = &progress {
                destinations.check_end(&destination, progress)?;
            }
            // Of those that are not configured, too: nothing could be given back without them.
            let gaps = destinations.read_gaps(&destination)?;
            if !state.configured.contains_key(&destination) {
                alerts.extend(progress.and_then(|progress| destinations.missing(&destination, &progress)));
                state.left_behind.insert(destination);
            } else if gaps::is_detached(&gaps) {
                state.left_behind.insert(destination);
            }
        }
        drop(state);
        Ok((destinations, alerts))
    }

    /// See [`super::interface::Log::subscribe`].
    pub(super) fn subscribe(&self, destination: &str, from: From) -> Result<Subscription, LogError> {
        // Nothing goes while the destination finds out where the log begins.
        let nothing_goes = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let limit = state.configured.get(destination).copied().unwrap_or(BacklogLimit::UNLIMITED);
        let known = state.subscribed.get(destination).cloned();
        let cursor = known.unwrap_or_else(|| Arc::new(Cursor::new(limit)));
        let writing = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Position { partition: 0, offset: self.catalogue.hold_all() };
        let mut gaps = self.read_gaps(destination)?;
        let (progress, alert) = if gaps::is_detached(&gaps) {
            cursor.detached.send_replace(true);
            self.find_detached(destination, &gaps)?
        } else {
            let (progress, alert) = self.find(&state, destination, from, start, &mut gaps)?;
            self.ensure_cursor(destination, &progress)?;
            // It may have been let go on though that could not be made durable.
            cursor.detached.send_replace(false);
            state.left_behind.remove(destination);
            (progress, alert)
        };
        // The list comes last: a crash before it leaves a destination that was never served.
        if !state.listed.contains(destination) {
            let mut listed = state.listed.clone();
            listed.insert(destination.to_owned());
            served::write(&self.directory, &listed)?;
            state.listed = listed;
        }
        cursor.persisted.store(progress.next.offset, Ordering::Release);
        drop(writing);
        let detached = cursor.detached.subscribe();
        state.expected.remove(destination);
        state.subscribed.insert(destination.to_owned(), cursor);
        self.release(&state);
        drop(state);
        drop(nothing_goes);
        self.give_back_if_possible();
        Ok(Subscription { progress, alert, detached })
    }

    /// See [`super::interface::Log::commit`]. A cursor behind the persisted one is out of date and left alone, and so
    /// is that of a detached destination.
    pub(super) fn commit(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        self.check_end(destination, progress)?;
        let path = self.cursor_path(destination);
        cursor::check(progress).map_err(|what| halted(&path, what))?;
        let Some(cursor) = self.state().subscribed.get(destination).cloned() else {
            return Err(halted(&path, "this destination has not subscribed"));
        };
        let writing = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.is_detached() || progress.next.offset < cursor.persisted() {
            return Ok(());
        }
        self.write_cursor(destination, progress)?;
        cursor.persisted.store(progress.next.offset, Ordering::Release);
        drop(writing);
        self.release(&self.state());
        self.give_back_if_possible();
        Ok(())
    }

    /// How far each is behind.
    pub(super) fn backlogs(&self) -> Vec<Backlog> {
        let durable = *self.durable.borrow();
        let end = self.catalogue.byte_of(durable.end, &durable);
        let state = self.state();
        let backlog = |(name, cursor): (&String, &Arc<Cursor>)| Backlog {
            destination: name.clone(),
            bytes: end.saturating_sub(self.catalogue.byte_of(cursor.persisted(), &durable)),
            limit: cursor.limit(),
            detached: cursor.is_detached(),
        };
        state.subscribed.iter().map(backlog).collect()
    }

    /// Where a destination goes on, and what an operator must know.
    fn find(
        &self,
        state: &State,
        destination: &str,
        from: From,
        start: Position,
        gaps: &mut Vec<Gap>,
    ) -> Result<(Progress, Option<String>), LogError> {
        if !state.listed.contains(destination) {
            let next = match from {
                From::Now => Position { partition: 0, offset: self.durable.borrow().end },
                From::Oldest => start,
                From::At(position) => {
                    let end = Position { partition: 0, offset: self.durable.borrow().end };
                    position.clamp(start, end)
                }
            };
            return Ok((Progress { next, ..Progress::default() }, None));
        }
        let progress = match self.read_cursor(destination)? {
            Ok(progress) => progress,
            Err(what) => {
                let path = self.cursor_path(destination);
                let alert = format!("{}: {what}; going on at the oldest position, {start}", path.display());
                let progress = Progress { next: start, ..Progress::default() };
                self.close_gap(destination, &progress, start, gaps)?;
                return Ok((progress, Some(alert)));
            }
        };
        self.check_end(destination, &progress)?;
        let before = (progress.next, progress.totals.gap);
        let progress = gaps::pass(progress, gaps);
        // What a gap has counted stays counted, though a crash may have kept it in the log.
        let counted = gaps::open_gap(gaps).map_or(start, |gap| gap.to);
        let passed = progress.next.max(start).max(counted);
        self.close_gap(destination, &progress, passed, gaps)?;
        let progress = gaps::skip_to(progress, passed);
        if progress.next == before.0 {
            return Ok((progress, None));
        }
        let missed = progress.totals.gap - before.1;
        let alert = format!("the log begins at {start}: records from {} on are a gap of {missed}", before.0);
        Ok((progress, Some(alert)))
    }

    /// Reads a cursor; the inner error says why it cannot be used.
    pub(super) fn read_cursor(&self, destination: &str) -> Result<Result<Progress, String>, LogError> {
        let path = self.cursor_path(destination);
        let Some(bytes) = self.directory.files.read_small(&path).map_err(at(&path))? else {
            return Ok(Err("the cursor is missing".to_owned()));
        };
        match cursor::decode(self.directory.log_id, destination, &bytes) {
            Ok(progress) => Ok(Ok(progress)),
            Err(FormatError::Broken(what)) => Ok(Err(what)),
            Err(FormatError::Unusable(what)) => Err(halted(&path, what)),
        }
    }

    pub(super) fn write_cursor(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        let bytes = cursor::encode(self.directory.log_id, destination, progress);
        self.directory.replace(&self.cursor_path(destination), &bytes)
    }

    /// Writes a cursor unless it is there already: a start on a full disk must not need space. Once the log is
    /// poisoned it is not certain that what is there is durable.
    fn ensure_cursor(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        let is_durable = self.directory.poisoned().is_none();
        if is_durable && self.read_cursor(destination)?.is_ok_and(|found| found == *progress) {
            return Ok(());
        }
        self.write_cursor(destination, progress)
    }

    pub(super) fn cursor_path(&self, destination: &str) -> PathBuf {
        self.directory.cursors().join(cursor::file_name(destination))
    }

    /// What an operator must know of a destination that is not configured any more: it holds nothing back (rule 9).
    fn missing(&self, destination: &str, progress: &Progress) -> Option<String> {
        let end = self.durable.borrow().end;
        let missing = end.saturating_sub(progress.next.offset);
        (missing > 0).then(|| {
            format!(
                "destination {destination:?} is not configured any more and has not received up to {missing} records: \
                 they are given up as others pass them. If it was renamed, stop the agent now and name it as before"
            )
        })
    }

    /// Rule 14.
    fn check_end(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        let end = self.durable.borrow().end;
        let reached = progress.completed.last().map_or(progress.next.offset, |(_, to)| *to);
        if progress.next.partition == 0 && reached <= end {
            return Ok(());
        }
        let next = Position { offset: reached, ..progress.next };
        let what = format!(
            "destination {destination:?} has received up to {next}, but the log ends at 0:{end}: acknowledged data \
             is gone. Restore the log's directory, or accept the loss by removing this file; the destination then \
             goes on at the oldest position"
        );
        Err(halted(&self.cursor_path(destination), what))
    }

    /// Lets go what lies below everyone who is subscribed and not left behind, once all who are configured are, and
    /// sets how far the log may grow.
    pub(super) fn release(&self, state: &State) {
        let attached = || state.subscribed.values().filter(|cursor| !cursor.is_detached());
        if state.expected.is_empty() && !state.subscribed.is_empty() {
            self.catalogue.release(attached().map(|cursor| cursor.persisted()).min().unwrap_or(u64::MAX));
        }
        let durable = *self.durable.borrow();
        let reach = |when_full| {
            let limited = attached().filter(|cursor| cursor.limit().when_full == when_full);
            let limit = |cursor: &Arc<Cursor>| {
                let from = self.catalogue.byte_of(cursor.persisted(), &durable);
                from.saturating_add(cursor.limit().bytes_max)
            };
            limited.map(limit).min().unwrap_or(u64::MAX)
        };
        self.reach.refuse_at.store(reach(WhenFull::Refuse), Ordering::Release);
        self.reach.detach_at.store(reach(WhenFull::Detach), Ordering::Release);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reach {
    fn unlimited() -> Self {
        Self { refuse_at: AtomicU64::new(u64::MAX), detach_at: AtomicU64::new(u64::MAX) }
    }

    /// Whether appends are to be refused at this log byte.
    pub(super) fn refuses(&self, byte: u64) -> bool {
        byte >= self.refuse_at.load(Ordering::Acquire)
    }

    /// Whether a destination is to be left behind at this log byte.
    pub(super) fn detaches(&self, byte: u64) -> bool {
        byte >= self.detach_at.load(Ordering::Acquire)
    }
}

impl Cursor {
    fn new(limit: BacklogLimit) -> Self {
        let detached = watch::Sender::new(false);
        Self {
            writing: Mutex::default(),
            persisted: AtomicU64::default(),
            limit: Mutex::new(limit),
            detached,
        }
    }

    pub(super) fn persisted(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    pub(super) fn limit(&self) -> BacklogLimit {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limit(&self, limit: BacklogLimit) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    pub(super) fn is_detached(&self) -> bool {
        *self.detached.borrow()
    }
}

impl fmt::Debug for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destinations").field("state", &self.state).finish_non_exhaustive()
    }
}
