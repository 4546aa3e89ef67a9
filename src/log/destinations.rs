//! Who reads the log and how far each has come: cursors, the list of destinations that the log has served, and from
//! both what may be given back to the disk (rules 8, 9 and 14).
//!
//! A cursor never moves back, and counts only once it is durable. What is certain is kept; when in doubt a destination
//! restarts at the oldest position, never at the newest.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use plugin_api::identity::{LogId, Position};
use tokio::sync::watch;

use super::{
    catalogue::{Catalogue, Durable},
    cursor,
    directory::{Directory, at, halted},
    interface::{From, LogError, Progress, Subscription, Totals},
    sections::{self, FormatError, MUST_UNDERSTAND},
    small_file::{self, Kind},
};

const TAG_DESTINATION: u16 = 1 | MUST_UNDERSTAND;

/// The destinations of an open log.
#[derive(Debug)]
pub(super) struct Destinations {
    directory: Arc<Directory>,
    catalogue: Arc<Catalogue>,
    durable: watch::Receiver<Durable>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Everyone whom this log has served.
    listed: BTreeSet<String>,
    /// Configured but not subscribed yet: as long as there are any, nothing goes.
    expected: BTreeSet<String>,
    subscribed: HashMap<String, Arc<Cursor>>,
}

/// Guards a cursor's file. Its lock is apart from the offset, so that nobody waits for a neighbour's sync.
#[derive(Debug, Default)]
struct Cursor {
    writing: Mutex<()>,
    /// The offset that is durable.
    persisted: AtomicU64,
}

impl Destinations {
    /// Reads the list and checks that no cursor lies beyond the log's end (rule 14). Returns what an operator must
    /// know beside it.
    pub(super) fn open(
        directory: Arc<Directory>,
        catalogue: Arc<Catalogue>,
        durable: watch::Receiver<Durable>,
        configured: Vec<String>,
    ) -> Result<(Self, Vec<String>), LogError> {
        let mut alerts = Vec::new();
        let listed = match read_list(&directory)? {
            Ok(listed) => listed,
            Err(what) => {
                let path = directory.destinations();
                let counted = "every configured destination, and each that has a cursor, counts as served";
                alerts.push(format!("{}: {what}; {counted}", path.display()));
                let mut listed = with_cursor(&directory)?;
                listed.extend(configured.iter().cloned());
                write_list(&directory, &listed)?;
                listed
            }
        };
        let state = State { listed, expected: configured.into_iter().collect(), subscribed: HashMap::new() };
        let destinations = Self { directory, catalogue, durable, state: Mutex::new(state) };
        let state = destinations.state();
        for destination in &state.listed {
            if let Ok(progress) = destinations.read_cursor(destination)? {
                destinations.check_end(destination, &progress)?;
                if !state.expected.contains(destination) {
                    alerts.extend(destinations.left_behind(destination, &progress));
                }
            }
        }
        drop(state);
        Ok((destinations, alerts))
    }

    /// See [`super::interface::Log::subscribe`].
    pub(super) fn subscribe(&self, destination: &str, from: From) -> Result<Subscription, LogError> {
        let mut state = self.state();
        let cursor = state.subscribed.get(destination).cloned().unwrap_or_default();
        let writing = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Position { partition: 0, offset: self.catalogue.hold_all() };
        let subscription = self.find(&state, destination, from, start)?;
        self.write_cursor(destination, &subscription.progress)?;
        // The list comes last: a crash before it leaves a destination that was never served.
        if state.listed.insert(destination.to_owned()) {
            write_list(&self.directory, &state.listed)?;
        }
        cursor.persisted.store(subscription.progress.next.offset, Ordering::Release);
        drop(writing);
        state.expected.remove(destination);
        state.subscribed.insert(destination.to_owned(), cursor);
        self.release(&state);
        drop(state);
        self.reclaim()?;
        Ok(subscription)
    }

    /// See [`super::interface::Log::commit`]. A cursor behind the persisted one is out of date and left alone.
    pub(super) fn commit(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        self.check_end(destination, progress)?;
        let path = self.cursor_path(destination);
        cursor::check(progress).map_err(|what| halted(&path, what))?;
        let Some(cursor) = self.state().subscribed.get(destination).cloned() else {
            return Err(halted(&path, "this destination has not subscribed"));
        };
        let writing = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.next.offset < cursor.persisted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write_cursor(destination, progress)?;
        cursor.persisted.store(progress.next.offset, Ordering::Release);
        drop(writing);
        self.release(&self.state());
        self.reclaim()
    }

    fn find(
        &self,
        state: &State,
        destination: &str,
        from: From,
        start: Position,
    ) -> Result<Subscription, LogError> {
        if !state.listed.contains(destination) {
            let next = match from {
                From::Now => Position { partition: 0, offset: self.durable.borrow().end },
                From::Oldest => start,
            };
            return Ok(Subscription { progress: Progress { next, ..Progress::default() }, alert: None });
        }
        let progress = match self.read_cursor(destination)? {
            Ok(progress) => progress,
            Err(what) => {
                let path = self.cursor_path(destination);
                let alert = format!("{}: {what}; going on at the oldest position, {start}", path.display());
                let progress = Progress { next: start, ..Progress::default() };
                return Ok(Subscription { progress, alert: Some(alert) });
            }
        };
        self.check_end(destination, &progress)?;
        Ok(if progress.next < start {
            skip_gap(progress, start)
        } else {
            Subscription { progress, alert: None }
        })
    }

    /// Reads a cursor; the inner error says why it cannot be used.
    fn read_cursor(&self, destination: &str) -> Result<Result<Progress, String>, LogError> {
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

    fn write_cursor(&self, destination: &str, progress: &Progress) -> Result<(), LogError> {
        let bytes = cursor::encode(self.directory.log_id, destination, progress);
        self.directory.replace(&self.cursor_path(destination), &bytes)
    }

    fn cursor_path(&self, destination: &str) -> PathBuf {
        self.directory.cursors().join(cursor::file_name(destination))
    }

    /// What an operator must know of a destination that is not configured any more: it holds nothing back (rule 9).
    fn left_behind(&self, destination: &str, progress: &Progress) -> Option<String> {
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

    /// Lets go what lies below everyone who is subscribed, once all who are configured are.
    fn release(&self, state: &State) {
        let lowest = state.subscribed.values().map(|cursor| cursor.persisted.load(Ordering::Acquire)).min();
        if let (Some(lowest), true) = (lowest, state.expected.is_empty()) {
            self.catalogue.release(lowest);
        }
    }

    fn reclaim(&self) -> Result<(), LogError> {
        self.catalogue.reclaim().map_err(|source| {
            self.directory.poison(format!("{}: {source}", self.directory.path.display()));
            at(&self.directory.path)(source)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was given back while nobody held it for this destination becomes a gap, and is counted as one.
fn skip_gap(progress: Progress, start: Position) -> Subscription {
    let Progress { next, mut completed, mut totals, .. } = progress;
    let (from, to) = (next.offset, start.offset);
    let settled: u64 = completed.iter().map(|(a, b)| to.min(*b).saturating_sub(*a)).sum();
    totals = Totals { gap: totals.gap + (to - from - settled), ..totals };
    completed.retain(|(_, end)| *end > to);
    let mut next = start;
    if let Some((_, end)) = completed.first().copied().filter(|(begin, _)| *begin <= to) {
        next.offset = end;
        completed.remove(0);
    }
    let alert =
        format!("the log begins at {start}: records from 0:{from} on are a gap of {}", to - from - settled);
    Subscription { progress: Progress { next, completed, totals, ..progress }, alert: Some(alert) }
}

/// Every destination that has a cursor's file, sound or not.
fn with_cursor(directory: &Directory) -> Result<BTreeSet<String>, LogError> {
    let path = directory.cursors();
    let names = directory.files.list_sorted(&path).map_err(at(&path))?;
    Ok(names.iter().filter_map(|name| cursor::destination_of(name.to_str()?)).collect())
}

/// The inner error says why the list cannot be used.
fn read_list(directory: &Directory) -> Result<Result<BTreeSet<String>, String>, LogError> {
    let path = directory.destinations();
    let Some(bytes) = directory.files.read_small(&path).map_err(at(&path))? else {
        return Ok(Err("the list of destinations is missing".to_owned()));
    };
    match decode_list(directory.log_id, &bytes) {
        Ok(listed) => Ok(Ok(listed)),
        Err(FormatError::Broken(what)) => Ok(Err(what)),
        Err(FormatError::Unusable(what)) => Err(halted(&path, what)),
    }
}

/// Reads the list of this log's destinations.
pub(super) fn decode_list(log_id: LogId, bytes: &[u8]) -> Result<BTreeSet<String>, FormatError> {
    let (found_id, body) = small_file::decode(Kind::Destinations, bytes)?;
    if found_id != log_id {
        return Err(FormatError::broken(format!("the list belongs to log {found_id}")));
    }
    let mut listed = BTreeSet::new();
    sections::for_each(body, |tag, value| {
        if tag == TAG_DESTINATION {
            listed.insert(sections::text(value)?);
        }
        Ok(tag == TAG_DESTINATION)
    })?;
    Ok(listed)
}

fn write_list(directory: &Directory, listed: &BTreeSet<String>) -> Result<(), LogError> {
    let bytes = small_file::encode(Kind::Destinations, directory.log_id, |out| {
        for destination in listed {
            sections::put(out, TAG_DESTINATION, destination.as_bytes());
        }
    });
    directory.replace(&directory.destinations(), &bytes)
}
