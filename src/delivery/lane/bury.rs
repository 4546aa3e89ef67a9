//! What a lane does with rejected operations: files them, waits while there is no room, settles their records, tells.
//!
//! The cursor passes none of them before it is either a letter on disk or counted in a range on disk.

use plugin_api::verdict::ReasonCode;

use super::{Lane, LaneState, Outcome, Rejected};
use crate::{
    dead_letter::{Fate, Letter, Stage, StoreError},
    runtime::Stop,
};

/// Letters are filed in portions of about so many bytes, smaller ones where there is less room.
const PORTION_BYTES: u64 = 1 << 20;

impl Lane {
    /// Puts rejected operations into the dead letters; they are settled only once that is committed. An agent that
    /// stops meanwhile leaves them unsettled, and they are sent again after its restart.
    pub(super) async fn bury(&mut self, rejected: Vec<Rejected>, stage: Stage, stop: &Stop) {
        if rejected.is_empty() {
            return;
        }
        let letters = self.letters.write(rejected, stage);
        let (mut kept, mut gaps) = (0, 0);
        let mut rest = &letters[..];
        while !rest.is_empty() {
            let Some(fates) = self.file_some(rest, stop).await else { break };
            let (filed, after) = rest.split_at(fates.len());
            rest = after;
            self.moved();
            for (letter, fate) in filed.iter().zip(fates) {
                let (outcome, count) = match fate {
                    Fate::Kept => (Outcome::DeadLettered, &mut kept),
                    Fate::Gap => (Outcome::Gap, &mut gaps),
                };
                *count += 1;
                self.tell_buried(letter, outcome);
                self.tracker.settle(letter.source.position, outcome);
            }
        }
        self.has_gaps |= gaps > 0;
        self.tell(&letters, kept, gaps);
    }

    /// Files the first of the letters, as many as there is room for, as soon as that is possible; `None` if the lane is
    /// to stop first.
    async fn file_some(&mut self, letters: &[Letter], stop: &Stop) -> Option<Vec<Fate>> {
        let mut portion = portion(letters);
        let (mut failures, mut told) = (0, None);
        loop {
            let error = match self.letters.file(portion.to_vec()).await {
                Ok(fates) => return Some(fates),
                Err(StoreError::Full { .. }) if portion.len() > 1 => {
                    portion = &portion[..portion.len() / 2];
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            self.tell_failure(&error, letters, &mut told);
            self.publish_as(LaneState::Halted(match &error {
                // Its own words are all that there is to say.
                StoreError::Full { .. } => error.to_string(),
                _ => format!("dead letters cannot be written: {error}"),
            }));
            // What is settled need not be sent again if the agent ends while it waits here.
            self.commit().await;
            tokio::select! {
                // A stop first: it must not wait for a disk that stays full.
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(self.settings.backoff.bound(failures)) => {}
            }
        }
    }

    /// Tells why delivery waits, once as long as it is the same.
    fn tell_failure(&self, error: &StoreError, letters: &[Letter], told: &mut Option<String>) {
        let error = error.to_string();
        if told.as_ref() == Some(&error) {
            return;
        }
        if let Some(Letter { reason, record, .. }) = letters.first() {
            tracing::error!(
                destination = %self.settings.name, error, index = %record.key.index, %reason,
                "rejected records cannot be put into the dead letters, delivery waits until they can",
            );
        }
        *told = Some(error);
    }

    /// Tells the operator what became of rejected operations; of an index that is refused, once until it is written
    /// again.
    fn tell(&mut self, letters: &[Letter], kept: usize, gaps: usize) {
        self.tell_refused(letters);
        self.tell_foreign(letters);
        let mut others = letters.iter().filter(|letter| letter.reason.code != ReasonCode::IndexRefused);
        let Some(Letter { source, record, reason, stage, .. }) = others.next() else { return };
        let (destination, index) = (&self.settings.name, &record.key.index);
        let (request_id, stage) = (source.request_id, stage.as_str());
        if kept > 0 {
            tracing::warn!(%destination, letters = kept, stage, %index, %request_id, %reason, "operations dead-lettered");
        }
        if gaps > 0 {
            tracing::warn!(
                %destination, operations = gaps, stage, %index, %request_id, %reason,
                "rejected operations are not kept, their records count as a gap",
            );
        }
    }

    /// Tells of each index that is refused, once until it is written again.
    fn tell_refused(&mut self, letters: &[Letter]) {
        for Letter { source, record, reason, .. } in letters {
            let index = &record.key.index;
            if reason.code == ReasonCode::IndexRefused && self.refused_indexes.insert(index.clone()) {
                tracing::error!(
                    destination = %self.settings.name, %index, request_id = %source.request_id, %reason,
                    "destination refuses an index: check its name and the key; its records are dead-lettered",
                );
            }
        }
    }

    /// Tells, once for each index, that somebody else writes the same objects: what they wrote will never be replaced.
    fn tell_foreign(&mut self, letters: &[Letter]) {
        for Letter { source, record, reason, .. } in letters {
            let index = &record.key.index;
            if reason.code == ReasonCode::ForeignVersion && self.foreign_indexes.insert(index.clone()) {
                tracing::error!(
                    destination = %self.settings.name, %index, object_id = %record.key.object_id,
                    request_id = %source.request_id, %reason,
                    "somebody else writes this index with versions of their own: such records are dead-lettered until the \
                     object is deleted there with its version",
                );
            }
        }
    }
}

/// The first letters, of about [`PORTION_BYTES`]; at least one.
fn portion(letters: &[Letter]) -> &[Letter] {
    let mut bytes = 0;
    let fits = |letter: &&Letter| {
        bytes += letter.size();
        bytes <= PORTION_BYTES
    };
    let count = letters.iter().take_while(fits).count();
    &letters[..count.max(1).min(letters.len())]
}
