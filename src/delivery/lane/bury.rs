//! What a lane does with rejected operations: files them, waits while there is no room, settles their records, tells.
//!
//! The cursor passes none of them before it is either a letter on disk or counted in a range on disk.

use plugin_api::verdict::ReasonCode;

use super::{Lane, LaneState, Outcome, Rejected};
use crate::{
    dead_letter::{Fate, Letter, Stage, StoreError},
    runtime::Stop,
};

/// Letters are filed in portions of about so many bytes: a budget with less room than a whole batch is still filled.
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
        for portion in portions(&letters) {
            let Some(fates) = self.file(portion, stop).await else { break };
            self.moved();
            for (letter, fate) in portion.iter().zip(fates) {
                let (outcome, count) = match fate {
                    Fate::Kept => (Outcome::DeadLettered, &mut kept),
                    Fate::Gap => (Outcome::Gap, &mut gaps),
                };
                *count += 1;
                self.tracker.settle(letter.source.position, outcome);
            }
        }
        self.has_gaps |= gaps > 0;
        self.tell(&letters, kept, gaps);
    }

    /// Files letters as soon as that is possible; `None` if the lane is to stop first.
    async fn file(&mut self, letters: &[Letter], stop: &Stop) -> Option<Vec<Fate>> {
        let (mut failures, mut told) = (0, None);
        loop {
            let error = match self.letters.file(letters.to_vec()).await {
                Ok(fates) => return Some(fates),
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
        let Some(Letter { source, record, reason, stage, .. }) = letters.first() else { return };
        let (destination, index) = (&self.settings.name, &record.key.index);
        let (request_id, stage) = (source.request_id, stage.as_str());
        if reason.code == ReasonCode::IndexRefused {
            if self.refused_indexes.insert(index.clone()) {
                tracing::error!(
                    %destination, %index, %request_id, %reason,
                    "destination refuses an index: check its name and the key; its records are dead-lettered",
                );
            }
            return;
        }
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
}

/// Slices of about [`PORTION_BYTES`]; a letter that is larger is alone.
fn portions(letters: &[Letter]) -> impl Iterator<Item = &[Letter]> {
    let mut rest = letters;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |letter: &&Letter| {
            let first = bytes == 0;
            bytes += letter.size();
            first || bytes <= PORTION_BYTES
        };
        let (portion, after) = rest.split_at(rest.iter().take_while(fits).count());
        rest = after;
        (!portion.is_empty()).then_some(portion)
    })
}
