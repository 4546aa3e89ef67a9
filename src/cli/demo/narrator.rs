//! Tells what happens, each thing once: turns changes between two looks at the status into sentences.

use super::{
    play::Status,
    stage::{ALGOLIA, ELASTIC},
};
use crate::{
    cli::{
        output::{BAD, GOOD, WARNING, styled},
        text::grouped,
    },
    delivery::BreakerState,
};

/// What was seen last.
#[derive(Default)]
pub(super) struct Narrator {
    outage: bool,
    open: bool,
    catching_up: bool,
    dead_lettered: u64,
    produced: bool,
}

impl Narrator {
    /// What is new, in the order in which it happened, as far as one look can tell.
    pub(super) fn tell(&mut self, status: &Status) -> Vec<String> {
        let lane = |name: &str| status.lanes.iter().find(|lane| &*lane.destination == name);
        let (Some(algolia), Some(elastic)) = (lane(ALGOLIA), lane(ELASTIC)) else { return Vec::new() };
        let pending = elastic.pending(status.end);
        let mut told = Vec::new();
        if changed(&mut self.dead_lettered, algolia.totals.dead_lettered) {
            told.push(styled(
                WARNING,
                "Algolia refuses a batch; the poison record in it was found, put aside",
            ));
        }
        if changed(&mut self.outage, status.outage) {
            told.push(match status.outage {
                true => styled(BAD, "Elasticsearch goes down: no connections. Nobody else notices"),
                false => {
                    self.catching_up = true;
                    let waiting = grouped(pending);
                    styled(
                        GOOD,
                        format_args!("Elasticsearch is back: {waiting} records wait for it in the log"),
                    )
                }
            });
        }
        // Half-open is on the way to either.
        let open = match elastic.breaker {
            BreakerState::Closed => false,
            BreakerState::HalfOpen => self.open,
            BreakerState::Open | BreakerState::Paused(_) => true,
        };
        if changed(&mut self.open, open) {
            told.push(match open {
                true => styled(BAD, "Its circuit breaker opens: only probes go out until one succeeds"),
                false => styled(GOOD, "Its circuit breaker closes: Elasticsearch gets what it missed"),
            });
        }
        if changed(&mut self.produced, status.acknowledged >= status.records) {
            told.push("The producer is done: everything it sent was acknowledged".to_owned());
        }
        // So few are always on their way while records come in.
        if self.catching_up && !self.open && pending < status.records / 50 {
            self.catching_up = false;
            told.push(styled(GOOD, "Elasticsearch has caught up"));
        }
        told
    }
}

fn changed<T: PartialEq>(seen: &mut T, now: T) -> bool {
    let is_new = *seen != now;
    *seen = now;
    is_new
}
