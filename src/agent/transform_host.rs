//! Loads the transforms of a config, starts the threads that run them and follows their files. For a config without
//! any, nothing of it is started.

use std::{io, num::NonZero, path::PathBuf, sync::Arc, thread};

use tokio::{sync::watch, task::spawn_blocking};

use super::StartError;
use crate::{
    config::Config,
    runtime::{Clock, Stop, Tasks},
    transform::{
        Engine, Loader, ModuleStatus, Modules, Otherwise, Settings, Slot, Status, Transforms, WatchSettings,
    },
};

/// What runs the transforms of a config; a reload makes the next one of it.
#[derive(Default)]
pub(super) struct TransformHost {
    dir: PathBuf,
    engine: Option<Arc<Engine>>,
    transforms: Option<Arc<Transforms>>,
    status: Option<watch::Receiver<Vec<ModuleStatus>>>,
    /// Until they are followed.
    modules: Option<Modules>,
    /// Ends following.
    followed: Stop,
}

impl TransformHost {
    /// Loads every module and starts the threads, which end with this and every clone of its [`Transforms`].
    pub(super) async fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        otherwise: Otherwise,
    ) -> Result<Self, StartError> {
        Self { dir: config.data.dir.join("transforms"), ..Self::default() }
            .next(None, config, clock, otherwise)
            .await
    }

    /// The transforms of the config after `before`: those of which nothing has changed serve on as they are. Nothing of
    /// this one is touched before the next is followed.
    pub(super) async fn next(
        &self,
        before: Option<&Config>,
        config: &Config,
        clock: Arc<dyn Clock>,
        otherwise: Otherwise,
    ) -> Result<Self, StartError> {
        let dir = self.dir.clone();
        if config.transforms.is_empty() {
            return Ok(Self { dir, engine: self.engine.clone(), ..Self::default() });
        }
        let unchanged = |slot: &&Arc<Slot>| {
            let of = |config: &Config| {
                config.transforms.iter().find(|transform| transform.name == *slot.name()).cloned()
            };
            before.is_some_and(|before| of(before) == of(config))
        };
        let slots = self.transforms.iter().flat_map(|transforms| transforms.slots()).filter(unchanged);
        let status = self.modules();
        let serving: Vec<_> = slots
            .filter_map(|slot| {
                let status = status.iter().find(|status| status.transform == *slot.name())?;
                Some((slot.clone(), status.clone()))
            })
            .collect();
        let (transforms, engine, of_dir) = (config.transforms.clone(), self.engine.clone(), dir.clone());
        let load = move || {
            let engine = match engine {
                Some(engine) => engine,
                None => Engine::new().map_err(|error| StartError::Transforms(format!("{error:#}")))?,
            };
            let loader = Loader::new(engine.clone(), Some(&of_dir));
            Ok((engine, Modules::load_beside(&serving, &transforms, loader, clock, otherwise)?))
        };
        let loaded = spawn_blocking(load).await;
        let (engine, modules) =
            loaded.unwrap_or_else(|error| Err(StartError::Transforms(error.to_string())))?;
        let settings = Settings {
            transforms_bytes_max: config.limits.transforms_bytes_max,
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            record_bytes_max: config.limits.record_bytes_max,
        };
        let same_settings = before.is_some_and(|before| {
            let (before, now) = (&before.limits, &config.limits);
            before.transforms_bytes_max == now.transforms_bytes_max
                && before.record_bytes_max == now.record_bytes_max
        });
        let transforms = match &self.transforms {
            Some(running) if same_settings => running.with(modules.slots()),
            _ => Transforms::start(modules.slots(), &settings).map_err(no_thread)?,
        };
        Ok(Self {
            dir,
            engine: Some(engine),
            transforms: Some(transforms),
            status: Some(modules.status()),
            modules: Some(modules),
            followed: Stop::new(),
        })
    }

    /// Follows the files until the stop, or until [`TransformHost::leave`].
    pub(super) fn follow(&mut self, stop: &Stop, tasks: &Tasks) -> Result<(), StartError> {
        let Some(modules) = self.modules.take() else { return Ok(()) };
        self.followed = stop.child_token();
        modules.watch(WatchSettings::default(), self.followed.clone(), tasks).map_err(no_thread)
    }

    /// Follows the files no longer.
    pub(super) fn leave(&self) {
        self.followed.cancel();
    }

    /// Runs records through them; `None` if there are none.
    pub(super) fn transforms(&self) -> Option<&Arc<Transforms>> {
        self.transforms.as_ref()
    }

    /// How each module stands, by name ascending.
    pub(super) fn modules(&self) -> Vec<ModuleStatus> {
        self.status.as_ref().map_or_else(Vec::new, |status| status.borrow().clone())
    }

    /// What each of them did on each index, since the start of its threads.
    pub(super) fn work(&self) -> Vec<Status> {
        self.transforms.as_ref().map_or_else(Vec::new, |transforms| transforms.status())
    }
}

fn no_thread(error: io::Error) -> StartError {
    StartError::Transforms(error.to_string())
}
