//! The agent's metrics: the table of all of them, and their text.

mod exposition;
mod process;
mod table;

pub use exposition::{Exposition, Format};
pub use process::Process;
pub use table::{FAMILIES, Family, Kind, Metric};
