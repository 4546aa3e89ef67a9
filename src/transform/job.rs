//! What was submitted at once, until every record of it has its outcome.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use plugin_api::verdict::{Reason, ReasonCode};

use super::{
    outcome::{Outcome, Transformed},
    slot::{Serving, Slot},
};
use crate::record::Record;

/// Some records of one index and whom to tell of them. It is told exactly once, whatever happens: at the latest when the
/// job is dropped, and then that the records failed.
pub(super) struct Job {
    pub(super) records: Vec<Record>,
    /// The transform that it passes; `None` if there is none of that name.
    slot: Option<Arc<Slot>>,
    serving: OnceLock<Option<Arc<Serving>>>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Outcomes of some records in a row, and which of the job's is the first.
    parts: Vec<(usize, Vec<Outcome>)>,
    missing: usize,
    done: Option<Box<dyn FnOnce(Transformed) + Send>>,
}

impl Job {
    pub(super) fn new(
        slot: Option<Arc<Slot>>,
        records: Vec<Record>,
        done: impl FnOnce(Transformed) + Send + 'static,
    ) -> Arc<Self> {
        let progress = Progress { parts: Vec::new(), missing: records.len(), done: Some(Box::new(done)) };
        Arc::new(Self { records, slot, serving: OnceLock::new(), progress: Mutex::new(progress) })
    }

    /// The module that runs on all of it: the one that serves when its first record is run.
    pub(super) fn serving(&self) -> Option<&Arc<Serving>> {
        self.serving.get_or_init(|| self.slot.as_deref().and_then(Slot::current)).as_ref()
    }

    pub(super) fn slot(&self) -> Option<&Arc<Slot>> {
        self.slot.as_ref()
    }

    /// Takes the outcomes of some records in a row; tells all of them if they are the last.
    pub(super) fn finish(&self, start: usize, outcomes: Vec<Outcome>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.missing = progress.missing.saturating_sub(outcomes.len());
        progress.parts.push((start, outcomes));
        if progress.missing > 0 {
            return;
        }
        let Some(done) = progress.done.take() else { return };
        let mut parts = std::mem::take(&mut progress.parts);
        drop(progress);
        parts.sort_unstable_by_key(|(start, _)| *start);
        let outcomes = match parts.len() {
            1 => parts.pop().map(|(_, outcomes)| outcomes).unwrap_or_default(),
            _ => parts.into_iter().flat_map(|(_, outcomes)| outcomes).collect(),
        };
        if let Some(slot) = &self.slot {
            slot.meters().came_to(&outcomes);
        }
        done(Transformed { outcomes, module: self.digest() });
    }

    fn digest(&self) -> Option<super::Digest> {
        self.serving.get().and_then(Option::as_ref).map(|serving| serving.module.digest())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let progress = self.progress.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(done) = progress.done.take() else { return };
        // Only a defect of the agent leads here. Nothing may pass untransformed.
        let lost = || {
            Outcome::Failed(Reason::new(
                ReasonCode::TransformTrapped,
                "the agent failed while it ran the transform",
            ))
        };
        let outcomes = self.records.iter().map(|_| lost()).collect();
        let module = self.digest();
        done(Transformed { outcomes, module });
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("records", &self.records.len()).finish_non_exhaustive()
    }
}
