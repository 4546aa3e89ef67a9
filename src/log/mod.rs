//! The durable log: requests go in, are safe on disk when the append returns, and are read by every destination
//! from its own cursor.
//!
//! [`interface`] is what the rest of the agent knows of a log; `FORMAT.md` shows the bytes of the embedded one.

pub mod interface;
