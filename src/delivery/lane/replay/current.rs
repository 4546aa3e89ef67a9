//! The replay that a lane carries out: which letters are on their way, and what became of them so far.

use std::{collections::VecDeque, mem};

use plugin_api::{
    identity::{LogId, Position},
    operation::{Key, Source},
};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::watch;

use super::record::{Becoming, Candidate, Finished, list};
use crate::{
    dead_letter::{Chosen, Delivered, Filed, Filter, Letter, OfRecord, Replayed},
    delivery::{
        replay::{Progress, Replay, Request, State, Why},
        tracker::Outcome,
    },
    feed::{Becomes, Expansion, Feed, Transforming},
};

/// See the module's text.
pub(super) struct Current {
    pub(super) request: Request,
    pub(super) progress: watch::Sender<Progress>,
    /// What it is about, once that is known.
    chosen: Option<Filter>,
    /// The logs that it has not been through; the first is the one that it reads.
    logs: VecDeque<LogId>,
    /// The position that it has read up to, there.
    after: Option<Position>,
    /// A portion is being read.
    reading: bool,
    /// What was delivered meanwhile.
    meanwhile: Vec<Delivered>,
    /// The records of the portion that have not entered, in log order.
    pub(super) candidates: VecDeque<Candidate>,
    /// Where the portion's records of an object lie, and the operations of one.
    records: FxHashMap<Key, Vec<Position>>,
    operations: FxHashMap<Key, Vec<Position>>,
    pub(super) transforming: Transforming,
    /// The records that entered and are not settled.
    entered: FxHashMap<Position, Entered>,
    /// Their operations that are not.
    pub(super) outstanding: usize,
    /// What the store has not been told.
    pub(super) finished: Vec<Finished>,
    /// How it ends, if it begins nothing more.
    ending: Option<State>,
}

/// A record that was sent again.
struct Entered {
    letters: Vec<Filed>,
    outstanding: usize,
    /// The gravest of its operations' outcomes, but for those that were rejected.
    outcome: Outcome,
    rejected: Vec<Letter>,
}

impl Current {
    pub(super) fn new(Replay { request, progress }: Replay) -> Self {
        progress.send_modify(|progress| progress.state = State::Running);
        Self {
            request,
            progress,
            chosen: None,
            logs: VecDeque::new(),
            after: None,
            reading: false,
            meanwhile: Vec::new(),
            candidates: VecDeque::new(),
            records: FxHashMap::default(),
            operations: FxHashMap::default(),
            transforming: Transforming::default(),
            entered: FxHashMap::default(),
            outstanding: 0,
            finished: Vec::new(),
            ending: None,
        }
    }

    /// It is known what it is about.
    pub(super) fn begin(&mut self, chosen: Chosen) {
        let Chosen { filter, letters, logs } = chosen;
        self.logs = logs.into();
        self.chosen = Some(filter);
        self.progress.send_modify(|progress| progress.total = letters);
        if self.logs.is_empty() {
            self.end(State::Done);
        }
    }

    /// What is to be read next, which it takes for being read; `None` if it is not yet known what it is about.
    pub(super) fn read_on(&mut self) -> Option<(Filter, LogId, Option<Position>)> {
        let (filter, log_id) = (self.chosen.clone()?, *self.logs.front()?);
        self.reading = true;
        Some((filter, log_id, self.after))
    }

    /// A portion was read; none is left of the log if it is empty.
    pub(super) fn take_in(&mut self, records: Vec<OfRecord>, feed: &mut Feed) {
        self.reading = false;
        let meanwhile = mem::take(&mut self.meanwhile);
        let Some(last) = records.last() else {
            self.logs.pop_front();
            self.after = None;
            if self.logs.is_empty() {
                self.end(State::Done);
            }
            return;
        };
        self.after = Some(last.letters[0].letter.source.position);
        self.records.clear();
        self.operations.clear();
        if self.ending.is_some() {
            return;
        }
        let mut candidates = Vec::with_capacity(records.len());
        for OfRecord { letters, stale } in records {
            let Filed { purged, letter, .. } = &letters[0];
            if *purged {
                self.leave(&letters, &Why::Purged);
            } else if stale && !self.request.force {
                self.leave(&letters, &Why::Stale);
            } else if !feed.receives(&letter.record.key.index) {
                self.leave(&letters, &Why::Unrouted);
            } else if self.request.dry_run {
                self.progress.send_modify(|progress| progress.replayed += letters.len() as u64);
            } else {
                candidates.push(Candidate { letters, becoming: Becoming::Held, stale });
            }
        }
        let block = feed.again(candidates.iter().map(Candidate::again));
        let mut operations = block.operations.into_iter();
        for (candidate, becomes) in candidates.iter_mut().zip(block.records) {
            candidate.becoming = match becomes {
                Becomes::Held => Becoming::Held,
                Becomes::Operation => Becoming::Operations(operations.next().into_iter().collect()),
                Becomes::Nothing => Becoming::Operations(Vec::new()),
            };
        }
        self.transforming.push(block.held);
        for candidate in candidates {
            self.note_keys(&candidate);
            self.candidates.push_back(candidate);
        }
        meanwhile.iter().for_each(|delivered| self.mark(delivered));
    }

    /// Takes what transforms have made.
    pub(super) fn expand(&mut self) {
        while let Some(Expansion { records, operations, failed, .. }) = self.transforming.take(false) {
            let mut operations = operations.into_iter();
            for (position, count) in records {
                let made = operations.by_ref().take(count as usize).collect();
                self.becomes(position, Becoming::Operations(made));
            }
            for (operation, reason) in failed {
                let position = operation.source.position;
                self.becomes(position, Becoming::Failed(Box::new((operation, reason))));
            }
        }
    }

    fn becomes(&mut self, position: Position, becoming: Becoming) {
        let Some(at) = self.find(position) else { return };
        self.candidates[at].becoming = becoming;
        for key in self.candidates[at].made().map(|operation| operation.key.clone()).collect::<Vec<_>>() {
            self.operations.entry(key).or_default().push(position);
        }
    }

    fn note_keys(&mut self, candidate: &Candidate) {
        let position = candidate.position();
        for Filed { letter, .. } in &candidate.letters {
            self.records.entry(letter.record.key.clone()).or_default().push(position);
            if let Some(operation) = &letter.operation {
                self.operations.entry(operation.key.clone()).or_default().push(position);
            }
        }
        for operation in candidate.made() {
            self.operations.entry(operation.key.clone()).or_default().push(position);
        }
    }

    /// An operation was delivered.
    pub(super) fn follow(&mut self, delivered: Delivered) {
        if self.reading {
            self.meanwhile.push(delivered);
        } else if !self.candidates.is_empty() {
            self.mark(&delivered);
        }
    }

    /// Whatever is older of the same objects is stale.
    fn mark(&mut self, Delivered { key, namesake, record, version, .. }: &Delivered) {
        let found = [self.records.get(record), self.records.get(namesake), self.operations.get(key)];
        let places: Vec<usize> =
            found.into_iter().flatten().flatten().filter_map(|position| self.find(*position)).collect();
        for at in places {
            let candidate = &mut self.candidates[at];
            candidate.stale |= candidate.letter().version < *version;
        }
    }

    fn find(&self, position: Position) -> Option<usize> {
        self.candidates.binary_search_by_key(&position, Candidate::position).ok()
    }

    /// Those of these keys that operations of the portion have.
    pub(super) fn those_of<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> FxHashSet<Key> {
        keys.filter(|key| self.operations.contains_key(*key)).cloned().collect()
    }

    /// Whether a candidate is to be left alone, whatever becomes free.
    pub(super) fn leaves(&self, candidate: &Candidate) -> bool {
        candidate.stale && !self.request.force
    }

    /// Letters stay as they are.
    pub(super) fn leave(&self, letters: &[Filed], why: &Why) {
        let count = letters.len() as u64;
        self.progress.send_modify(|progress| {
            match why {
                Why::Stale => progress.stale += count,
                Why::Purged => progress.purged += count,
                Why::Unrouted => progress.unrouted += count,
                Why::Failed(_) => progress.failed += count,
            }
            letters.iter().for_each(|filed| list(progress, filed, why));
        });
    }

    /// A record has entered as so many operations; others of it were rejected before.
    pub(super) fn enter(&mut self, letters: Vec<Filed>, operations: usize, rejected: Vec<Letter>) {
        let position = letters[0].letter.source.position;
        let entered = Entered { letters, outstanding: operations, outcome: Outcome::Skipped, rejected };
        self.outstanding += operations;
        self.entered.insert(position, entered);
        self.finish(position);
    }

    pub(super) fn owns(&self, source: &Source) -> bool {
        self.logs.front() == Some(&source.log_id) && self.entered.contains_key(&source.position)
    }

    pub(super) fn settle(&mut self, position: Position, outcome: Outcome) {
        if let Some(entered) = self.entered.get_mut(&position) {
            entered.outcome = entered.outcome.max(outcome);
            entered.outstanding -= 1;
            self.outstanding -= 1;
            self.finish(position);
        }
    }

    pub(super) fn reject(&mut self, letter: Letter) {
        let position = letter.source.position;
        if let Some(entered) = self.entered.get_mut(&position) {
            entered.rejected.push(letter);
            entered.outstanding -= 1;
            self.outstanding -= 1;
            self.finish(position);
        }
    }

    /// The record is done if all of its operations are.
    fn finish(&mut self, position: Position) {
        if self.entered.get(&position).is_none_or(|entered| entered.outstanding > 0) {
            return;
        }
        let Some(Entered { letters, outcome, mut rejected, .. }) = self.entered.remove(&position) else {
            return;
        };
        for again in &mut rejected {
            let before = letters.iter().find(|filed| filed.letter.source.number == again.source.number);
            again.attempts += before.map_or(0, |filed| filed.letter.attempts);
        }
        let log_id = letters[0].letter.source.log_id;
        self.finished.push(Finished { record: Replayed { log_id, position, rejected }, letters, outcome });
    }

    /// The store knows what became of these.
    pub(super) fn count(&mut self, finished: Vec<Finished>) {
        self.progress.send_modify(|progress| finished.iter().for_each(|finished| finished.count(progress)));
    }

    /// Nothing more is begun; what was sent is seen through.
    pub(super) fn end(&mut self, state: State) {
        if self.ending.is_none() {
            self.candidates.clear();
            self.transforming = Transforming::default();
            self.ending = Some(state);
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether transforms run for it.
    pub(super) fn transforms(&self) -> bool {
        self.candidates.iter().any(Candidate::is_held)
    }

    /// Whether nothing of it is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.candidates.is_empty() && self.entered.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    pub(super) fn publish_end(&mut self) {
        let state = self.ending.take().unwrap_or(State::Interrupted);
        self.progress.send_modify(|progress| progress.state = state);
        let Progress { state, total, replayed, superseded, skipped, stale, failed, .. } =
            &*self.progress.borrow();
        tracing::info!(
            ?state,
            total,
            replayed,
            superseded,
            skipped,
            stale,
            failed,
            "replay of dead letters ended"
        );
    }
}
