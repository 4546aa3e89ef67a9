//! The generated side of `transforms/wit/transform.wit`: records go in borrowed, outcomes come out owned.

wasmtime::component::bindgen!({
    path: "transforms/wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(super) use self::sync_agent::transform::{log, types};
pub(super) use exports::sync_agent::transform::transformer::{InputRecord, Outcome};
