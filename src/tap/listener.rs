//! What one listener wants to see, how much of it, and what it misses.

use std::{
    array,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use wildmatch::WildMatch;

use super::event::{Event, Kind};

/// What a listener wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only records of indexes that match: by the producer's name, or by the destination's.
    pub index: Option<WildMatch>,
    /// Only what becomes of them there.
    pub destination: Option<Arc<str>>,
}

/// How many matching events were not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotShown {
    /// Since there were more than the rate lets through.
    pub over_rate: u64,
    /// Since whoever looks did not take those before.
    pub too_slow: u64,
}

/// One of those who look.
#[derive(Debug)]
pub(super) struct Listener {
    filter: Filter,
    rate: u32,
    /// Each kind has its own, so that what is rare is not hidden by what is frequent.
    seconds: Mutex<[Second; Kind::COUNT]>,
    over_rate: AtomicU64,
    too_slow: AtomicU64,
    events: mpsc::Sender<Event>,
}

/// How many more may be shown of a kind before the second is over.
#[derive(Clone, Copy, Debug)]
struct Second {
    began_at: Instant,
    left: u32,
}

/// Events that wait for whoever looks.
const EVENTS_MAX: usize = 256;
const SECOND: Duration = Duration::from_secs(1);

impl Filter {
    /// Whether an index matches, by any of its names.
    pub(super) fn lets_index<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        self.index.as_ref().is_none_or(|pattern| names.into_iter().any(|name| pattern.matches(name)))
    }

    pub(super) fn lets_destination(&self, destination: &str) -> bool {
        self.destination.as_ref().is_none_or(|wanted| **wanted == *destination)
    }
}

impl Listener {
    /// Shows at most `rate` events a second of each kind.
    pub(super) fn new(filter: Filter, rate: u32) -> (Self, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let second = Second { began_at: Instant::now(), left: rate };
        let listener = Self {
            filter,
            rate,
            seconds: Mutex::new(array::from_fn(|_| second)),
            over_rate: AtomicU64::new(0),
            too_slow: AtomicU64::new(0),
            events,
        };
        (listener, received)
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// How many of `wanted` events of a kind may be shown now; the others count as not shown.
    pub(super) fn admit(&self, kind: Kind, wanted: u32, now: Instant) -> u32 {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let second = &mut seconds[kind as usize];
        if now.duration_since(second.began_at) >= SECOND {
            *second = Second { began_at: now, left: self.rate };
        }
        let admitted = wanted.min(second.left);
        second.left -= admitted;
        drop(seconds);
        self.over_rate.fetch_add(u64::from(wanted - admitted), Ordering::Relaxed);
        admitted
    }

    /// Shows an event that was admitted, unless there is no room for it: then it is not even made.
    pub(super) fn show(&self, event: impl FnOnce() -> Event) {
        match self.events.try_reserve() {
            Ok(room) => room.send(event()),
            Err(_) => _ = self.too_slow.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What was not shown since this was asked last.
    pub(super) fn not_shown(&self) -> NotShown {
        NotShown {
            over_rate: self.over_rate.swap(0, Ordering::Relaxed),
            too_slow: self.too_slow.swap(0, Ordering::Relaxed),
        }
    }
}
