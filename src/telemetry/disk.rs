//! Watches what the log takes on disk: tells the operator in time that a budget fills up, and has what retention keeps
//! no longer given back.
//!
//! A level is told once when it is reached, and again only after it was left by some percent.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    log::interface::{Log, LogStatus},
    runtime::Stop,
};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// What is told, in percent; the last one as an error.
const LEVELS: [u64; 3] = [50, 80, 95];
/// So many percent below a level it counts as left.
const HYSTERESIS: u64 = 5;

/// Looks until told to stop. `full_in_seconds` knows when the budget is used up if it goes on as lately.
pub async fn watch_disk(log: Arc<dyn Log>, full_in_seconds: impl Fn(&LogStatus) -> Option<u64>, stop: Stop) {
    let mut watch = DiskWatch::default();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // A stop first: nothing here is worth waiting for.
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = log.give_back().await {
            tracing::error!(%error, "segments cannot be given back to the disk");
        }
        let status = log.status();
        watch.observe(&status, full_in_seconds(&status)).iter().for_each(Warning::tell);
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct DiskWatch {
    /// The level that was told of each budget.
    told: HashMap<Budget, u64>,
}

/// What fills up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Budget {
    Disk,
    Backlog(String),
}

/// What the operator is told.
#[derive(Debug, PartialEq, Eq)]
struct Warning {
    budget: Budget,
    /// In percent.
    level: u64,
    used: u64,
    bytes_max: u64,
    disk_full_in_seconds: Option<u64>,
}

impl DiskWatch {
    fn observe(&mut self, status: &LogStatus, disk_full_in_seconds: Option<u64>) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let disk = (Budget::Disk, status.held_bytes, status.disk_bytes_max);
        let attached = status.backlogs.iter().filter(|backlog| !backlog.detached);
        let backlogs = attached.map(|backlog| {
            (Budget::Backlog(backlog.destination.clone()), backlog.bytes, backlog.limit.bytes_max)
        });
        for (budget, used, bytes_max) in [disk].into_iter().chain(backlogs) {
            if let Some(level) = self.reached(&budget, used, bytes_max) {
                warnings.push(Warning { budget, level, used, bytes_max, disk_full_in_seconds });
            }
        }
        warnings
    }

    /// The level that has been reached since it was last left.
    fn reached(&mut self, budget: &Budget, used: u64, bytes_max: u64) -> Option<u64> {
        let percent = u128::from(used) * 100 / u128::from(bytes_max.max(1));
        let told = self.told.entry(budget.clone()).or_default();
        let at = |percent: u128| LEVELS.into_iter().rfind(|level| percent >= u128::from(*level)).unwrap_or(0);
        let level = at(percent);
        if level > *told {
            *told = level;
            return Some(level);
        }
        *told = (*told).min(at(percent + u128::from(HYSTERESIS)));
        None
    }
}

impl Warning {
    fn tell(&self) {
        let Self { budget, level, used, bytes_max, disk_full_in_seconds } = self;
        // The macros take a level that is known when this is compiled.
        macro_rules! tell {
            ($level:expr) => {
                match budget {
                    Budget::Disk => tracing::event!(
                        $level,
                        percent = level,
                        used,
                        disk_bytes_max = bytes_max,
                        disk_full_in_seconds,
                        "log's disk budget fills up: at its end ingest is refused",
                    ),
                    Budget::Backlog(destination) => tracing::event!(
                        $level,
                        destination,
                        percent = level,
                        backlog_bytes = used,
                        backlog_bytes_max = bytes_max,
                        disk_full_in_seconds,
                        "destination falls behind: at its backlog_bytes_max its on_backlog_full decides",
                    ),
                }
            };
        }
        if *level >= LEVELS[2] {
            tell!(tracing::Level::ERROR);
        } else {
            tell!(tracing::Level::WARN);
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::identity::Position;

    use super::*;
    use crate::log::interface::{Backlog, BacklogLimit, WhenFull};

    fn status(held: u64, backlog: u64, detached: bool) -> LogStatus {
        let limit = BacklogLimit { bytes_max: 100, when_full: WhenFull::Detach };
        let backlog = Backlog { destination: "mirror".into(), bytes: backlog, limit, detached };
        LogStatus {
            last_version: Default::default(),
            start: Position::default(),
            end: Position::default(),
            disk_bytes: held,
            held_bytes: held,
            disk_bytes_max: 1_000,
            backlogs: vec![backlog],
            keys: 0,
            keys_reach: Duration::ZERO,
            segments: 1,
            written: Default::default(),
            poisoned: None,
        }
    }

    /// Each level is told once, the highest alone, and again after it was left; what is detached grows no more.
    #[test]
    fn levels_are_told_once() {
        let mut watch = DiskWatch::default();
        let mut levels = |held, backlog, detached| {
            let warnings = watch.observe(&status(held, backlog, detached), Some(7));
            assert!(warnings.iter().all(|warning| warning.disk_full_in_seconds == Some(7)));
            warnings.iter().map(|warning| (warning.budget == Budget::Disk, warning.level)).collect::<Vec<_>>()
        };
        assert_eq!(levels(499, 49, false), []);
        assert_eq!(levels(500, 0, false), [(true, 50)]);
        assert_eq!(levels(510, 95, false), [(false, 95)]);
        assert_eq!(levels(460, 94, false), [], "not far enough below");
        assert_eq!(levels(960, 96, false), [(true, 95)]);
        assert_eq!(levels(440, 20, false), []);
        assert_eq!(levels(840, 100, true), [(true, 80)]);
        assert_eq!(levels(840, 100, false), [(false, 95)]);
    }
}
