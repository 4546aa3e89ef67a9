//! Who looks, as those see it who have something to tell.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwapOption;
use plugin_api::operation::Operation;
use thiserror::Error;

use super::{
    event::{Event, Kind},
    listener::{Filter, Listener},
    listening::Listening,
};
use crate::{dead_letter::Letter, runtime::Clock};

/// See the module's text.
pub struct Tap {
    /// `None` while nobody looks.
    open: ArcSwapOption<Open>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    clock: Arc<dyn Clock>,
}

/// Everybody who looks, at one moment.
pub struct Open {
    listeners: Vec<Arc<Listener>>,
    clock: Arc<dyn Clock>,
}

/// So many may look at once: each costs memory and, for what was accepted, a reader of the log.
pub const LISTENERS_MAX: usize = 4;

/// [`LISTENERS_MAX`] look already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{LISTENERS_MAX} tails run already, which is the most at once")]
pub struct TooMany;

impl Tap {
    /// Nobody looks yet. The clock tells when something became of a record.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { open: ArcSwapOption::empty(), listeners: Mutex::default(), clock })
    }

    /// Everybody who looks; `None` while nobody does.
    #[must_use]
    pub fn open(&self) -> Option<Arc<Open>> {
        self.open.load_full()
    }

    /// Whether somebody looks.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load().is_some()
    }

    /// Lets one more look, at no more than `rate` events a second of each kind, until what this returns is dropped.
    ///
    /// # Errors
    /// If too many do already.
    pub fn listen(self: &Arc<Self>, filter: Filter, rate: u32) -> Result<Listening, TooMany> {
        let mut listeners = self.listeners();
        if listeners.len() >= LISTENERS_MAX {
            return Err(TooMany);
        }
        let (listener, events) = Listener::new(filter, rate);
        let listener = Arc::new(listener);
        listeners.push(listener.clone());
        self.publish(&listeners);
        Ok(Listening::new(self.clone(), listener, events))
    }

    /// Lets one look no more.
    pub(super) fn leave(&self, gone: &Arc<Listener>) {
        let mut listeners = self.listeners();
        listeners.retain(|listener| !Arc::ptr_eq(listener, gone));
        self.publish(&listeners);
    }

    /// Under the lock, so that the last one to change it is the last one to publish it.
    fn publish(&self, listeners: &[Arc<Listener>]) {
        let open = Open { listeners: listeners.to_vec(), clock: self.clock.clone() };
        self.open.store((!listeners.is_empty()).then(|| Arc::new(open)));
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Arc<Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Tells what became of an operation at a destination.
    pub fn settled(&self, kind: Kind, destination: &Arc<str>, operation: &Operation) {
        let indexes = [&*operation.record_index, &*operation.key.index];
        self.tell(kind, destination, indexes, || {
            Event::of_operation(kind, self.clock.now(), destination, operation)
        });
    }

    /// Tells that a destination refused something for good.
    pub fn buried(&self, kind: Kind, destination: &Arc<str>, letter: &Letter) {
        let operation = letter.operation.as_ref().unwrap_or(&letter.record);
        let indexes = [&*letter.record.key.index, &*operation.key.index];
        self.tell(kind, destination, indexes, || {
            Event::of_letter(kind, self.clock.now(), destination, letter)
        });
    }

    fn tell(&self, kind: Kind, destination: &str, indexes: [&str; 2], event: impl Fn() -> Event) {
        for listener in &self.listeners {
            let filter = listener.filter();
            if filter.lets_destination(destination)
                && filter.lets_index(indexes)
                && listener.admit(kind, 1, Instant::now()) > 0
            {
                listener.show(&event);
            }
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("listeners", &self.listeners().len()).finish_non_exhaustive()
    }
}
