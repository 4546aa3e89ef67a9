//! Tells what happens, each thing once: turns changes between two looks at the status into sentences.

use super::{play::Status, stage::ALGOLIA, text::grouped};
use crate::{
    cli::output::{BAD, GOOD, WARNING, styled},
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
        let Some(algolia) = status.lanes.iter().find(|lane| &*lane.destination == ALGOLIA) else {
            return Vec::new();
        };
        let pending = algolia.pending(status.end);
        let mut told = Vec::new();
        if changed(&mut self.dead_lettered, algolia.totals.dead_lettered) {
            told.push(styled(
                WARNING,
                "Algolia refuses a batch; the poison record in it was found, put aside",
            ));
        }
        if changed(&mut self.outage, status.outage) {
            told.push(match status.outage {
                true => styled(BAD, "Algolia goes down: no connections. The producer does not notice"),
                false => {
                    self.catching_up = true;
                    styled(
                        GOOD,
                        format_args!("Algolia is back: {} records wait for it in the log", grouped(pending)),
                    )
                }
            });
        }
        // Half-open is on the way to either.
        let open = match algolia.breaker {
            BreakerState::Closed => false,
            BreakerState::HalfOpen => self.open,
            BreakerState::Open | BreakerState::Paused(_) => true,
        };
        if changed(&mut self.open, open) {
            told.push(match open {
                true => styled(BAD, "Its circuit breaker opens: only probes go out until one succeeds"),
                false => styled(GOOD, "Its circuit breaker closes: Algolia gets what it missed"),
            });
        }
        if changed(&mut self.produced, status.acknowledged >= status.records) {
            told.push("The producer is done: everything it sent was acknowledged".to_owned());
        }
        // So few are always on their way while records come in.
        if self.catching_up && !self.open && pending < status.records / 50 {
            self.catching_up = false;
            told.push(styled(GOOD, "Algolia has caught up"));
        }
        told
    }
}

fn changed<T: PartialEq>(seen: &mut T, now: T) -> bool {
    let is_new = *seen != now;
    *seen = now;
    is_new
}
