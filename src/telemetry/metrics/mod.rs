//! The agent's metrics: the table of all of them, and their text.

mod exposition;
mod process;
mod sink;
mod table;

pub use exposition::{Exposition, Format};
pub use process::Process;
pub use sink::Sink;
pub use table::{FAMILIES, Family, Kind, Metric};
