//! How the agent tells what it does.

mod disk;
mod logging;

pub use disk::watch_disk;
pub use logging::{LogFormat, start_logging};
