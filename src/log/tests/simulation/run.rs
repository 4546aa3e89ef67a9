//! One simulation: a log that lives many short lives on one disk. Each life ends with a power cut, a kill, or a proper
//! end, and the next one begins with a comparison of what is found with the model.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use fastrand::Rng;
use tokio::runtime::{Builder, Runtime};

use super::{
    disk::{Fault, Machine, SimulatedDisk},
    life::{Ended, Life},
    model::{DESTINATIONS, Model},
    tally::{Event, Tally},
};
use crate::log::{
    EmbeddedLog, OpenReport, Retention, Settings,
    files::FileSystem,
    interface::{BacklogLimit, LogError, WhenFull},
    tests::{DEADLINE, SetClock},
    writer::Writer,
};

const ROOT: &str = "/";
const DATA: &str = "/data";
const DIR: &str = "/data/logs/default";
const SEGMENT_BYTES: u64 = 64 << 10;
pub(super) const DISK_BYTES_MAX: u64 = 5 * SEGMENT_BYTES;

/// How far each destination may be behind; `None` for those that are not configured.
pub(super) type Configured = [Option<BacklogLimit>; DESTINATIONS.len()];

/// The lives of a run.
pub(super) const LIVES: u32 = 24;

/// A run in progress.
pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) machine: Machine,
    pub(super) clock: Arc<SetClock>,
    pub(super) runtime: Runtime,
    pub(super) model: Model,
    pub(super) tally: Tally,
    retention: Retention,
    limits: [BacklogLimit; DESTINATIONS.len()],
    /// Whether all requests are of one size, so that what is left of a torn write fits behind the next one.
    pub(super) alike: bool,
}

impl Run {
    /// Everything that happens is a function of the seed, but for the log's random bytes (id, key, nonces), which
    /// decide nothing.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let keeps = rng.bool();
        let limits = [BacklogLimit::UNLIMITED, limit(&mut rng), limit(&mut rng)];
        let machine = Machine::new(Path::new(ROOT), rng.u64(..));
        if rng.bool() {
            // As the agent does before it opens the log.
            machine.make_directory(Path::new(DATA));
        }
        Self {
            machine,
            alike: rng.u8(..3) == 0,
            rng,
            clock: Arc::new(SetClock(AtomicU64::new(1_000_000))),
            runtime: Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap(),
            model: Model::default(),
            tally: Tally::default(),
            limits,
            // Of delivered segments none is kept, or one.
            retention: Retention {
                age: if keeps { Duration::MAX } else { Duration::ZERO },
                bytes_max: SEGMENT_BYTES,
            },
        }
    }

    /// Panics where the log breaks its word.
    pub(super) fn run(mut self) -> Tally {
        for life in 0..LIVES {
            let planned = self.plan(life == 0);
            let configured = self.configure();
            self.live(planned, configured);
        }
        // The last life is not disturbed, so that the log is seen to go on.
        self.live(Vec::new(), self.limits.map(Some));
        self.tally.count_many(Event::Rolled, self.machine.segments());
        self.tally
    }

    /// What strikes the next life, and when: often while the log is being opened, or made.
    fn plan(&mut self, first: bool) -> Vec<(u64, Fault)> {
        let mut planned = Vec::new();
        let mut at = match self.rng.u8(..10) {
            _ if first => self.rng.u64(..36),
            0..3 => self.rng.u64(..12),
            3..7 => self.rng.u64(..48),
            _ => self.rng.u64(..128),
        };
        if self.rng.u8(..5) == 0 {
            planned.push((at, Fault::Fail));
            at += self.rng.u64(1..16);
        }
        match self.rng.u8(..10) {
            0..7 => planned.push((at, Fault::Cut)),
            7..9 => planned.push((at, Fault::Kill)),
            _ => {}
        }
        planned
    }

    /// Who is configured in the next life: now and then somebody is removed, and comes back later. Nobody at all while an
    /// operator is at work on the log.
    fn configure(&mut self) -> Configured {
        if self.rng.u8(..10) == 0 {
            return [None; DESTINATIONS.len()];
        }
        let removed = [false, self.rng.u8(..10) == 0, self.rng.u8(..4) == 0];
        std::array::from_fn(|index| (!removed[index]).then_some(self.limits[index]))
    }

    fn live(&mut self, planned: Vec<(u64, Fault)>, configured: Configured) {
        let undisturbed = planned.is_empty();
        let repair = configured.iter().all(Option::is_none);
        let disk = self.machine.start(planned);
        match self.open(&disk, &configured) {
            Ok((log, writer, report)) => {
                self.tally.count(Event::Reopened);
                let mut life = Life::new(self, log, writer);
                let spend =
                    |life: &mut Life<'_>| if repair { life.repair() } else { life.spend(undisturbed) };
                if let Err(Ended) = life.begin(&report, &configured).and_then(|()| spend(&mut life)) {
                    assert!(!undisturbed, "nothing has struck");
                }
            }
            Err(error) => {
                assert!(matches!(error, LogError::Io { .. }), "opening halts: {error}");
                let struck = self.machine.struck();
                assert!(!struck.is_empty(), "opening fails: {error}");
                let cut = struck.iter().any(|one| one.fault == Fault::Cut);
                self.tally.count_many(Event::CutWhileOpening, u64::from(cut));
            }
        }
        self.end(undisturbed);
    }

    fn open(
        &self,
        disk: &SimulatedDisk,
        configured: &Configured,
    ) -> Result<(EmbeddedLog, Writer, OpenReport), LogError> {
        let named = DESTINATIONS.iter().zip(configured);
        let destinations: BTreeMap<_, _> =
            named.filter_map(|(name, limit)| Some(((*name).to_owned(), (*limit)?))).collect();
        let settings = if destinations.is_empty() {
            Settings::repair(DIR.into())
        } else {
            Settings {
                dir: DIR.into(),
                disk_bytes_max: DISK_BYTES_MAX,
                segment_bytes: SEGMENT_BYTES,
                retention: self.retention,
                destinations,
            }
        };
        let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
        EmbeddedLog::open_unattended(files, settings, self.clock.clone())
    }

    /// Counts what struck, and perhaps lets the power go after the process is gone.
    fn end(&mut self, undisturbed: bool) {
        let struck = self.machine.struck();
        for one in &struck {
            self.tally.strike(one);
            self.tally.count(match one.fault {
                Fault::Cut => Event::Cut,
                Fault::Kill => Event::Killed,
                Fault::Fail => Event::Failed,
            });
        }
        let killed = struck.iter().any(|one| one.fault == Fault::Kill);
        if !undisturbed && !struck.iter().any(|one| one.fault == Fault::Cut) && self.rng.u8(..3) == 0 {
            self.machine.cut();
            self.tally.count(Event::Cut);
            self.tally.count(if killed { Event::CutAfterKill } else { Event::CutAtRest });
        }
    }

    /// Waits for what goes through tokio's blocking thread.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await });
        waited.expect("the log answers")
    }
}

/// How far a destination may be behind: it waits, or is left behind after some requests, or at the disk budget.
fn limit(rng: &mut Rng) -> BacklogLimit {
    let detach = |bytes_max| BacklogLimit { bytes_max, when_full: WhenFull::Detach };
    match rng.u8(..4) {
        0 => BacklogLimit::UNLIMITED,
        1 => detach(u64::MAX),
        _ => detach(rng.u64(4 << 10..DISK_BYTES_MAX / 2)),
    }
}
