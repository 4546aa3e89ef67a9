//! What becomes of destinations that nothing is kept for: those that fell too far behind and may be left behind
//! (`on_backlog_full = "detach"`), and those that are not configured any more.
//!
//! Before a segment goes, what they miss of it is counted by index and durable in their gaps. A detached destination's
//! cursor is frozen, so that nothing counts twice; it goes on only when an operator says where.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use plugin_api::identity::Position;

use super::{
    catalogue::Reclaim,
    census, cursor,
    destinations::{Cursor, Destinations, State},
    directory::{at, halted},
    gaps,
    gone::Gone,
    interface::{AppendError, From, Gap, GapCause, LogError, Progress, WhenFull},
    sections::FormatError,
    segment::Segment,
    writer::RETRY_AFTER,
};

impl Destinations {
    /// Leaves those behind that may be, and are behind by as much as they may be when the log ends at this log byte.
    pub(super) fn detach_beyond(&self, end: u64) -> Result<(), LogError> {
        let durable = *self.durable.borrow();
        let is_full = |cursor: &Cursor| {
            let from = self.catalogue.byte_of(cursor.persisted(), &durable);
            from.saturating_add(cursor.limit().bytes_max) <= end
        };
        let mut state = self.state();
        self.detach(&mut state, |cursor| is_full(cursor))
    }

    /// Leaves those behind that hold the log's oldest segment, if all of them may be; whether there were any.
    pub(super) fn detach_oldest(&self) -> Result<bool, LogError> {
        let start = self.catalogue.start();
        let Some(end) = self.catalogue.find(start).ok().flatten().and_then(|oldest| oldest.end()) else {
            return Ok(false);
        };
        let mut state = self.state();
        let holds = |cursor: &Cursor| !cursor.is_detached() && cursor.persisted() < end;
        let mut holders = state.subscribed.values().filter(|cursor| holds(cursor)).peekable();
        let any = holders.peek().is_some() && state.expected.is_empty();
        if !any || holders.any(|cursor| cursor.limit().when_full == WhenFull::Refuse) {
            return Ok(false);
        }
        self.detach(&mut state, holds)?;
        Ok(true)
    }

    /// Why an append that would end at this log byte is refused.
    pub(super) fn backlog_full(&self, end: u64) -> AppendError {
        let durable = *self.durable.borrow();
        let state = self.state();
        let backlog_of =
            |cursor: &Cursor| end.saturating_sub(self.catalogue.byte_of(cursor.persisted(), &durable));
        let refusing = state.subscribed.iter().filter(|(_, cursor)| {
            cursor.limit().when_full == WhenFull::Refuse && backlog_of(cursor) >= cursor.limit().bytes_max
        });
        let furthest = refusing.max_by_key(|(_, cursor)| backlog_of(cursor) - cursor.limit().bytes_max);
        match furthest {
            Some((name, cursor)) => AppendError::BacklogFull {
                destination: name.clone(),
                backlog: backlog_of(cursor),
                limit: cursor.limit().bytes_max,
                retry_after: RETRY_AFTER,
            },
            // It has caught up just now.
            None => AppendError::NoSpace { retry_after: RETRY_AFTER },
        }
    }

    /// Gives back what retention does not keep any longer.
    pub(super) fn give_back(&self) -> Result<(), LogError> {
        while let Some(gone) = self.remove_due(Reclaim::Expired(self.clock.now()))? {
            // Nobody waits for a lock meanwhile.
            gone.into_iter().for_each(Gone::give_back);
        }
        Ok(())
    }

    /// The same, after something else has succeeded: if this fails, that has not.
    pub(super) fn give_back_if_possible(&self) {
        match self.give_back() {
            Ok(()) => self.cannot_give_back.store(false, Ordering::Relaxed),
            // Once: it is tried again and again.
            Err(error) if !self.cannot_give_back.swap(true, Ordering::Relaxed) => {
                tracing::error!(%error, "what every destination has received cannot be given back to the disk");
            }
            Err(_) => {}
        }
    }

    /// Gives so many bytes of what was delivered back to the disk, if there are so many. Whoever needs them waits for all
    /// of them: steps would be of no use.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), LogError> {
        self.remove_due(Reclaim::Pressure(bytes)).map(drop)
    }

    /// Removes segments that are due, each after what left-behind destinations miss of it is recorded; `None` if there
    /// are none. Nothing goes once the log is poisoned: behind a removal that failed, another one would leave a hole.
    fn remove_due(&self, reclaim: Reclaim) -> Result<Option<Vec<Gone>>, LogError> {
        let _one_at_a_time = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        if self.directory.poisoned().is_some() {
            return Ok(None);
        }
        // First what is due, then who is left behind: whoever is detached in between holds what is due no longer
        // than it did before.
        let due = self.catalogue.due(reclaim);
        if due.is_empty() {
            return Ok(None);
        }
        let left_behind = self.state().left_behind.clone();
        for destination in left_behind {
            self.record_gap(&destination, &due)?;
        }
        let gone = match reclaim {
            Reclaim::Expired(_) => {
                due.iter().filter_map(|segment| Gone::open(&*self.directory.files, segment)).collect()
            }
            Reclaim::Pressure(_) => Vec::new(),
        };
        self.catalogue.remove(&due).map_err(|source| {
            self.directory.poison(format!("{}: {source}", self.directory.path.display()));
            at(&self.directory.path)(source)
        })?;
        Ok(Some(gone))
    }

    /// See [`super::interface::Log::resume`].
    pub(super) fn resume(&self, destination: &str, from: From) -> Result<Gap, LogError> {
        let _nothing_goes = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let mut gaps = self.read_gaps(destination)?;
        let not_detached = || LogError::NotDetached { destination: destination.to_owned() };
        if !gaps::is_detached(&gaps) {
            return Err(not_detached());
        }
        let (progress, _) = self.find_detached(destination, &gaps)?;
        let start = self.catalogue.start();
        let gap = gaps::open_gap(&mut gaps).ok_or_else(not_detached)?;
        let to = match from {
            // What the gap has counted stays counted, though a crash may have kept it in the log.
            From::Oldest => start.max(progress.next.offset).max(gap.to.offset),
            From::Now => self.durable.borrow().end,
            From::At(position) => {
                let least = start.max(progress.next.offset).max(gap.to.offset);
                position.offset.clamp(least, self.durable.borrow().end.max(least))
            }
        };
        self.extend(gap, &progress, &self.catalogue.range(gap.to.offset.max(start), to), to)?;
        gap.to.offset = to;
        gap.closed_at = Some(self.clock.now());
        let closed = gap.clone();
        // The gap first: a destination whose gap is closed goes on at its end, whatever becomes of its cursor.
        self.write_gaps(destination, &gaps)?;
        if state.configured.contains_key(destination) {
            state.left_behind.remove(destination);
        }
        if state.subscribed.remove(destination).is_some() && state.configured.contains_key(destination) {
            // Nothing goes before it has subscribed again.
            state.expected.insert(destination.to_owned());
            self.catalogue.hold_all();
        }
        self.write_cursor(destination, &gaps::skip_to(progress, Position { partition: 0, offset: to }))?;
        Ok(closed)
    }

    /// Where a detached destination stopped, and what an operator must know of it.
    pub(super) fn find_detached(
        &self,
        destination: &str,
        gaps: &[Gap],
    ) -> Result<(Progress, Option<String>), LogError> {
        let (from, missed) = gaps.last().map_or_else(Default::default, |gap| (gap.from, gap.records));
        let progress = match self.read_cursor(destination)? {
            Ok(progress) => progress,
            Err(_) => Progress { next: from, ..Progress::default() },
        };
        let alert = format!(
            "destination {destination:?} is detached since it fell too far behind, at {from}; {missed} records that \
             it has not received are gone from the log. Run `sync-agent destination resume {destination}` to let it \
             go on"
        );
        Ok((progress, Some(alert)))
    }

    /// Reads a destination's gaps. A file that cannot be used halts: what it says is told nowhere else.
    pub(super) fn read_gaps(&self, destination: &str) -> Result<Vec<Gap>, LogError> {
        let path = self.gaps_path(destination);
        let Some(bytes) = self.directory.files.read_small(&path).map_err(at(&path))? else {
            return Ok(Vec::new());
        };
        gaps::decode(self.directory.log_id, destination, &bytes).map_err(|error| match error {
            FormatError::Broken(what) => halted(
                &path,
                format!(
                    "{what}: restore it from a copy, or accept that the record of what {destination:?} has missed is \
                     lost by removing this file"
                ),
            ),
            FormatError::Unusable(what) => halted(&path, what),
        })
    }

    pub(super) fn write_gaps(&self, destination: &str, gaps: &[Gap]) -> Result<(), LogError> {
        let bytes = gaps::encode(self.directory.log_id, destination, gaps);
        self.directory.replace(&self.gaps_path(destination), &bytes)
    }

    /// Detaches those of the attached that may be, if `who` says so.
    fn detach(&self, state: &mut State, who: impl Fn(&Cursor) -> bool) -> Result<(), LogError> {
        let may_be = |cursor: &Cursor| cursor.limit().when_full == WhenFull::Detach && !cursor.is_detached();
        let chosen: Vec<(String, Arc<Cursor>)> = state
            .subscribed
            .iter()
            .filter(|(_, cursor)| may_be(cursor) && who(cursor))
            .map(|(name, cursor)| (name.clone(), cursor.clone()))
            .collect();
        for (destination, cursor) in chosen {
            let _frozen = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let from = cursor.persisted.load(Ordering::Acquire);
            let mut gaps = self.read_gaps(&destination)?;
            gaps.push(gaps::opened(from, GapCause::BacklogFull, self.clock.now()));
            let recorded = self.write_gaps(&destination, &gaps);
            if recorded.is_ok() || self.directory.poisoned().is_some() {
                // If that failed, the disk may have it all the same: the cursor stays where the gap begins.
                cursor.detached.send_replace(true);
            }
            recorded?;
            tracing::error!(
                destination,
                position = from,
                backlog_bytes_max = cursor.limit().bytes_max,
                "destination is too far behind and is detached: it receives nothing more until `sync-agent destination \
                 resume` lets it go on",
            );
            state.left_behind.insert(destination);
        }
        self.release(state);
        Ok(())
    }

    /// Records what a destination misses of these segments, which are about to go.
    fn record_gap(&self, destination: &str, due: &[Arc<Segment>]) -> Result<(), LogError> {
        let to = due.last().and_then(|last| last.end()).unwrap_or_default();
        // Without a cursor it restarts at the oldest position: there is nothing to compare with.
        let Ok(progress) = self.read_cursor(destination)? else { return Ok(()) };
        let mut gaps = self.read_gaps(destination)?;
        let progress = gaps::pass(progress, &gaps);
        if progress.next.offset >= to {
            return Ok(());
        }
        if gaps::open_gap(&mut gaps).is_none() {
            gaps.push(gaps::opened(progress.next.offset, GapCause::Removed, self.clock.now()));
        }
        let Some(gap) = gaps::open_gap(&mut gaps) else { return Ok(()) };
        self.extend(gap, &progress, due, to)?;
        self.write_gaps(destination, &gaps)
    }

    /// Records what a destination has missed that was not configured, and goes on at `to`.
    pub(super) fn close_gap(
        &self,
        destination: &str,
        progress: &Progress,
        to: Position,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), LogError> {
        let now = self.clock.now();
        if gaps::open_gap(gaps).is_none() {
            if progress.next >= to {
                // The cursor must not be durable first, and of what was read in a poisoned log that is not certain.
                let is_durable = gaps.is_empty() || self.directory.poisoned().is_none();
                return if is_durable { Ok(()) } else { self.write_gaps(destination, gaps) };
            }
            gaps.push(gaps::opened(progress.next.offset, GapCause::Removed, now));
        }
        if let Some(gap) = gaps::open_gap(gaps) {
            // What went without being counted, such as below an older copy of the cursor.
            let uncounted = census::missed(progress, progress.next.offset.max(gap.to.offset), to.offset);
            let uncounted = (uncounted > 0).then(|| ("".into(), uncounted));
            gaps::extend(gap, to.offset, uncounted.into_iter().collect());
            gap.closed_at = Some(now);
        }
        self.write_gaps(destination, gaps)
    }

    /// Counts what of these segments, up to `to`, neither the cursor covers nor the gap has counted.
    pub(super) fn extend(
        &self,
        gap: &mut Gap,
        progress: &Progress,
        segments: &[Arc<Segment>],
        to: u64,
    ) -> Result<(), LogError> {
        for segment in segments {
            let end = segment.end().map_or(to, |end| end.min(to));
            if end <= gap.to.offset {
                continue;
            }
            let next = progress.next.max(gap.to);
            let from = Progress { next, completed: progress.completed.clone(), ..Progress::default() };
            let Self { directory, .. } = self;
            let counts = census::unsettled(&*directory.files, directory.log_id, segment, &from, end)
                .map_err(at(&segment.path))?;
            gaps::extend(gap, end, counts);
        }
        Ok(())
    }

    fn gaps_path(&self, destination: &str) -> std::path::PathBuf {
        self.directory.cursors().join(cursor::gaps_file_name(destination))
    }
}
