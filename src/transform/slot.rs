//! The place of a transform under its name: what it is configured to be, and the module that serves there now.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{limits::Limits, log::LogRate, meters::Meters, module::Module};

/// One transform of the config.
#[derive(Debug)]
pub struct Slot {
    name: Arc<str>,
    config: String,
    limits: Limits,
    serving: ArcSwapOption<Serving>,
    log_rate: Arc<LogRate>,
    meters: Meters,
}

/// The module that serves, and the how-manieth it is.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Never the same for two swaps of the process, whatever slots they were in.
    pub generation: u64,
    /// What runs.
    pub module: Module,
}

impl Slot {
    /// A slot in which nothing serves yet. `config` is the JSON object that `init` gets.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, config: impl Into<String>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            config: config.into(),
            limits,
            serving: ArcSwapOption::empty(),
            log_rate: Arc::default(),
            meters: Meters::default(),
        })
    }

    /// The transform's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The `config` table as JSON.
    #[must_use]
    pub fn config(&self) -> &str {
        &self.config
    }

    /// What it may spend.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted and measured of it.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Lets another module serve: calls that begin from now on run it. Returns its generation.
    pub fn swap(&self, module: Module) -> u64 {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        self.serving.store(Some(Arc::new(Serving { generation, module })));
        generation
    }

    /// What serves now; `None` until the first [`Slot::swap`].
    #[must_use]
    pub fn current(&self) -> Option<Arc<Serving>> {
        self.serving.load_full()
    }

    pub(super) fn log_rate(&self) -> &Arc<LogRate> {
        &self.log_rate
    }
}
