//! Loads the transforms of a config, starts the threads that run them and follows their files. A config without any
//! starts nothing.

use std::{num::NonZero, sync::Arc, thread};

use tokio::{sync::watch, task::spawn_blocking};

use super::StartError;
use crate::{
    config::Config,
    runtime::{Clock, Stop, Tasks},
    transform::{Engine, ModuleStatus, Modules, Settings, Transforms, WatchSettings},
};

/// What runs the transforms of a config.
pub(super) struct Transforming {
    transforms: Arc<Transforms>,
    modules: watch::Receiver<Vec<ModuleStatus>>,
}

/// Loads every module.
pub(super) async fn load(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Modules>, StartError> {
    if config.transforms.is_empty() {
        return Ok(None);
    }
    let (transforms, cache_dir) = (config.transforms.clone(), config.data.dir.join("transforms"));
    let load = move || {
        let engine = Engine::new().map_err(|error| StartError::Transforms(format!("{error:#}")))?;
        Ok(Modules::load(&transforms, engine, Some(&cache_dir), clock)?)
    };
    let loaded = spawn_blocking(load).await;
    loaded.unwrap_or_else(|error| Err(StartError::Transforms(error.to_string()))).map(Some)
}

impl Transforming {
    /// Starts everything; the files are followed until the stop.
    pub(super) fn start(
        modules: Modules,
        config: &Config,
        stop: &Stop,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let settings = Settings {
            transforms_bytes_max: config.limits.transforms_bytes_max,
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            record_bytes_max: config.limits.record_bytes_max,
        };
        let no_thread = |error: std::io::Error| StartError::Transforms(error.to_string());
        let transforms = Transforms::start(modules.slots(), &settings).map_err(no_thread)?;
        let status = modules.status();
        modules.watch(WatchSettings::default(), stop.clone(), tasks).map_err(no_thread)?;
        Ok(Self { transforms, modules: status })
    }

    /// How each module stands, by name ascending.
    pub(super) fn modules(&self) -> Vec<ModuleStatus> {
        self.modules.borrow().clone()
    }

    /// Runs records through them.
    pub(super) fn transforms(&self) -> &Arc<Transforms> {
        &self.transforms
    }
}
