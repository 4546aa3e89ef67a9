//! What was seen of the log and the lanes during the last minute, for whatever is told by the second, and, in its steps,
//! during the last hour.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plugin_api::identity::{Position, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    destinations::Destinations,
    history::{History, Seen},
    letters::{Stamp, count, stamp},
    status::state_of,
};
use crate::{
    admin::{self, DeadLetterStatus, TransformStatus},
    dead_letter::store_path,
    log::interface::Log,
    runtime::Stop,
};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long back rates are taken from.
const LATELY: Duration = Duration::from_secs(10);
/// How long back the growth of the log is taken from.
const WINDOW: Duration = Duration::from_secs(60);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    looks: VecDeque<Look>,
    history: History,
    /// When the oldest record of the log was accepted, and where it lies.
    oldest: Option<(Position, Timestamp)>,
    /// By destination: its cursor when it was looked at, and when the record there was accepted.
    waiting: BTreeMap<Arc<str>, (Position, Timestamp)>,
    letters: BTreeMap<Arc<str>, (Stamp, DeadLetterStatus)>,
    transforms: Vec<TransformStatus>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    end: u64,
    /// How far whoever is the furthest behind and holds the log back was behind.
    backlog_bytes: u64,
    settled: BTreeMap<Arc<str>, u64>,
}

impl Rates {
    /// Looks until the stop.
    pub(super) async fn watch(self: Arc<Self>, destinations: Destinations, stop: Stop) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.look(&destinations).await;
        }
    }

    async fn look(&self, destinations: &Destinations) {
        let log = &destinations.shared.log;
        let status = log.status();
        let all = destinations.all();
        let (mut settled, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for (name, destination) in &all {
            let snapshot = destination.snapshot();
            let (state, _) = state_of(name, destination, snapshot.as_ref(), &status);
            let settled_and_pending =
                snapshot.as_ref().map(|of| (of.totals.settled(), of.pending(status.end)));
            seen.insert(name.clone(), Seen { state, settled_and_pending });
            let Some(snapshot) = snapshot else { continue };
            settled.insert(name.clone(), snapshot.totals.settled());
            // A lane that runs knows it better; without one, the cursor stands still and this is read once.
            if snapshot.oldest_pending.is_none() && snapshot.delivered < status.end {
                self.note_waiting(&**log, name, snapshot.delivered).await;
            }
        }
        if self.state().oldest.is_none_or(|(position, _)| position != status.start)
            && status.start < status.end
        {
            let oldest = accepted_at(&**log, status.start).await;
            self.state().oldest = oldest.map(|at| (status.start, at));
        }
        for (name, _) in &all {
            let path = store_path(&destinations.shared.data_dir, name);
            let stamp = stamp(&path);
            if self.state().letters.get(name).is_none_or(|(known, _)| *known != stamp) {
                let counted = count(path).await;
                self.state().letters.insert(name.clone(), (stamp, counted));
            }
        }
        let mut state = self.state();
        state.letters.retain(|name, _| all.iter().any(|(there, _)| there == name));
        state.waiting.retain(|name, _| settled.contains_key(name));
        let at = Instant::now();
        state.history.note(at, destinations.shared.clock.now(), status.end.offset, &seen);
        let holding = status.backlogs.iter().filter(|backlog| !backlog.detached);
        let backlog_bytes = holding.map(|backlog| backlog.bytes).max().unwrap_or(0);
        state.looks.push_back(Look { at, end: status.end.offset, backlog_bytes, settled });
        while state.looks.front().is_some_and(|look| at.duration_since(look.at) > WINDOW) {
            state.looks.pop_front();
        }
    }

    async fn note_waiting(&self, log: &dyn Log, name: &Arc<str>, position: Position) {
        let known = self.state().waiting.get(name).is_some_and(|(known, _)| *known == position);
        if !known && let Some(at) = accepted_at(log, position).await {
            self.state().waiting.insert(name.clone(), (position, at));
        }
    }

    /// The last hour.
    pub(super) fn history(&self) -> admin::History {
        self.state().history.report()
    }

    /// Records accepted each second, lately.
    pub(super) fn accepted(&self) -> f64 {
        self.rate(|look| Some(look.end))
    }

    /// Records that a destination settled each second, lately.
    pub(super) fn settled(&self, name: &str) -> f64 {
        self.rate(|look| look.settled.get(name).copied())
    }

    /// When the log's budget is used up if the furthest behind falls back as it did in the last minute.
    pub(super) fn disk_full_in_seconds(&self, held_bytes: u64, bytes_max: u64) -> Option<u64> {
        full_in_seconds(&self.state().looks, bytes_max.saturating_sub(held_bytes))
    }

    /// The oldest record of the log.
    pub(super) fn oldest(&self) -> Option<(Position, Timestamp)> {
        self.state().oldest
    }

    /// When the record at a destination's cursor was accepted, if it stands still there.
    pub(super) fn waiting_since(&self, name: &str, position: Position) -> Option<Timestamp> {
        self.state().waiting.get(name).filter(|(at, _)| *at == position).map(|(_, since)| *since)
    }

    /// A destination's dead letters.
    pub(super) fn letters(&self, name: &str) -> DeadLetterStatus {
        self.state().letters.get(name).map(|(_, letters)| letters.clone()).unwrap_or_default()
    }

    /// The transforms as they were last seen: while a reload compiles they are not to be had.
    pub(super) fn transforms_seen(&self) -> Vec<TransformStatus> {
        self.state().transforms.clone()
    }

    pub(super) fn saw_transforms(&self, transforms: Vec<TransformStatus>) {
        self.state().transforms = transforms;
    }

    fn rate(&self, count: impl Fn(&Look) -> Option<u64>) -> f64 {
        let state = self.state();
        let Some(last) = state.looks.back() else { return 0.0 };
        let Some(first) = state.looks.iter().find(|look| last.at.duration_since(look.at) <= LATELY) else {
            return 0.0;
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        match (count(first), count(last)) {
            (Some(before), Some(after)) if seconds > 0.0 => after.saturating_sub(before) as f64 / seconds,
            _ => 0.0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room divided by the growth of the backlog. Told by the lowest of some seconds, since a busy destination is always
/// behind by what came between two of its cursors; and by frames rather than by files, which grow by a segment at once.
fn full_in_seconds(looks: &VecDeque<Look>, room: u64) -> Option<u64> {
    let (first, last) = (looks.front()?.at, looks.back()?.at);
    let apart = last.duration_since(first).checked_sub(LATELY).filter(|apart| !apart.is_zero())?;
    let lowest = |from: Instant| {
        let within = looks.iter().filter(|look| look.at >= from && look.at <= from + LATELY);
        within.map(|look| look.backlog_bytes).min()
    };
    let grown = lowest(last - LATELY)?.checked_sub(lowest(first)?).filter(|grown| *grown > 0)?;
    Some((apart.as_secs_f64() * room as f64 / grown as f64) as u64)
}

async fn accepted_at(log: &dyn Log, position: Position) -> Option<Timestamp> {
    let mut reader = log.read_from(position).await.ok()?;
    reader.next().await.ok()?.first().map(|frame| frame.accepted_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look every second, with these backlogs.
    fn looks(backlogs: impl IntoIterator<Item = u64>) -> VecDeque<Look> {
        let start = Instant::now();
        let look = |(second, backlog_bytes)| Look {
            at: start + Duration::from_secs(second),
            end: 0,
            backlog_bytes,
            settled: BTreeMap::new(),
        };
        (0..).zip(backlogs).map(look).collect()
    }

    /// Scenario: a destination is down under load; it keeps up, with a backlog that comes and goes with its cursor; a burst
    /// has just come; it catches up; the agent has just started. Only the first fills the disk.
    #[test]
    fn the_disk_fills_while_somebody_falls_back() {
        const MIB: u64 = 1 << 20;
        assert_eq!(full_in_seconds(&looks((0..=60).map(|second| second * MIB)), 1000 * MIB), Some(1000));
        let busy = (0..=60).map(|second| if second % 3 == 0 { 0 } else { 100 * MIB });
        assert_eq!(full_in_seconds(&looks(busy), 1000 * MIB), None);
        let burst = (0..=60).map(|second| if second == 58 { 100 * MIB } else { 0 });
        assert_eq!(full_in_seconds(&looks(burst), 1000 * MIB), None);
        assert_eq!(full_in_seconds(&looks((0..=60).rev().map(|second| second * MIB)), 1000 * MIB), None);
        assert_eq!(full_in_seconds(&looks([0, MIB, 2 * MIB]), 1000 * MIB), None);
        assert_eq!(full_in_seconds(&looks([]), 1000 * MIB), None);
    }
}
