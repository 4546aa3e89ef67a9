//! What is counted and measured of a transform, since its config serves as it is.

use super::outcome::Outcome;
use crate::runtime::{Counter, Histogram};

/// See the module's text.
#[derive(Debug)]
pub struct Meters {
    /// Seconds of CPU time of each call, which takes up to 256 records.
    pub call_cpu: Histogram,
    outcomes: [Counter; OUTCOMES.len()],
}

/// What becomes of records.
const OUTCOMES: [&str; 5] = ["unchanged", "replaced", "emitted", "skipped", "failed"];

/// From a few small records to the longest that a config may allow.
const SECONDS: [f64; 15] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

impl Default for Meters {
    fn default() -> Self {
        Self { call_cpu: Histogram::new(&SECONDS), outcomes: Default::default() }
    }
}

impl Meters {
    /// Records by what became of them.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.outcomes.iter().map(Counter::get))
    }

    pub(super) fn came_to(&self, outcomes: &[Outcome]) {
        let mut counts = [0; OUTCOMES.len()];
        for outcome in outcomes {
            counts[match outcome {
                Outcome::Unchanged => 0,
                Outcome::Replace(_) => 1,
                Outcome::Emit(_) => 2,
                Outcome::Skip => 3,
                Outcome::Failed(_) => 4,
            }] += 1;
        }
        self.outcomes
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .for_each(|(of, count)| of.add(count));
    }
}
