//! Destinations come, go and are sent elsewhere while the log is open, as its operators want it.
//!
//! Whatever order a crash leaves behind is safe: a cursor is never further than what is recorded beside it, and a
//! destination that is half forgotten counts as one that the log has served.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, atomic::Ordering},
};

use plugin_api::identity::Position;

use super::{
    cursor,
    destinations::Destinations,
    directory::halted,
    gaps,
    interface::{BacklogLimit, From, GapCause, LogError, Progress, Rewound},
    served,
};

impl Destinations {
    /// See [`super::interface::Log::configure`].
    pub(super) fn configure(&self, configured: BTreeMap<String, BacklogLimit>) {
        let nothing_goes = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        for (name, limit) in &configured {
            match state.subscribed.get(name) {
                Some(cursor) => cursor.set_limit(*limit),
                // Nothing goes before it has subscribed.
                None => {
                    state.expected.insert(name.clone());
                    self.catalogue.hold_all();
                }
            }
        }
        state.expected.retain(|name| configured.contains_key(name));
        state.configured = configured;
        self.release(&state);
        drop(state);
        drop(nothing_goes);
        self.give_back_if_possible();
    }

    /// See [`super::interface::Log::leave`].
    pub(super) fn leave(&self, destination: &str) {
        let mut state = self.state();
        if state.subscribed.remove(destination).is_some() {
            state.left_behind.insert(destination.to_owned());
        }
        self.release(&state);
        drop(state);
        self.give_back_if_possible();
    }

    /// See [`super::interface::Log::forget`].
    pub(super) fn forget(&self, destination: &str) -> Result<(), LogError> {
        let _nothing_goes = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if state.configured.contains_key(destination) || state.subscribed.contains_key(destination) {
            return Err(LogError::InUse { destination: destination.to_owned() });
        }
        if !state.listed.contains(destination) {
            return Err(LogError::Unknown { destination: destination.to_owned() });
        }
        // The list comes last: until then it is a destination whose cursor is missing.
        let cursors = self.directory.cursors();
        for name in [cursor::gaps_file_name(destination), cursor::file_name(destination)] {
            self.directory.remove_small(&cursors.join(name))?;
        }
        let mut listed = state.listed.clone();
        listed.remove(destination);
        served::write(&self.directory, &listed)?;
        state.listed = listed;
        state.left_behind.remove(destination);
        Ok(())
    }

    /// See [`super::interface::Log::rewind`]. With `dry_run` only tells.
    pub(super) fn rewind(&self, destination: &str, from: From, dry_run: bool) -> Result<Rewound, LogError> {
        let _nothing_goes = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        let Some(cursor) = state.subscribed.get(destination) else {
            return Err(LogError::Unknown { destination: destination.to_owned() });
        };
        let _frozen = cursor.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.is_detached() {
            return Err(LogError::Detached { destination: destination.to_owned() });
        }
        let path = self.cursor_path(destination);
        let progress = self.read_cursor(destination)?.map_err(|what| halted(&path, what))?;
        let start = Position { partition: 0, offset: self.catalogue.start() };
        let end = Position { partition: 0, offset: self.durable.borrow().end };
        let to = match from {
            From::Now => end,
            From::Oldest => start,
            From::At(position) => position.clamp(start, end),
        };
        let rewound = Rewound { from: progress.next, to };
        if dry_run {
            return Ok(rewound);
        }
        self.catalogue.hold_all();
        let mut gaps = self.read_gaps(destination)?;
        let next = if to < progress.next {
            // What it missed beyond is delivered after all, as far as it is there; counting begins anew.
            for gap in &mut gaps {
                gap.from = gap.from.min(to);
                gap.to = gap.to.min(to);
            }
            gaps.retain(|gap| gap.from < gap.to || gap.closed_at.is_none());
            self.write_gaps(destination, &gaps)?;
            Progress { next: to, ..Progress::default() }
        } else {
            let now = self.clock.now();
            let mut gap = gaps::opened(progress.next.offset, GapCause::Reset, now);
            let segments = self.catalogue.range(progress.next.offset, to.offset);
            self.extend(&mut gap, &progress, &segments, to.offset)?;
            gap.to = to;
            gap.closed_at = Some(now);
            gaps.push(gap);
            self.write_gaps(destination, &gaps)?;
            gaps::skip_to(progress, to)
        };
        self.write_cursor(destination, &next)?;
        cursor.persisted.store(next.next.offset, Ordering::Release);
        self.release(&state);
        Ok(rewound)
    }

    /// See [`super::interface::Log::served`].
    pub(super) fn served(&self) -> Result<Vec<(String, Option<Progress>)>, LogError> {
        let listed = self.state().listed.clone();
        let progress = |name: String| {
            let progress = self.read_cursor(&name)?.ok();
            Ok((name, progress))
        };
        listed.into_iter().map(progress).collect()
    }
}
