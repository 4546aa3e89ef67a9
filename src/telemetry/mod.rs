//! How the agent tells what it does.

mod disk;
mod logging;
mod printable;

pub use disk::watch_disk;
pub use logging::{LogFormat, start_logging};
pub use printable::{is_unprintable, printable};
