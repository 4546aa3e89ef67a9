//! The modules that were built beside this binary (`build.rs`), from `transforms/`.

/// Removes the fields that its config names.
pub(super) const REDACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/redact.wasm"));

/// Looks at nothing.
pub(super) const UNCHANGED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/unchanged.wasm"));
