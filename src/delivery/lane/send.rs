//! What a lane sends, and what it does with the answers.

use std::{sync::Arc, time::Duration};

use plugin_api::{
    operation::Batch,
    verdict::{Confirmation, Verdict, WriteError},
};
use tokio::time::Instant;

use super::Lane;
use crate::{
    dead_letter::{Delivered, Stage},
    delivery::{
        concurrency::Sent,
        pace::Permit,
        queue::{Group, Wanted},
        settle::{Moment, Settled, settle, verdicts_of},
    },
    runtime::Stop,
};

/// What a destination answered.
pub(super) enum Answer {
    Write {
        group: Group,
        batch: Batch,
        sent: Sent,
        answer: Result<(Vec<Verdict>, Vec<Confirmation>), WriteError>,
    },
    Probe(Result<(), WriteError>),
}

/// A batch of so many operations tells of load,
const LOAD_OPERATIONS: usize = 64;
/// and then a request costs more than it gains by leaving earlier than this.
const MOMENT: Duration = Duration::from_millis(5);

impl Lane {
    /// Sends whatever may be sent now; returns when there may be more to send, if that is known.
    pub(super) fn send_all(&mut self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            if self.queue.is_empty() {
                return None;
            }
            match self.pace.permit(self.requests.len(), now) {
                Permit::Nothing(until) => return until,
                Permit::Probe => {
                    let destination = self.destination.clone();
                    self.requests.spawn(async move { Answer::Probe(destination.probe().await) });
                    return None;
                }
                Permit::Batch => {
                    let (wanted, later) = self.wanted(now);
                    let bounds = self.pace.bound(self.bounds);
                    let Some(group) = self.queue.take(bounds, wanted, now) else {
                        return [later, self.queue.next_due()]
                            .into_iter()
                            .flatten()
                            .filter(|at| *at > now)
                            .min();
                    };
                    self.send(group, now);
                }
            }
        }
    }

    /// What may be sent now; and when what is ready may be, if not now. A batch leaves when it is full or has lingered;
    /// when nothing is in flight it leaves at once or, under load, has only a moment to grow.
    fn wanted(&self, now: Instant) -> (Wanted, Option<Instant>) {
        let alone = self.requests.is_empty();
        let linger = match alone {
            true if self.last_batch < LOAD_OPERATIONS => Duration::ZERO,
            true => self.settings.linger.min(MOMENT),
            false => self.settings.linger,
        };
        let lingers_until = self.queue.ready_since().map(|since| since + linger);
        if let Some(until) = lingers_until.filter(|until| *until > now)
            && !self.queue.fills(self.bounds, 1)
        {
            return (Wanted::Groups, Some(until));
        }
        (if alone { Wanted::AnythingAtAll } else { Wanted::Anything }, None)
    }

    fn send(&mut self, mut group: Group, now: Instant) {
        let batch = Batch::from(std::mem::take(&mut group.operations));
        let count = batch.operations().len();
        let sent = self.pace.sent(self.requests.len(), count, batch.bytes(), now);
        self.in_flight += count;
        self.last_batch = count;
        let destination = self.destination.clone();
        self.requests.spawn(async move {
            let answer = match destination.write(&batch).await {
                Ok(mut written) => {
                    let confirmations = std::mem::take(&mut written.confirmations);
                    verdicts_of(written, count).map(|verdicts| (verdicts, confirmations))
                }
                Err(error) => Err(error),
            };
            Answer::Write { group, batch, sent, answer }
        });
        self.publish();
    }

    pub(super) async fn answered(&mut self, answer: Answer, stop: &Stop) {
        let now = Instant::now();
        match answer {
            Answer::Probe(outcome) => self.pace.probed(outcome, now),
            Answer::Write { group, batch, sent, answer } => {
                self.in_flight -= batch.operations().len();
                let answer = answer.map(|(verdicts, confirmations)| {
                    self.follow(&batch, &verdicts, confirmations, now);
                    verdicts
                });
                let (attempts_max, alone) = (self.settings.attempts_max, self.requests.is_empty());
                let moment = Moment { now, attempts_max, alone, is_watched: self.tap.is_open() };
                let settled = settle(&mut self.queue, group, batch, answer, moment);
                self.apply(settled, sent, now, stop).await;
            }
        }
        self.tell_stuck();
        self.publish();
    }

    async fn apply(&mut self, settled: Settled, sent: Sent, now: Instant, stop: &Stop) {
        self.moved();
        self.tell_settled(settled.watched.iter().map(|(operation, outcome)| (operation, *outcome)));
        for (source, outcome) in settled.outcomes {
            if !self.replaying.settle(&source, outcome) {
                self.tracker.settle(source.position, outcome);
            }
        }
        self.pace.answered(sent, settled.health, now);
        let (again, rejected) = settled
            .rejected
            .into_iter()
            .partition(|rejected| self.replaying.owns(&rejected.operation.source));
        self.replaying.reject(again);
        self.bury(rejected, Stage::Delivery, stop).await;
        self.cross_hole(stop).await;
    }

    /// Takes note of what a request wrote.
    fn follow(
        &mut self,
        batch: &Batch,
        verdicts: &[Verdict],
        confirmations: Vec<Confirmation>,
        now: Instant,
    ) {
        let operations = batch.operations();
        let delivered = operations.iter().zip(verdicts).filter(|(_, verdict)| match verdict {
            Verdict::Written | Verdict::Superseded => true,
            Verdict::Retry(_) | Verdict::Reject(_) => false,
        });
        if !self.refused_indexes.is_empty() {
            // An item of a request may be refused for its index while others are written.
            let written = delivered.clone();
            written.for_each(|(operation, _)| _ = self.refused_indexes.remove(&operation.record_index));
        }
        self.replaying.follow(delivered.clone().map(|(operation, _)| operation));
        let of_letters = delivered.filter(|(operation, _)| self.letters.may_be_of(operation));
        self.delivered.extend(of_letters.map(|(operation, _)| Delivered::from(operation)));
        // What is sent again was passed by the watermark long ago.
        let from_log = operations.iter().filter(|operation| !self.replaying.owns(&operation.source));
        let Some(oldest) = from_log.map(|operation| operation.source.position).min() else {
            return;
        };
        confirmations.into_iter().for_each(|confirmation| self.visibility.wrote(confirmation, oldest, now));
    }

    /// Tells once which index holds everything up, when nothing more may be read before it is written.
    fn tell_stuck(&mut self) {
        let stuck = if self.has_room() { None } else { self.queue.stuck_index().cloned() };
        if let (Some(index), None) = (&stuck, &self.stuck_index) {
            tracing::error!(
                destination = %self.settings.name, %index, error = self.pace.last_error().map_or("", Arc::as_ref),
                "an index cannot be written, and everything behind it waits",
            );
        }
        self.stuck_index = stuck;
    }
}
