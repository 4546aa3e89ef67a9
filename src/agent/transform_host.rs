//! Loads the transforms of a config, starts the threads that run them and follows their files. For a config without
//! any, nothing of it is started.

use std::{io, num::NonZero, sync::Arc, thread};

use tokio::{sync::watch, task::spawn_blocking};

use super::StartError;
use crate::{
    config::Config,
    runtime::{Clock, Stop, Tasks},
    transform::{Engine, ModuleStatus, Modules, Settings, Transforms, WatchSettings},
};

/// What runs the transforms of a config.
#[derive(Default)]
pub(super) struct TransformHost {
    transforms: Option<Arc<Transforms>>,
    /// Until they are followed.
    modules: Option<Modules>,
    status: Option<watch::Receiver<Vec<ModuleStatus>>>,
}

impl TransformHost {
    /// Loads every module and starts the threads, which end with this and every clone of its [`Transforms`].
    pub(super) async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        if config.transforms.is_empty() {
            return Ok(Self::default());
        }
        let (transforms, cache_dir) = (config.transforms.clone(), config.data.dir.join("transforms"));
        let load = move || {
            let engine = Engine::new().map_err(|error| StartError::Transforms(format!("{error:#}")))?;
            Ok(Modules::load(&transforms, engine, Some(&cache_dir), clock)?)
        };
        let loaded = spawn_blocking(load).await;
        let modules = loaded.unwrap_or_else(|error| Err(StartError::Transforms(error.to_string())))?;
        let settings = Settings {
            transforms_bytes_max: config.limits.transforms_bytes_max,
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            record_bytes_max: config.limits.record_bytes_max,
        };
        let transforms = Transforms::start(modules.slots(), &settings).map_err(no_thread)?;
        let status = Some(modules.status());
        Ok(Self { transforms: Some(transforms), modules: Some(modules), status })
    }

    /// Follows the files until the stop.
    pub(super) fn follow(&mut self, stop: &Stop, tasks: &Tasks) -> Result<(), StartError> {
        let Some(modules) = self.modules.take() else { return Ok(()) };
        modules.watch(WatchSettings::default(), stop.clone(), tasks).map_err(no_thread)
    }

    /// Runs records through them; `None` if there are none.
    pub(super) fn transforms(&self) -> Option<&Arc<Transforms>> {
        self.transforms.as_ref()
    }

    /// How each module stands, by name ascending.
    pub(super) fn modules(&self) -> Vec<ModuleStatus> {
        self.status.as_ref().map_or_else(Vec::new, |status| status.borrow().clone())
    }
}

fn no_thread(error: io::Error) -> StartError {
    StartError::Transforms(error.to_string())
}
