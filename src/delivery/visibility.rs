//! Follows writes until searches see them: the *visible* watermark behind the *delivered* one.
//!
//! Of each index one confirmation is asked for at a time while newer ones wait behind it: asking only for the newest
//! would never end under steady load. Nothing is ever sent again because a write is not visible yet.

use std::{sync::Arc, time::Duration};

use plugin_api::{
    identity::Position,
    verdict::{Confirmation, Scope, WriteError},
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::log::interface::Progress;

/// Writes that are delivered and not known to be visible, by index.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    indexes: FxHashMap<Arc<str>, Index>,
}

#[derive(Debug)]
struct Index {
    asked: Pending,
    newest: Option<Pending>,
    polls: u32,
    due: Instant,
}

#[derive(Debug)]
struct Pending {
    confirmation: Confirmation,
    /// The oldest record that this confirmation stands for.
    from: Position,
}

/// The delay grows by this with every poll of one confirmation, as in Algolia's official clients.
const POLL_STEP: Duration = Duration::from_millis(200);
const POLL_MAX: Duration = Duration::from_secs(5);

impl Visibility {
    /// Takes up the confirmations that a cursor kept.
    pub(super) fn resume(progress: &Progress, now: Instant) -> Self {
        let mut visibility = Self::default();
        let from = progress.visible.unwrap_or(progress.next);
        let wrote = |confirmation: &Confirmation| visibility.wrote(confirmation.clone(), from, now);
        progress.confirmations.iter().for_each(wrote);
        visibility
    }

    /// A request was written whose oldest record is `from`.
    pub(super) fn wrote(&mut self, confirmation: Confirmation, from: Position, now: Instant) {
        match self.indexes.get_mut(&confirmation.index) {
            None => {
                let index = confirmation.index.clone();
                let asked = Pending { confirmation, from };
                self.indexes.insert(index, Index { asked, newest: None, polls: 0, due: now + POLL_STEP });
            }
            Some(index) => {
                let from = index.newest.as_ref().map_or(from, |newest| newest.from.min(from));
                index.newest = Some(Pending { confirmation, from });
            }
        }
    }

    /// When which confirmation is to be asked for next.
    pub(super) fn next(&self) -> Option<(Instant, &Confirmation)> {
        let due = self.indexes.values().min_by_key(|index| index.due)?;
        Some((due.due, &due.asked.confirmation))
    }

    /// The destination answered whether the write that was asked for is visible. True if something became so.
    pub(super) fn polled(
        &mut self,
        destination: &str,
        index: &Arc<str>,
        answer: Result<bool, WriteError>,
        now: Instant,
    ) -> bool {
        let (visible, wait) = match answer {
            Ok(visible) => (visible, None),
            // Nobody will ever confirm it: the index or its task is gone.
            Err(
                WriteError::Misconfigured { scope: Scope::Index(_), reason }
                | WriteError::BatchRejected { reason, .. },
            ) => {
                tracing::warn!(destination, %index, %reason, "write cannot be confirmed");
                (true, None)
            }
            Err(WriteError::Throttled { retry_after, .. } | WriteError::Unavailable { retry_after, .. }) => {
                (false, retry_after)
            }
            Err(
                WriteError::Unknown { .. }
                | WriteError::TooLarge { .. }
                | WriteError::Misconfigured { scope: Scope::Destination, .. },
            ) => (false, None),
        };
        if visible {
            self.became_visible(index, now);
        } else if let Some(found) = self.indexes.get_mut(index) {
            found.polls = found.polls.saturating_add(1);
            let step = POLL_STEP.saturating_mul(found.polls.saturating_add(1)).min(POLL_MAX);
            found.due = now + step.max(wait.unwrap_or_default());
        }
        visible
    }

    /// Every record before this one is visible, given the delivered watermark.
    pub(super) fn watermark(&self, delivered: Position) -> Position {
        self.indexes.values().map(|index| index.asked.from).fold(delivered, Position::min)
    }

    /// Adds to a cursor what is not visible: the newest confirmation of each index, which covers the older ones.
    pub(super) fn extend(&self, progress: Progress) -> Progress {
        let newest = |index: &Index| index.newest.as_ref().unwrap_or(&index.asked).confirmation.clone();
        let mut confirmations: Vec<_> = self.indexes.values().map(newest).collect();
        confirmations.sort_by(|a, b| a.index.cmp(&b.index));
        let visible = (!confirmations.is_empty()).then(|| self.watermark(progress.next));
        Progress { confirmations, visible, ..progress }
    }

    fn became_visible(&mut self, index: &Arc<str>, now: Instant) {
        let Some(found) = self.indexes.get_mut(index) else { return };
        match found.newest.take() {
            Some(newest) => *found = Index { asked: newest, newest: None, polls: 0, due: now + POLL_STEP },
            None => {
                self.indexes.remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmation(handle: &str) -> Confirmation {
        Confirmation { index: "products".into(), handle: handle.into() }
    }

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    /// The visible watermark moves under steady load, one confirmation after the other, and the cursor keeps the
    /// newest.
    #[test]
    fn visible_follows_delivered() {
        let now = Instant::now();
        let index: Arc<str> = "products".into();
        let mut visibility = Visibility::default();
        for (handle, from) in [("1", 0), ("2", 10), ("3", 20)] {
            visibility.wrote(confirmation(handle), at(from), now);
        }
        assert_eq!(visibility.watermark(at(30)), at(0));
        let progress = visibility.extend(Progress { next: at(30), ..Progress::default() });
        assert_eq!((&progress.confirmations[..], progress.visible), (&[confirmation("3")][..], Some(at(0))));
        // After a restart nothing counts as visible that was not.
        assert_eq!(Visibility::resume(&progress, now).watermark(at(30)), at(0));
        assert_eq!(visibility.next().map(|(_, asked)| asked.clone()), Some(confirmation("1")));
        visibility.polled("search", &index, Ok(false), now);
        assert_eq!(visibility.watermark(at(30)), at(0));
        visibility.polled("search", &index, Ok(true), now);
        assert_eq!(visibility.watermark(at(30)), at(10));
        visibility.polled("search", &index, Ok(true), now);
        assert_eq!((visibility.watermark(at(30)), visibility.next().is_none()), (at(30), true));
    }
}
