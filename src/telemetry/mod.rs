//! How the agent tells what it does: by its log lines, by warnings before a disk is full, by metrics and health over
//! HTTP, and by traces and metrics for a collector.

mod disk;
mod http;
mod logging;
pub mod metrics;
mod otlp;
mod printable;

pub use disk::watch_disk;
pub use http::{Observed, Port, PortError};
pub use logging::{LogFormat, start_logging};
pub use otlp::Exporter;
pub use printable::{is_unprintable, printable};
