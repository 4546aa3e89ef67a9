//! What every task of the agent needs: a name, a way to stop, the clock, something to count with, spans to tell, files that are watched
//! or replaced, and bounded connections for those who look at it.

mod clock;
pub mod connections;
pub mod files;
pub mod machine;
mod measure;
mod shutdown;
mod tasks;
mod trace;
pub mod watch;

pub use clock::{Clock, SystemClock};
pub use measure::{Buckets, Counter, Histogram};
pub use shutdown::{Shutdown, Stop};
pub use tasks::{TaskKind, Tasks};
pub use trace::{Attribute, Span, SpanId, SpanKind, TraceContext, Tracer};
