//! How the agent tells what it does.

mod logging;

pub use logging::{LogFormat, start_logging};
