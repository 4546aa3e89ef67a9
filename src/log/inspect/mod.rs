//! Looking at a log that no agent uses: what `sync-agent log` shows of it.
//!
//! [`StoppedLog`] holds the directory's lock and reads what lies in it, `walk` goes through the frames of a segment and
//! passes over what is broken. Upon these stand [`StoppedLog::verify`], [`StoppedLog::stats`] and
//! [`StoppedLog::frames`]. None of them changes anything on disk: no file is made, cut or removed. Only
//! [`StoppedLog::give_up`] writes, namely the list of what an operator has given up.

mod stopped;

mod walk;

mod verify;

mod skip;

mod dump;
mod stats;

pub use dump::{Dumped, Frames, Missing, Start};
pub use skip::{Rotten, Sought};
pub use stats::{Counts, Cursor, Requests, Segments, Source, Stats};
pub use stopped::StoppedLog;
pub use verify::{Finding, Severity, Verified};
