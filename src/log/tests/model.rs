//! The log against a model of it: any sequence of appends, reads, commits, restarts and crashes.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;

use super::*;
use crate::log::interface::From;

const DESTINATIONS: [&str; 3] = ["archive", "mirror", "search"];

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: u32,
        bytes: usize,
    },
    /// A destination comes so much further towards the end, in percent.
    Commit {
        destination: usize,
        percent: u64,
    },
    /// Reads from so far between start and end, in percent.
    Read {
        percent: u64,
    },
    /// Closes and opens.
    Restart,
    /// Goes on in what kill -9 would leave.
    Crash,
    /// Sets the clock.
    Clock {
        time: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1..6u32, 8..6000usize).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        5 => (0..DESTINATIONS.len(), 0..=100u64)
            .prop_map(|(destination, percent)| Step::Commit { destination, percent }),
        2 => (0..=100u64).prop_map(|percent| Step::Read { percent }),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => (1..4_000_000u64).prop_map(|time| Step::Clock { time }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What must be true of the log.
#[derive(Default)]
struct Model {
    /// By offset: records, number, and the first record's version.
    frames: BTreeMap<u64, (u32, u64, u64)>,
    end: u64,
    last_version: u64,
    cursors: BTreeMap<&'static str, u64>,
}

struct Run {
    bench: Bench,
    dir: PathBuf,
    log: Option<EmbeddedLog>,
    model: Model,
    crashes: u32,
}

impl Run {
    async fn new() -> Self {
        let mut bench = Bench::new();
        bench.disk_bytes_max = 96 << 10;
        bench.destinations = DESTINATIONS.map(str::to_owned).to_vec();
        let dir = bench.dir();
        let cursors = DESTINATIONS.map(|destination| (destination, 0)).into();
        let model = Model { cursors, ..Model::default() };
        let mut run = Self { bench, dir, log: None, model, crashes: 0 };
        run.open().await;
        run
    }

    fn log(&self) -> &EmbeddedLog {
        self.log.as_ref().unwrap()
    }

    async fn open(&mut self) {
        self.log = None;
        let (log, report) = self.bench.try_open(self.dir.clone()).unwrap();
        assert_eq!((report.end.offset, report.torn_bytes, report.alerts.len()), (self.model.end, 0, 0));
        for (destination, cursor) in &self.model.cursors {
            let found = log.subscribe(destination, From::Oldest).await.unwrap();
            assert_eq!((found.progress, found.alert), (progress(*cursor), None), "{destination}");
        }
        self.log = Some(log);
        self.check_disk();
    }

    async fn step(&mut self, number: u64, step: Step) {
        match step {
            Step::Append { records, bytes } => self.append(number, records, bytes).await,
            Step::Commit { destination, percent } => {
                let destination = DESTINATIONS[destination];
                let cursor = self.model.cursors[destination];
                let next = cursor + (self.model.end - cursor) * percent / 100;
                self.log().commit(destination, &progress(next)).await.unwrap();
                self.model.cursors.insert(destination, next);
                self.check_disk();
            }
            Step::Read { percent } => self.read(percent).await,
            Step::Restart => {
                self.log().close().await;
                self.open().await;
            }
            Step::Crash => {
                self.crashes += 1;
                let next = self.bench.root.path().join(format!("crash-{}", self.crashes));
                copy_directory(&self.dir, &next);
                self.dir = next;
                self.open().await;
            }
            Step::Clock { time } => self.bench.clock.0.store(time, Ordering::SeqCst),
        }
    }

    async fn append(&mut self, number: u64, records: u32, bytes: usize) {
        match self.log().append(request(number, records, bytes)).await {
            Ok(appended) => {
                let version = self.bench.clock.now().0.max(self.model.last_version + 1);
                assert_eq!((appended.position, appended.version.0), (position(self.model.end), version));
                self.model.frames.insert(self.model.end, (records, number, version));
                self.model.end += u64::from(records);
                self.model.last_version = version + u64::from(records) - 1;
            }
            Err(AppendError::Full { used, budget, .. }) => {
                assert!(used <= budget && used + (16 << 10) > budget, "{used} of {budget}");
                let lowest = self.model.cursors.values().min().unwrap();
                assert!(*lowest < self.model.end, "full although everything was delivered");
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(self.log().status().end.offset, self.model.end);
        self.check_disk();
    }

    async fn read(&self, percent: u64) {
        let start = self.log().status().start.offset;
        let from = start + (self.model.end - start) * percent / 100;
        let first = self.model.frames.range(..=from).next_back().map_or(0, |(offset, _)| *offset);
        let expected: Vec<_> = if from == self.model.end {
            Vec::new()
        } else {
            self.model.frames.range(first..).map(|(offset, frame)| (*offset, *frame)).collect()
        };
        let frames = read_all(self.log(), from).await;
        let found: Vec<_> = frames
            .iter()
            .zip(numbers(&frames))
            .map(|(frame, number)| (frame.position.offset, (frame.records, number, frame.version.0)))
            .collect();
        assert_eq!(found, expected, "from {from}");
    }

    /// Everything that somebody needs is there, nothing else is but the newest segment, and the budget holds.
    fn check_disk(&self) {
        let lowest = *self.model.cursors.values().min().unwrap();
        let status = self.log().status();
        assert!(status.start.offset <= lowest, "{status:?}, lowest cursor {lowest}");
        let segments = segments_in(&self.dir);
        let base = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(status.start.offset, segments.first().map_or(0, base));
        let on_disk: u64 = segments.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(on_disk <= status.disk_bytes && status.disk_bytes <= self.bench.disk_bytes_max, "{status:?}");
    }

    /// After a commit, at the latest, nothing stays that everyone is past.
    fn check_given_back(&self) {
        let lowest = *self.model.cursors.values().min().unwrap();
        let bases: Vec<u64> = segments_in(&self.dir)
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        assert!(bases.iter().skip(1).all(|base| *base > lowest), "{bases:?}, lowest cursor {lowest}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// G1, G3: whatever happens, the log holds exactly what it has acknowledged, cursors included.
    #[test]
    fn log_agrees_with_its_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for (number, step) in steps.into_iter().enumerate() {
                let commits = matches!(step, Step::Commit { .. });
                run.step(number as u64, step).await;
                if commits {
                    run.check_given_back();
                }
            }
            run.read(0).await;
            run.read(100).await;
        });
    }
}
