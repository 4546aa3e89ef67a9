//! One record of a replay: what it becomes, and what became of it.

use plugin_api::{
    identity::{LogId, Position},
    operation::{Key, Operation},
    verdict::Reason,
};

use crate::{
    dead_letter::{Change, Filed, Letter, Replayed},
    delivery::{
        replay::{Left, Progress, Why},
        tracker::Outcome,
    },
    feed::Again,
};

/// A record that is to be sent again.
pub(super) struct Candidate {
    /// The letters that are about it, at least one.
    pub(super) letters: Vec<Filed>,
    pub(super) becoming: Becoming,
    pub(super) stale: bool,
}

/// What a record becomes now.
pub(super) enum Becoming {
    /// Its transform runs.
    Held,
    Operations(Vec<Operation>),
    /// Its transform failed.
    Failed(Box<(Operation, Reason)>),
}

/// A record whose operations are settled.
pub(in crate::delivery::lane) struct Finished {
    pub(super) record: Replayed,
    pub(super) letters: Vec<Filed>,
    pub(super) outcome: Outcome,
}

impl Candidate {
    pub(super) fn letter(&self) -> &Letter {
        &self.letters[0].letter
    }

    pub(super) fn position(&self) -> Position {
        self.letter().source.position
    }

    pub(super) fn log_id(&self) -> LogId {
        self.letter().source.log_id
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.becoming, Becoming::Held)
    }

    pub(super) fn made(&self) -> impl Iterator<Item = &Operation> {
        let operations: &[Operation] = match &self.becoming {
            Becoming::Operations(operations) => operations,
            Becoming::Held | Becoming::Failed(_) => &[],
        };
        operations.iter()
    }

    /// The objects that it changes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.made().map(|operation| &operation.key)
    }

    /// Its record.
    pub(super) fn again(&self) -> Again {
        let Letter { source, version, record: Change { action, key, body }, .. } = self.letter();
        let (key, body) = (key.clone(), body.clone());
        Again { source: source.clone(), version: *version, action: *action, key, body }
    }
}

impl Finished {
    pub(super) fn count(&self, progress: &mut Progress) {
        let rejected = &self.record.rejected;
        let again = |filed: &&Filed| {
            rejected.iter().find(|letter| letter.source.number == filed.letter.source.number)
        };
        let mut failed: Vec<(&Filed, &Letter)> =
            self.letters.iter().filter_map(|filed| Some((filed, again(&filed)?))).collect();
        if failed.is_empty() {
            // Today's transform makes other operations, and one of those was rejected.
            failed.extend(self.letters.first().zip(rejected.first()));
        }
        let others = (self.letters.len() - failed.len()) as u64;
        match self.outcome {
            Outcome::Written => progress.replayed += others,
            Outcome::Superseded => progress.superseded += others,
            Outcome::Skipped | Outcome::Gap | Outcome::DeadLettered => progress.skipped += others,
        }
        progress.failed += failed.len() as u64;
        for (filed, letter) in failed {
            list(progress, filed, &Why::Failed(letter.reason.to_string()));
        }
    }
}

/// Lists a letter that is left.
pub(super) fn list(progress: &mut Progress, Filed { id, letter, .. }: &Filed, why: &Why) {
    if progress.left.len() < Progress::LISTED_MAX {
        progress.left.push(Left { id: *id, object: letter.record.key.clone(), why: why.clone() });
    }
}
