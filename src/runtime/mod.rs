//! What every task of the agent needs: a name, a way to stop, and the clock.

mod clock;
mod shutdown;
mod tasks;

pub use clock::{Clock, SystemClock};
pub use shutdown::{Shutdown, Stop};
pub use tasks::{TaskKind, Tasks};
