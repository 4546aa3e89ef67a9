//! Why a module is refused and why a call went wrong, in words that tell the module's author what to do.

use std::time::Duration;

use thiserror::Error;

/// Why a module does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The file is no WebAssembly at all.
    #[error(
        "it is not WebAssembly ({found}): give the .wasm file that the build wrote, for a Rust crate target/wasm32-wasip2/release/NAME.wasm"
    )]
    NotWasm {
        /// What it looks like instead.
        found: String,
    },
    /// More than the host compiles.
    #[error(
        "it has {bytes} bytes, the limit is {limit}: leave out what it embeds, and build it with optimisation for size"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A core module, as other targets make them.
    #[error(
        "it is a core WebAssembly module, not a component: build for the target wasm32-wasip2 (cargo build --release --target wasm32-wasip2), or wrap it with `wasm-tools component new`"
    )]
    NotComponent,
    /// It begins as a component and goes on as none.
    #[error(
        "it is a damaged or half-written component ({problem}): build it again, and move it into place whole"
    )]
    Damaged {
        /// The parser's words.
        problem: String,
    },
    /// It imports what the sandbox does not have.
    #[error("it imports {import}, which a transform does not get: {remedy}")]
    ForbiddenImport {
        /// The interface, with its version.
        import: String,
        /// How to build without it.
        remedy: String,
    },
    /// It exports the contract in another version.
    #[error(
        "it was built for {found}, this agent runs {expected}: build it with the SDK of this agent's version"
    )]
    WrongVersion {
        /// What it exports or imports.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// It does not export the contract.
    #[error(
        "it does not export {expected} ({found}): build it for the world `transform` of transform.wit; with the SDK, the macro that exports the transform is missing"
    )]
    NoExport {
        /// What is missing.
        expected: String,
        /// What it exports.
        found: String,
    },
    /// Names are right, types are not.
    #[error(
        "its types are not those of the contract ({problem}): build it against the transform.wit of this agent's version, unchanged"
    )]
    WrongTypes {
        /// wasmtime's words.
        problem: String,
    },
    /// `init` returned an error.
    #[error("init refused to start: {message}; look at the transform's `config` table")]
    InitRefused {
        /// The guest's words.
        message: String,
    },
    /// `init`, or what runs before it, went wrong.
    #[error("it went wrong while it started: {error}")]
    Start {
        /// How.
        error: CallError,
    },
    /// It was started and failed the call that tries it.
    #[error("it failed on a trial call with {records}: {error}")]
    Smoke {
        /// What the call had.
        records: &'static str,
        /// How.
        error: CallError,
    },
    /// The host could not, for reasons of its own.
    #[error("it could not be loaded: {problem}")]
    Host {
        /// What happened.
        problem: String,
    },
}

/// Why a call has no outcomes. The instance is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// It crashed.
    #[error("{reason}")]
    Trapped {
        /// How, and what the guest printed of it.
        reason: String,
    },
    /// It asked for more memory than it may have, and crashed.
    #[error(
        "it ran out of memory: it asked for {wanted} bytes, the limit is {limit}: raise memory_bytes_max, or hold less at once"
    )]
    OutOfMemory {
        /// What it would have held.
        wanted: usize,
        /// The limit.
        limit: usize,
    },
    /// It spent its time.
    #[error("it did not end within {} ms of CPU time: look for an endless loop, or raise cpu_ms_max", limit.as_millis())]
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
    /// It returned more than the host takes.
    #[error("it returned more than {limit} bytes at once: return less for each record")]
    TooMuchReturned {
        /// The limit.
        limit: usize,
    },
    /// It did not return one outcome for each record.
    #[error(
        "it returned {found} outcomes for {expected} records: return exactly one for each, in their order"
    )]
    WrongCount {
        /// How many it returned.
        found: usize,
        /// How many records it was given.
        expected: usize,
    },
}

impl CallError {
    /// Whether it is a matter of time.
    #[must_use]
    pub fn is_time_out(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}
