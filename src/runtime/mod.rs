//! What every task of the agent needs: a name, a way to stop, the clock, and files that are watched or replaced.

mod clock;
pub mod files;
mod shutdown;
mod tasks;
pub mod watch;

pub use clock::{Clock, SystemClock};
pub use shutdown::{Shutdown, Stop};
pub use tasks::{TaskKind, Tasks};
