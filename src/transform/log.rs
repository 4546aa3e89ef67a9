//! The lines that a guest writes for people: where they go, and how many a second.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::words::tamed;

/// How grave a guest says that its line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug,
    /// Worth knowing.
    Info,
    /// May be wrong.
    Warn,
    /// Is wrong.
    Error,
}

/// Where a guest's lines go.
#[derive(Clone, Default)]
pub enum LogTarget {
    /// Nowhere.
    #[default]
    Nowhere,
    /// To the agent's own log, under the transform's name.
    Agent {
        /// The transform.
        transform: Arc<str>,
        /// Shared by all instances of the transform.
        rate: Arc<LogRate>,
    },
    /// To whoever tries a transform out: every line, tamed.
    Lines(Lines),
}

/// Takes each line with its level.
pub type Lines = Arc<dyn Fn(Level, &str) + Send + Sync>;

impl fmt::Debug for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Agent { .. } => "Agent",
            Self::Lines(_) => "Lines",
        })
    }
}

/// The records that a call is about.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Of the first record; `None` during `init`.
    pub(super) object_id: Option<Arc<str>>,
    pub(super) records: usize,
}

impl LogTarget {
    /// Passes a line on.
    pub(super) fn write(&self, index: &str, about: &About, level: Level, line: &str) {
        match self {
            Self::Nowhere => {}
            Self::Lines(take) => take(level, &tamed(line)),
            Self::Agent { transform, rate } => {
                let Some(dropped) = rate.admit(Instant::now()) else { return };
                if dropped > 0 {
                    tracing::warn!(target: "transform", %transform, index, dropped, "lines of a transform were dropped: it logs too much");
                }
                to_agent(transform, index, about, level, &tamed(line));
            }
        }
    }
}

/// A fixed message, the rest in fields; tracing wants the level to be known when it is compiled.
fn to_agent(transform: &str, index: &str, about: &About, level: Level, line: &str) {
    let (object_id, records) = (about.object_id.as_deref(), about.records);
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(target: "transform", tracing::Level::$level, transform, index, object_id, records, line, "transform says")
        };
    }
    match level {
        Level::Debug => event!(DEBUG),
        Level::Info => event!(INFO),
        Level::Warn => event!(WARN),
        Level::Error => event!(ERROR),
    }
}

/// How many lines a transform may still write: 100 at once, and 20 a second.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
    dropped: u64,
}

const LINES_AT_ONCE: f64 = 100.0;
const LINES_A_SECOND: f64 = 20.0;

impl Default for Bucket {
    fn default() -> Self {
        Self { tokens: LINES_AT_ONCE, filled: None, dropped: 0 }
    }
}

impl LogRate {
    /// Whether a line may be written now, and if so how many were not since the last one that was.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = bucket.filled.map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        bucket.filled = Some(now);
        bucket.tokens = (bucket.tokens + since * LINES_A_SECOND).min(LINES_AT_ONCE);
        if bucket.tokens < 1.0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.tokens -= 1.0;
        Some(std::mem::take(&mut bucket.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A flood is cut to its first hundred lines, and the next one that passes tells how many did not.
    #[test]
    fn floods_are_counted() {
        let (rate, start) = (LogRate::default(), Instant::now());
        let passed = (0..10_000).filter(|_| rate.admit(start).is_some()).count();
        assert_eq!(passed, 100);
        assert_eq!(rate.admit(start + Duration::from_millis(50)), Some(9_900));
        assert_eq!(rate.admit(start + Duration::from_millis(50)), None);
        assert_eq!(rate.admit(start + Duration::from_secs(3600)), Some(1));
    }
}
