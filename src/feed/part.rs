//! The records of one index in one block, on their way through their transform: run once, whichever lane asks first.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use plugin_api::{
    identity::Timestamp,
    verdict::{Reason, ReasonCode},
};
use tokio::sync::Notify;

use crate::{
    record::Record,
    runtime::{Clock as _, SystemClock},
    transform::{Outcome, Transformed, Transforms},
};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) transform: Arc<str>,
    began: Timestamp,
    /// With the bytes of the bodies that were made, and when that was.
    transformed: OnceLock<(Transformed, usize, Timestamp)>,
    /// Whether somebody tells of it.
    told: AtomicBool,
    /// Whom to tell when that is there.
    waiting: Mutex<Vec<Arc<Notify>>>,
}

impl Part {
    /// Has the transform run on the records.
    pub(super) fn start(
        transforms: Option<&Transforms>,
        transform: &Arc<str>,
        index: &Arc<str>,
        records: Vec<Record>,
    ) -> Arc<Self> {
        let (transformed, told, waiting) = (OnceLock::new(), AtomicBool::new(false), Mutex::default());
        let (transform_name, began) = (transform.clone(), SystemClock.now());
        let part = Arc::new(Self { transform: transform_name, began, transformed, told, waiting });
        let done = part.clone();
        match transforms {
            Some(transforms) => {
                transforms.submit(transform, index, records, move |transformed| done.finish(transformed));
            }
            // It fails closed.
            None => {
                let reason = Reason::new(ReasonCode::TransformFailed, "this agent runs no transforms");
                let outcomes = vec![Outcome::Failed(reason); records.len()];
                done.finish(Transformed { outcomes, module: None });
            }
        }
        part
    }

    /// What became of the records, in their order; `None` until that is known.
    pub(super) fn transformed(&self) -> Option<&Transformed> {
        self.transformed.get().map(|(transformed, ..)| transformed)
    }

    /// Bytes of the bodies that were made; 0 until that is known.
    pub(super) fn bytes(&self) -> usize {
        self.transformed.get().map_or(0, |(_, bytes, _)| *bytes)
    }

    /// When it began and ended, for the first of the lanes that asks: one of them tells of it.
    pub(super) fn to_tell(&self) -> Option<(Timestamp, Timestamp)> {
        let (.., ended) = self.transformed.get()?;
        (!self.told.swap(true, Ordering::Relaxed)).then_some((self.began, *ended))
    }

    /// Has `ready` notified once that is known, at once if it is.
    pub(super) fn tell(&self, ready: &Arc<Notify>) {
        let mut waiting = self.waiting();
        if self.transformed.get().is_some() {
            ready.notify_one();
        } else {
            waiting.push(ready.clone());
        }
    }

    fn finish(&self, transformed: Transformed) {
        let bytes = transformed.bytes();
        self.transformed.get_or_init(|| (transformed, bytes, SystemClock.now()));
        self.waiting().drain(..).for_each(|ready| ready.notify_one());
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
