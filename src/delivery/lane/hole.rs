//! What a lane does where records cannot be read: it passes over them, once those before them are settled, and counts
//! them for what they are.

use super::{Hole, Lane, LaneState, Outcome};
use crate::{dead_letter::Range, runtime::Stop};

impl Lane {
    /// Passes over records that cannot be read, as soon as those before them are settled. What an operator gave up is
    /// recorded in the dead letters before the cursor may pass it; an agent that stops meanwhile comes here again.
    pub(super) async fn cross_hole(&mut self, stop: &Stop) {
        if self.tracker.reach() > 0 {
            return;
        }
        let destination = &self.settings.name;
        match self.hole.take() {
            None => return,
            Some(Hole::Gone { to }) => {
                tracing::error!(
                    %destination, from = %self.tracker.watermark(), %to,
                    "records are gone from the log before they were delivered, they are counted as a gap",
                );
                self.tracker.pass_over(to, Outcome::Gap);
            }
            Some(Hole::GivenUp { to, message }) => {
                let (first, records) = (self.tracker.watermark(), self.tracker.missing_before(to));
                tracing::error!(
                    %destination, from = %first, %to, records,
                    "records were given up with `log skip`, they are counted as dead-lettered",
                );
                let range = self.letters.write_rotten(self.log.id(), first, to, records, message);
                if !self.record(&range, stop).await {
                    return;
                }
                self.tracker.pass_over(to, Outcome::DeadLettered);
            }
        }
        self.moved();
    }

    /// Records a range as soon as that is possible; false if the lane is to stop first.
    async fn record(&mut self, range: &Range, stop: &Stop) -> bool {
        let mut failures = 0;
        while let Err(error) = self.letters.record(range.clone()).await {
            failures += 1;
            tracing::error!(destination = %self.settings.name, %error, "dead letters cannot be written, delivery waits");
            self.publish_as(LaneState::Halted(format!("dead letters cannot be written: {error}")));
            self.commit().await;
            tokio::select! {
                // A stop first: it must not wait for a disk that stays full.
                biased;
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(self.settings.backoff.bound(failures)) => {}
            }
        }
        true
    }
}
