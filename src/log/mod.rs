//! The durable log: requests go in, are safe on disk when the append returns, and are read by every destination
//! from its own cursor.
//!
//! [`interface`] is what the rest of the agent knows of a log; [`EmbeddedLog`] is the one on this machine's disk, and
//! `FORMAT.md` shows its bytes and the rules by which it recovers. Its parts, in the order in which a request meets
//! them: `idempotency` (was it accepted before?), `queue`, `writer` and `group` (one thread that appends), `answers`
//! (who is told), `segment` and `frame` (what it writes), `catalogue` (which segments are there and how far they are
//! durable), `gone` (how those go that nobody needs), `newest`, `reader`, `destinations`, `served` and `cursor` (who
//! still needs what), `left_behind`, `gaps` and `census` (what whoever nothing is kept for has missed).
//! `directory` and `recovery` run when a log is opened; every file operation goes through `files`. [`inspect`] looks at
//! a log that no agent uses; `rot` finds what lies behind broken bytes, `skipped` what an operator gave up there.

pub mod interface;

mod embedded;
mod settings;

mod idempotency;

mod answers;
mod group;
mod queue;
mod writer;

mod request_id;

mod segment;

mod checksum;
mod frame;
mod segment_footer;
mod segment_header;

mod catalogue;
mod gone;

mod block;
mod buffers;
mod newest;
mod reader;

mod rot;
mod skipped;

mod census;
mod cursor;
mod destinations;
mod gaps;
mod left_behind;
mod membership;
mod served;

mod directory;
mod recovery;

pub mod inspect;

mod files;
mod sections;
mod small_file;

#[cfg(test)]
mod tests;

pub use embedded::EmbeddedLog;
pub use interface::Retention;
pub use settings::{OpenReport, Settings};
