//! How a lane sends dead letters again, beside what comes from the log, so that nothing newer is ever overwritten.
//!
//! Letters come from the store in portions. From the moment a portion is asked for, whatever is delivered is compared
//! with it, and what was delivered before is marked on disk before it is read: no letter that is stale slips through. One
//! enters the queue only when its position lies before the persisted cursor, so that nothing older will ever be sent
//! again, not even after a crash, and while the queue holds nothing of its objects. Therefore whatever comes of them later
//! is newer and waits behind it, as the queue keeps each object's order: no letter becomes stale between there and its
//! batch.
//!
//! A letter goes only after its outcome. An agent that ends in between sends it again when it is asked to: with the same
//! version, and not at all if something newer was delivered since.

mod current;
mod record;

use std::{future::Future, mem, pin::Pin};

use plugin_api::{
    operation::{Operation, Source},
    verdict::Reason,
};
use tokio::sync::mpsc;

use super::{Lane, Outcome, Rejected, maybe};
use crate::{
    dead_letter::{Chosen, Delivered, OfRecord, Stage, StoreError},
    delivery::{
        letters::Letters,
        replay::{Inbox, Replay, State, Why},
    },
    feed::Feed,
};
use current::Current;
use record::{Becoming, Candidate, Finished};

/// See the module's text.
pub(super) struct Replaying {
    inbox: mpsc::Receiver<Replay>,
    /// Routes and transforms records as the lane's own does now.
    feed: Feed,
    letters: Letters,
    current: Option<Current>,
    /// What the store is asked or told; one thing at a time.
    work: Option<Work>,
}

type Work = Pin<Box<dyn Future<Output = Worked> + Send>>;

/// What the store answered.
pub(super) enum Worked {
    Chosen(Result<Chosen, StoreError>),
    Read(Result<Vec<OfRecord>, StoreError>),
    Noted(Result<u64, StoreError>, Vec<Finished>),
}

/// What happened to a replay.
pub(super) enum Event {
    Asked(Replay),
    Worked(Worked),
    Transformed,
    /// Nobody watches any more.
    Abandoned,
}

/// While a full batch of others is ready, this part of a batch is left to a replay.
const SHARE_UNDER_LOAD: usize = 4;

impl Replaying {
    pub(super) fn new(Inbox(inbox): Inbox, feed: Feed, letters: Letters) -> Self {
        Self { inbox, feed, letters, current: None, work: None }
    }

    /// What happens next to it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        let Some(current) = &mut self.current else {
            return match self.inbox.recv().await {
                Some(replay) => Event::Asked(replay),
                // Nobody will ever ask.
                None => std::future::pending().await,
            };
        };
        let (goes_on, transforms) = (current.goes_on(), current.transforms());
        tokio::select! {
            biased;
            // An end first: nothing more is to be begun then.
            () = current.progress.closed(), if goes_on => Event::Abandoned,
            worked = maybe(self.work.as_mut()) => {
                self.work = None;
                Event::Worked(worked)
            }
            () = current.transforming.ready(), if transforms => Event::Transformed,
        }
    }

    /// Whether an operation is a replay's.
    pub(super) fn owns(&self, source: &Source) -> bool {
        self.current.as_ref().is_some_and(|current| current.owns(source))
    }

    /// An operation has come to its end; false if it is none of a replay's.
    pub(super) fn settle(&mut self, source: &Source, outcome: Outcome) -> bool {
        self.current.as_mut().filter(|current| current.owns(source)).is_some_and(|current| {
            current.settle(source.position, outcome);
            true
        })
    }

    /// Operations of a replay were rejected again.
    pub(super) fn reject(&mut self, rejected: Vec<Rejected>) {
        let letters = self.letters.write(rejected, Stage::Delivery);
        if let Some(current) = &mut self.current {
            letters.into_iter().for_each(|letter| current.reject(letter));
        }
    }

    /// Operations were delivered, a replay's or others'.
    pub(super) fn follow<'a>(&mut self, delivered: impl Iterator<Item = &'a Operation>) {
        if let Some(current) = &mut self.current {
            delivered.for_each(|operation| current.follow(Delivered::from(operation)));
        }
    }

    fn worked(&mut self, worked: Worked) {
        let Some(current) = &mut self.current else { return };
        match worked {
            Worked::Chosen(Ok(chosen)) => current.begin(chosen),
            Worked::Read(Ok(records)) => current.take_in(records, &mut self.feed),
            Worked::Noted(Ok(full), finished) => {
                if full > 0 {
                    tracing::warn!(
                        records = full,
                        "no room for what became of replayed records, their letters stay as they were"
                    );
                }
                current.count(finished);
            }
            Worked::Chosen(Err(error)) | Worked::Read(Err(error)) | Worked::Noted(Err(error), _) => {
                current.end(State::Failed(error.to_string()));
            }
        }
    }

    /// What the store is to be asked or told next; a replay that has come to its end is over.
    fn work_on(&mut self, delivered: &[Delivered]) {
        let Some(current) = self.current.as_mut().filter(|_| self.work.is_none()) else { return };
        let letters = self.letters.clone();
        let finished = mem::take(&mut current.finished);
        if !finished.is_empty() {
            self.work = Some(Box::pin(note(letters, finished)));
        } else if !current.is_idle() {
            // The rest is the destination's or the transforms' to answer.
        } else if current.is_over() {
            current.publish_end();
            self.current = None;
        } else if let Some((filter, log_id, after)) = current.read_on() {
            let delivered = delivered.to_vec();
            self.work = Some(Box::pin(async move {
                Worked::Read(letters.portion(filter, log_id, after, delivered).await)
            }));
        } else {
            let filter = current.request.filter.clone();
            self.work = Some(Box::pin(async move { Worked::Chosen(letters.choose(filter).await) }));
        }
    }

    /// Takes note of what is finished and ends: the lane does, too.
    pub(super) async fn close(&mut self) {
        if let Some(current) = &mut self.current {
            current.end(State::Interrupted);
        }
        if let Some(work) = self.work.take() {
            let worked = work.await;
            self.worked(worked);
        }
        let finished =
            self.current.as_mut().map(|current| mem::take(&mut current.finished)).unwrap_or_default();
        if !finished.is_empty() {
            let worked = note(self.letters.clone(), finished).await;
            self.worked(worked);
        }
        if let Some(mut current) = self.current.take() {
            current.publish_end();
        }
        self.inbox.close();
        while let Ok(Replay { progress, .. }) = self.inbox.try_recv() {
            progress.send_modify(|progress| progress.state = State::Interrupted);
        }
    }
}

async fn note(letters: Letters, finished: Vec<Finished>) -> Worked {
    let records = finished.iter().map(|finished| finished.record.clone()).collect();
    Worked::Noted(letters.replayed(records).await, finished)
}

impl Lane {
    /// Takes note of what happened to a replay.
    pub(super) fn replay(&mut self, event: Event) {
        match event {
            Event::Asked(replay) => {
                let (destination, Replay { request, .. }) = (&self.settings.name, &replay);
                let (force, dry_run) = (request.force, request.dry_run);
                tracing::info!(%destination, force, dry_run, "dead letters are replayed");
                if force && !dry_run && !self.destination.capabilities().versioned {
                    tracing::warn!(%destination, "a forced replay overwrites what is newer at a destination without versions");
                }
                self.replaying.current = Some(Current::new(replay));
            }
            Event::Worked(worked) => self.replaying.worked(worked),
            Event::Transformed => {}
            Event::Abandoned => {
                if let Some(current) = &mut self.replaying.current {
                    current.end(State::Interrupted);
                }
            }
        }
    }

    /// Brings a replay on as far as that goes now.
    pub(super) fn replay_on(&mut self) {
        if let Some(current) = &mut self.replaying.current {
            current.expand();
            self.enter_again();
        }
        self.replaying.work_on(&self.delivered);
    }

    /// Puts letters' operations into the queue, as many as may be there.
    fn enter_again(&mut self) {
        let operations_max = self.bounds.operations_max;
        let under_load = self.queue.fills(self.bounds, 1);
        let share = if under_load { (operations_max / SHARE_UNDER_LOAD).max(1) } else { operations_max };
        let waits = |current: &mut Current| !current.candidates.is_empty() && current.outstanding < share;
        // It is back at the end.
        let Some(mut current) = self.replaying.current.take_if(waits) else { return };
        let candidates = mem::take(&mut current.candidates);
        let waiting = current.those_of(self.queue.ready_keys());
        for candidate in candidates {
            if current.leaves(&candidate) {
                current.leave(&candidate.letters, &Why::Stale);
                continue;
            }
            let is_passed = candidate.log_id() != self.log.id() || candidate.position() < self.persisted;
            let is_free = candidate.keys().all(|key| !waiting.contains(key) && !self.queue.is_busy(key));
            if current.outstanding >= share || !is_passed || !is_free || candidate.is_held() {
                current.candidates.push_back(candidate);
                continue;
            }
            let Candidate { letters, becoming, .. } = candidate;
            let (operations, failed) = match becoming {
                Becoming::Held => continue,
                Becoming::Operations(operations) => (operations, None),
                Becoming::Failed(failed) => (Vec::new(), Some(*failed)),
            };
            let (admitted, refused) = self.admit_again(operations);
            let mut rejected = self.letters.write(refused, Stage::Admit);
            rejected
                .extend(self.letters.write(failed.map(never_sent).into_iter().collect(), Stage::Transform));
            current.enter(letters, admitted.len(), rejected);
            let now = tokio::time::Instant::now();
            admitted.into_iter().for_each(|operation| self.queue.push(operation, now));
        }
        self.replaying.current = Some(current);
    }

    fn admit_again(&self, operations: Vec<Operation>) -> (Vec<Operation>, Vec<Rejected>) {
        let (mut admitted, mut refused) = (Vec::with_capacity(operations.len()), Vec::new());
        for operation in operations {
            match self.destination.admit(&operation) {
                Ok(()) => admitted.push(operation),
                Err(reason) => refused.push(never_sent((operation, reason))),
            }
        }
        (admitted, refused)
    }
}

fn never_sent((operation, reason): (Operation, Reason)) -> Rejected {
    Rejected { operation, reason, attempts: 0 }
}
