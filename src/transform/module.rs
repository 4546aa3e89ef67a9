//! A component, compiled and checked against the contract and the import policy.

use std::{fmt, sync::Arc};

use wasmtime::component::{
    Component,
    types::{self, ComponentItem},
};

use super::{
    contract::{InputRecord, Outcome, TransformPre},
    engine::Engine,
    error::LoadError,
    host::Host,
    imports,
    instance::Instance,
    limits::Limits,
    log::LogTarget,
    outcome::Digest,
    words::tamed,
};

/// A module that can be started. Cheap to clone.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    digest: Digest,
    engine: Arc<Engine>,
    component: Component,
    pre: TransformPre<Host>,
}

/// Python's have 18 MB.
const WASM_BYTES_MAX: usize = 64 << 20;
/// What a transform exports.
const TRANSFORMER: &str = "sync-agent:transform/transformer@1.0.0";
/// The index that `init` is told when a module is tried.
const SMOKE_INDEX: &str = "smoke-test";

impl Module {
    /// The largest file that [`Module::compile`] takes.
    pub const BYTES_MAX: usize = WASM_BYTES_MAX;

    /// Compiles a component on this thread, which takes 0.1 s for Rust and 10 s for Python, and checks it.
    ///
    /// # Errors
    /// With what its author should do.
    pub fn compile(engine: &Arc<Engine>, wasm: &[u8]) -> Result<Self, LoadError> {
        is_component(wasm)?;
        let component = Component::from_binary(engine.inner(), wasm)
            .map_err(|error| LoadError::Damaged { problem: tamed(&format!("{error:#}")) })?;
        Self::checked(engine, Digest::of(wasm), component)
    }

    /// Takes what [`Module::serialize`] wrote, which is checked as a component that was just compiled is.
    ///
    /// # Safety
    /// The bytes are run as machine code: they must be what `serialize` returned for the module of that digest, which
    /// the caller has authenticated.
    ///
    /// # Errors
    /// If another version or another machine wrote it, or as [`Module::compile`].
    #[expect(
        unsafe_code,
        reason = "the one door for compiled code; whoever opens it has authenticated what comes in"
    )]
    pub unsafe fn from_compiled(
        engine: &Arc<Engine>,
        digest: Digest,
        compiled: &[u8],
    ) -> Result<Self, LoadError> {
        // SAFETY: by this function's own contract.
        let component = unsafe { Component::deserialize(engine.inner(), compiled) }
            .map_err(|error| LoadError::Host { problem: tamed(&format!("{error:#}")) })?;
        Self::checked(engine, digest, component)
    }

    fn checked(engine: &Arc<Engine>, digest: Digest, component: Component) -> Result<Self, LoadError> {
        for import in import_names(engine, &component) {
            imports::check(&import)?;
        }
        exports_transformer(engine, &component)?;
        let wrong = |error: wasmtime::Error| LoadError::WrongTypes { problem: tamed(&format!("{error:#}")) };
        let pre = engine.linker().instantiate_pre(&component).map_err(wrong)?;
        let pre = TransformPre::new(pre).map_err(wrong)?;
        Ok(Self(Arc::new(Inner { digest, engine: engine.clone(), component, pre })))
    }

    /// Starts an instance and calls it without records, then with one small record, a save of `{}`. Anything but an
    /// outcome for it refuses the module; `fail` is an outcome.
    ///
    /// # Errors
    /// With what its author should do.
    pub fn smoke(&self, config_json: &str, limits: &Limits) -> Result<(), LoadError> {
        Instance::start(self, SMOKE_INDEX, config_json, limits, LogTarget::Nowhere)?.smoke(limits)
    }

    /// The compiled code, for [`Module::from_compiled`].
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn serialize(&self) -> Result<Vec<u8>, LoadError> {
        self.0.component.serialize().map_err(|error| LoadError::Host { problem: error.to_string() })
    }

    /// The SHA-256 of the bytes that it was compiled from.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The interfaces that it imports, with their versions.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        import_names(&self.0.engine, &self.0.component)
    }

    /// The interfaces that it exports, with their versions.
    #[must_use]
    pub fn exports(&self) -> Vec<String> {
        export_names(&self.0.engine, &self.0.component)
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    pub(super) fn pre(&self) -> &TransformPre<Host> {
        &self.0.pre
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Module").field(&self.0.digest).finish()
    }
}

/// Tells apart by the first bytes what parsers tell in riddles
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
fn is_component(wasm: &[u8]) -> Result<(), LoadError> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE: &[u8] = &[1, 0, 0, 0];
    let not_wasm = |found: &str| Err(LoadError::NotWasm { found: found.to_owned() });
    if wasm.len() > WASM_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: wasm.len(), limit: WASM_BYTES_MAX });
    }
    match wasm.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(CORE) => Err(LoadError::NotComponent),
        Some(_) => Ok(()),
        None if wasm.is_empty() => not_wasm("the file is empty"),
        None if wasm.starts_with(&[0x1f, 0x8b]) => not_wasm("it is compressed with gzip"),
        None if wasm.trim_ascii_start().starts_with(b"(") => not_wasm("it is WebAssembly as text"),
        None if wasm.starts_with(b"\x7fELF") => not_wasm("it is a program for this machine"),
        None => not_wasm("it does not begin as such a file does"),
    }
}

fn import_names(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine.inner()).map(|(name, _)| name.to_owned()).collect()
}

fn export_names(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().exports(engine.inner()).map(|(name, _)| name.to_owned()).collect()
}

fn exports_transformer(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    const NAME: &str = "sync-agent:transform/transformer";
    let component_type = component.component_type();
    let exported = component_type.get_export(engine.inner(), TRANSFORMER);
    if let Some(ComponentItem::ComponentInstance(transformer)) = exported.map(|exported| exported.ty) {
        return has_types(engine, &component_type, &transformer)
            .map_err(|error| LoadError::WrongTypes { problem: tamed(&format!("{error:#}")) });
    }
    let names = export_names(engine, component);
    if let Some(found) = names.iter().find(|name| name.starts_with(NAME)) {
        return Err(LoadError::WrongVersion { found: tamed(found), expected: TRANSFORMER.to_owned() });
    }
    let found = if names.is_empty() {
        "it exports nothing".to_owned()
    } else {
        format!("it exports {}", names.join(", "))
    };
    Err(LoadError::NoExport { expected: TRANSFORMER.to_owned(), found: tamed(&found) })
}

/// Whether the functions are those of the contract; without this their types would be looked at by every start.
fn has_types(
    engine: &Engine,
    component_type: &types::Component,
    transformer: &types::ComponentInstance,
) -> wasmtime::Result<()> {
    let function = |name| match transformer.get_export(engine.inner(), name).map(|exported| exported.ty) {
        Some(ComponentItem::ComponentFunc(function)) => Ok(function),
        _ => Err(wasmtime::format_err!("there is no function `{name}`")),
    };
    let context = component_type.instance_type();
    function("init")?.typecheck::<(&str, &str), (Result<(), String>,)>(&context)?;
    function("transform")?.typecheck::<(&[InputRecord<'_>],), (Vec<Outcome>,)>(&context)
}
