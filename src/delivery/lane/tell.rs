//! Tells whoever looks what became of records at this destination. Nothing waits for that.

use plugin_api::operation::Operation;

use super::{Lane, Outcome};
use crate::{dead_letter::Letter, tap::Kind};

impl Lane {
    /// Operations that have come to their end.
    pub(super) fn tell_settled<'a>(&self, operations: impl IntoIterator<Item = (&'a Operation, Outcome)>) {
        let Some(open) = self.tap.open() else { return };
        for (operation, outcome) in operations {
            open.settled(kind_of(outcome), &self.settings.name, operation);
        }
    }

    /// What was rejected, as it was filed.
    pub(super) fn tell_buried(&self, letter: &Letter, outcome: Outcome) {
        if let Some(open) = self.tap.open() {
            open.buried(kind_of(outcome), &self.settings.name, letter);
        }
    }
}

fn kind_of(outcome: Outcome) -> Kind {
    match outcome {
        Outcome::Written => Kind::Delivered,
        Outcome::Superseded => Kind::Superseded,
        Outcome::Skipped => Kind::Skipped,
        Outcome::DeadLettered => Kind::DeadLettered,
        Outcome::Gap => Kind::Gap,
    }
}
