//! Faults on the real file system: what DESIGN's rules demand when a call fails, bytes rot, the disk is full, or files
//! are not the ones that belong here; and that what an operator reads says what to do next.
//!
//! `steps` fails every call of every change once; `reading` the reads; `bits` flips bits in each region of each file;
//! `full` fills a real file system to its last byte; `foreign` puts newer and other logs' files there. `recovery`,
//! `crash`, `destinations` and `poison` beside this module look at single ones of these closer.

mod bits;
mod foreign;
mod full;
mod reading;
mod steps;

use super::*;

/// Some words of advice: what an operator is told to do, in any message of the log.
const ADVICE: [&str; 10] = [
    "restore",
    "Restore",
    "restart",
    "remove",
    "take it away",
    "run the version of the agent that wrote it",
    "stop it",
    "going on at",
    "counts as served",
    "reading without an index",
];

/// The message names the file and says what to do, or what was done already.
fn assert_advises(message: &str, path: &Path) {
    assert!(message.contains(&*path.to_string_lossy()), "no file is named: {message}");
    assert!(ADVICE.iter().any(|advice| message.contains(advice)), "no advice: {message}");
}
