//! One engine for the process: how modules are compiled, and the ticks at which running guests are looked at.

use std::{sync::Arc, thread, time::Duration};

use wasmtime::{Config, OptLevel, component::Linker};

use super::{host::Host, imports};

/// Compiles modules, and lets them be interrupted.
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Linker<Host>,
}

/// How often a running guest's time is looked at. Its deadline is exact to this.
const TICK: Duration = Duration::from_millis(5);

/// Stack that a guest may use, of the 2 MiB that a thread has.
const GUEST_STACK_BYTES_MAX: usize = 1 << 20;

impl Engine {
    /// Starts the engine and its ticker, a thread that ends when the engine is dropped.
    ///
    /// # Errors
    /// If this machine cannot run WebAssembly, or no thread can be started.
    pub fn new() -> wasmtime::Result<Arc<Self>> {
        let mut config = Config::new();
        config.wasm_component_model(true);
        config.epoch_interruption(true);
        config.cranelift_opt_level(OptLevel::Speed);
        config.max_wasm_stack(GUEST_STACK_BYTES_MAX);
        let inner = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&inner);
        imports::link(&mut linker)?;
        let weak = inner.weak();
        thread::Builder::new().name("transform-tick".to_owned()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })?;
        Ok(Arc::new(Self { inner, linker }))
    }

    /// What compiled code depends on besides the module: code of one engine must not be run by another that says
    /// something else here.
    #[must_use]
    pub fn compatibility(&self) -> impl std::hash::Hash + '_ {
        self.inner.precompile_compatibility_hash()
    }

    pub(super) fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }

    pub(super) fn linker(&self) -> &Linker<Host> {
        &self.linker
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
