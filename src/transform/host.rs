//! What one instance has on the host's side: an empty WASI context, its memory count, its log.

use std::{sync::Arc, time::Duration};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{Deterministic, WasiCtx, WasiCtxView, WasiView, cli::WasiCliCtxView};

use super::{
    contract::{log, types},
    limits::{Deadline, Limits, Memory},
    log::{About, Level, LogTarget},
    printed::Printed,
};

/// The data of an instance's store.
pub(super) struct Host {
    wasi: WasiCtx,
    resources: ResourceTable,
    stdout: Printed,
    stderr: Printed,
    pub(super) memory: Memory,
    pub(super) deadline: Deadline,
    pub(super) index: Arc<str>,
    pub(super) about: About,
    log: LogTarget,
}

/// Streams and pollables that a guest may hold open.
const RESOURCES_MAX: usize = 256;
/// Random bytes of one call: they are made on the host.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Random numbers come from here, again and again: the same for every instance, so that a re-run of a record after a
/// restart gives the same result.
const RANDOM_SEED: u64 = 0x5eed_0f7a_2545_f491;

impl Host {
    pub(super) fn new(index: &str, limits: &Limits, log: LogTarget) -> Self {
        let (stdout, stderr) = (Printed::default(), Printed::default());
        let wasi = WasiCtx::builder()
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .secure_random(random())
            .insecure_random(random())
            .insecure_random_seed(u128::from(RANDOM_SEED))
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi,
            resources,
            stdout,
            stderr,
            memory: Memory::new(limits.memory_bytes_max),
            deadline: Deadline::after(Duration::ZERO),
            index: index.into(),
            about: About::default(),
            log,
        }
    }

    pub(super) fn cli(&mut self) -> WasiCliCtxView<'_> {
        WasiCliCtxView { ctx: self.wasi.cli(), table: &mut self.resources }
    }

    /// Logs what was printed, line by line; of standard error it is returned.
    pub(super) fn log_printed(&self) -> Option<String> {
        let stderr = self.stderr.take();
        for (text, level) in [(self.stdout.take(), Level::Info), (stderr.clone(), Level::Warn)] {
            for line in text.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()) {
                self.log.write(&self.index, &self.about, level, line);
            }
        }
        stderr
    }
}

fn random() -> Deterministic {
    const CYCLE_BYTES: usize = 4096;
    let mut bytes = vec![0; CYCLE_BYTES];
    fastrand::Rng::with_seed(RANDOM_SEED).fill(&mut bytes);
    Deterministic::new(bytes)
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl types::Host for Host {}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log.write(&self.index, &self.about, level, &message);
    }
}
