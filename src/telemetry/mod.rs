//! How the agent tells what it does: by its log lines, by warnings before a disk is full, and by metrics and health over
//! HTTP.

mod disk;
mod http;
mod logging;
pub mod metrics;

pub use disk::watch_disk;
pub use http::{Observed, Port, PortError};
pub use logging::{LogFormat, start_logging};
