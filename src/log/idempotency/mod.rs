//! Recognises requests that were accepted before, by the producer's idempotency key.
//!
//! A key is remembered from the fdatasync that covers its request on, for ten minutes, and a million of them, at most;
//! in memory alone, since the log has them all: `rebuild` collects them anew when a log is opened. While a request is
//! on its way to the disk its repeats wait for its outcome (`flights`), whatever that will be: who was refused has
//! left nothing behind.
//!
//! In the order of a request's way: `key` (what a key means: caller, index, text), `flights` (who is first), `table`
//! (what was accepted, and who must forget when memory is full) on `slab` and `lookup`, `block` (the keys of a segment
//! on disk), `rebuild`; and above them all `repeats`, what the log asks.

mod key;

mod flights;

mod lookup;
mod slab;
mod table;

mod block;
mod rebuild;

mod repeats;

pub(super) use block::{Collected, KEY_BYTES, Place};
pub(super) use flights::Claim;
pub(super) use key::Accepted;
pub(super) use rebuild::{Source, rebuild};
pub(super) use repeats::{Claimed, Repeats};
pub(super) use table::Bounds;

#[cfg(test)]
mod tests;
