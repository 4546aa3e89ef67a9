//! The nouns of the agent. A *record* is one payload of a request; a request's records share index and action.
//!
//! Positions, versions, request ids and operations live in `plugin_api`, since plugins share them.

mod bounds;
mod payload;

pub use bounds::{DEPTH_MAX, INDEX_BYTES_MAX, OBJECT_ID_BYTES_MAX};
pub use payload::{PayloadError, PayloadWriter, Record, payload_index, read_payload};
