//! The modules of a config: loaded together at the start, each then followed by what lies at its path.

use std::{
    fmt,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use plugin_api::identity::Timestamp;
use thiserror::Error;
use tokio::sync::watch;

use super::{
    engine::Engine,
    limits::Limits,
    load::{Loader, Refusal, STACK_BYTES},
    outcome::Digest,
    slot::Slot,
    watch::{ReadError, Stamp, read_settled},
};
use crate::{config::Transform, runtime::Clock};

/// How long a file must have been left alone before it is read: an editor or a copy may be in the middle of it.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// How a transform's module stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleStatus {
    /// The transform.
    pub transform: Arc<str>,
    /// The module that serves.
    pub module: Digest,
    /// The how-manieth it is.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
    /// What lies at the path and does not serve, if it is another.
    pub refused: Option<Refused>,
}

/// What does not serve, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which module; `None` if the file could not be read.
    pub module: Option<Digest>,
    /// Since when it is known.
    pub since: Timestamp,
    /// Why, for its author.
    pub reason: Refusal,
}

/// Every module that does not load, when nothing serves yet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ModuleErrors(pub Vec<ModuleError>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleError {
    /// The transform.
    pub transform: Arc<str>,
    /// Where its module should be.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: Refusal,
}

impl ModuleError {
    /// The key of the config that it concerns, and what is wrong.
    #[must_use]
    pub fn in_config(&self) -> (String, String) {
        (format!("transforms.{}.path", self.transform), format!("{:?}: {}", self.path, self.reason))
    }
}

impl fmt::Display for ModuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, ModuleError { transform, path, reason }) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}transform {transform}: {}: {reason}", path.display())?;
        }
        Ok(())
    }
}

/// The modules of a config, all of which serve.
pub struct Modules {
    pub(super) loader: Loader,
    pub(super) followed: Vec<Followed>,
    pub(super) status: watch::Sender<Vec<ModuleStatus>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A module with its file.
pub(super) struct Followed {
    pub(super) slot: Arc<Slot>,
    pub(super) path: PathBuf,
    pub(super) sha256: Option<Digest>,
    /// What was seen at the path when it was last dealt with.
    pub(super) seen: Result<Stamp, ReadError>,
    /// What was read there then; `None` if nothing could be.
    pub(super) read: Option<Digest>,
}

/// What becomes of a module that does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// Nothing serves.
    Refuse,
    /// The one of its transform that was accepted last serves, if there is one.
    LastAccepted,
}

impl Followed {
    /// One that serves already. What lies at its path is looked at anew.
    fn serving(slot: &Arc<Slot>, transform: &Transform) -> Self {
        let (path, sha256) = (transform.path.clone(), transform.sha256.map(Digest));
        Self { slot: slot.clone(), path, sha256, seen: Err(ReadError::Missing), read: None }
    }
}

impl Modules {
    /// Loads every module, several at once, and lets it serve. Blocks while they compile. `dir` is where compiled code
    /// and the last accepted modules are kept; `None` writes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(
        transforms: &[Transform],
        engine: Arc<Engine>,
        dir: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ModuleErrors> {
        Self::load_beside(&[], transforms, Loader::new(engine, dir), clock, Otherwise::Refuse)
    }

    /// The same, but for transforms that serve already, which go on as they are; and `otherwise` says what becomes of a
    /// module that does not load.
    pub(crate) fn load_beside(
        serving: &[(Arc<Slot>, ModuleStatus)],
        transforms: &[Transform],
        loader: Loader,
        clock: Arc<dyn Clock>,
        otherwise: Otherwise,
    ) -> Result<Self, ModuleErrors> {
        let queue = Mutex::new(transforms.iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let loaded = Mutex::new(Vec::new());
        let work = || {
            while let Some(transform) = next() {
                let serves = serving.iter().find(|(slot, _)| slot.name() == &transform.name);
                let result = match serves {
                    Some((slot, status)) => Ok((Followed::serving(slot, transform), status.clone())),
                    None => load(transform, &loader, &*clock, otherwise),
                };
                loaded.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(transforms.len());
        thread::scope(|scope| {
            for _ in 0..threads {
                let builder = thread::Builder::new().name("transform-load".to_owned());
                if builder.stack_size(STACK_BYTES).spawn_scoped(scope, work).is_err() {
                    // Whoever is here does it then.
                    work();
                }
            }
        });
        let (mut modules, mut errors) = (Vec::new(), Vec::new());
        for result in loaded.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match result {
                Ok(module) => modules.push(module),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            errors.sort_unstable_by(|a: &ModuleError, b| a.transform.cmp(&b.transform));
            return Err(ModuleErrors(errors));
        }
        modules.sort_unstable_by(|(_, a), (_, b)| a.transform.cmp(&b.transform));
        let (followed, status): (Vec<_>, Vec<_>) = modules.into_iter().unzip();
        Ok(Self { loader, followed, status: watch::Sender::new(status), clock })
    }

    /// The slots, by name ascending.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.followed.iter().map(|followed| followed.slot.clone()).collect()
    }

    /// How each of them stands, by name ascending.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Vec<ModuleStatus>> {
        self.status.subscribe()
    }
}

fn load(
    transform: &Transform,
    loader: &Loader,
    clock: &dyn Clock,
    otherwise: Otherwise,
) -> Result<(Followed, ModuleStatus), ModuleError> {
    let limits = Limits { cpu_max: transform.cpu_max, memory_bytes_max: transform.memory_bytes_max };
    let slot = Slot::new(transform.name.clone(), &*transform.config, limits);
    let sha256 = transform.sha256.map(Digest);
    let start = Instant::now();
    let module = read_patiently(&transform.path).map_err(Refusal::from).and_then(|(stamp, wasm)| {
        let digest = Digest::of(&wasm);
        let module = loader.load(&wasm, digest, sha256, &slot)?;
        loader.keep(&transform.name, &wasm);
        Ok((Ok(stamp), module))
    });
    let kept = |reason: &Refusal| {
        let kept =
            matches!(otherwise, Otherwise::LastAccepted).then(|| loader.kept(&transform.name, &slot))??;
        let path = transform.path.display();
        tracing::error!(
            transform = %transform.name, %path, %reason, serving = %kept.digest(),
            "module of a transform is refused, the last one that was accepted serves",
        );
        Some(kept)
    };
    let mut refused = None;
    let (seen, module) = module.or_else(|reason| match kept(&reason) {
        Some(module) => {
            refused = Some(Refused { module: None, since: clock.now(), reason });
            Ok((Err(ReadError::Missing), module))
        }
        None => Err(ModuleError { transform: transform.name.clone(), path: transform.path.clone(), reason }),
    })?;
    let digest = module.digest();
    let generation = slot.swap(module);
    let milliseconds = start.elapsed().as_millis();
    tracing::info!(transform = %transform.name, module = %digest, generation, milliseconds, "transform loaded");
    let status = ModuleStatus {
        transform: transform.name.clone(),
        module: digest,
        generation,
        since: clock.now(),
        refused,
    };
    let path = transform.path.clone();
    Ok((Followed { slot, path, sha256, seen, read: Some(digest) }, status))
}

/// Reads a file that may be in the making, for a few seconds at most.
fn read_patiently(path: &Path) -> Result<(Stamp, Vec<u8>), ReadError> {
    const ATTEMPTS: usize = 20;
    for _ in 1..ATTEMPTS {
        match read_settled(path, QUIET) {
            Err(ReadError::Changing) => {}
            settled => return settled,
        }
    }
    read_settled(path, QUIET)
}
