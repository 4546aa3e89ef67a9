//! From the bytes of a file to a module that may serve: the right one (`sha256`), compiled, checked and tried.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::{
    cache::{Cache, CompiledCode},
    engine::Engine,
    error::LoadError,
    module::Module,
    outcome::Digest,
    slot::Slot,
    watch::ReadError,
};
use crate::runtime::files;

/// Stack of a thread that compiles. The compiler goes as deep as the module nests.
pub(super) const STACK_BYTES: usize = 8 << 20;

/// Why what lies at a transform's path does not serve, as a sentence for its author without its beginning, the path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is nothing that can be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// It is not the module that the config names.
    #[error(
        "its SHA-256 is {found}, but the config wants {wanted}: put that module in its place, or change `sha256`"
    )]
    OtherModule {
        /// What it has.
        found: Digest,
        /// `sha256`
        wanted: Digest,
    },
    /// It is no transform, or one that does not start.
    #[error(transparent)]
    Module(#[from] LoadError),
}

/// Makes modules of bytes.
pub(crate) struct Loader {
    engine: Arc<Engine>,
    cache: Option<Cache>,
    /// Where the last accepted module of each transform is kept.
    kept_dir: Option<PathBuf>,
}

impl Loader {
    /// Compiles for this engine. `dir` is where compiled code and accepted modules are kept; without one, or if it cannot
    /// be used, every module is compiled anew.
    pub(crate) fn new(engine: Arc<Engine>, dir: Option<&Path>) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.compatibility().hash(&mut hasher);
        let fingerprint = hasher.finish();
        let open = |dir: &Path| match Cache::open(dir, fingerprint) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "compiled modules cannot be kept: every start compiles them");
                None
            }
        };
        Self { engine, cache: dir.and_then(open), kept_dir: dir.map(|dir| dir.join("accepted")) }
    }

    /// Keeps what serves now, for a start on which nothing else does.
    pub(super) fn keep(&self, transform: &str, wasm: &[u8]) {
        let Some(path) = self.kept_path(transform) else { return };
        if fs::read(&path).is_ok_and(|kept| kept == wasm) {
            return;
        }
        if let Err(error) = files::replace(&path, wasm) {
            tracing::warn!(transform, path = %path.display(), %error, "accepted module cannot be kept");
        }
    }

    /// The module that was accepted last, if it still loads.
    pub(super) fn kept(&self, transform: &str, slot: &Slot) -> Option<Module> {
        let wasm = fs::read(self.kept_path(transform)?).ok()?;
        self.load(&wasm, Digest::of(&wasm), None, slot).ok()
    }

    fn kept_path(&self, transform: &str) -> Option<PathBuf> {
        Some(self.kept_dir.as_ref()?.join(format!("{transform}.wasm")))
    }

    /// The module, after a trial call in the slot's settings. Blocks while it compiles.
    pub(super) fn load(
        &self,
        wasm: &[u8],
        digest: Digest,
        sha256: Option<Digest>,
        slot: &Slot,
    ) -> Result<Module, Refusal> {
        if let Some(wanted) = sha256.filter(|wanted| *wanted != digest) {
            return Err(Refusal::OtherModule { found: digest, wanted });
        }
        // What a compiler of a million lines does with a stranger's bytes must not end the agent.
        let made = catch_unwind(AssertUnwindSafe(|| self.make(wasm, digest, slot)));
        let problem = "the compiler failed on it; please report the module".to_owned();
        Ok(made.unwrap_or(Err(LoadError::Host { problem }))?)
    }

    fn make(&self, wasm: &[u8], digest: Digest, slot: &Slot) -> Result<Module, LoadError> {
        let kept = self.cache.as_ref().and_then(|cache| cache.get(&digest));
        if let Some(module) = kept.and_then(|code| self.restore(&digest, &code)) {
            module.smoke(slot.config(), slot.limits())?;
            return Ok(module);
        }
        let module = Module::compile(&self.engine, wasm)?;
        module.smoke(slot.config(), slot.limits())?;
        if let Some(cache) = &self.cache {
            match module.serialize() {
                Ok(code) => cache.put(&digest, &code),
                Err(error) => tracing::warn!(module = %digest, %error, "compiled module cannot be kept"),
            }
        }
        Ok(module)
    }

    #[expect(
        unsafe_code,
        reason = "`CompiledCode` is what `serialize` returned for this digest in this agent's own process or an earlier \
                  one, as its MAC proves; wasmtime compares version, machine and settings itself"
    )]
    fn restore(&self, digest: &Digest, code: &CompiledCode) -> Option<Module> {
        // SAFETY: see the reason.
        let restored = unsafe { Module::from_compiled(&self.engine, *digest, code.bytes()) };
        match restored {
            Ok(module) => Some(module),
            Err(error) => {
                tracing::warn!(module = %digest, %error, "compiled module does not load: compiling it again");
                if let Some(cache) = &self.cache {
                    cache.remove(digest);
                }
                None
            }
        }
    }
}
