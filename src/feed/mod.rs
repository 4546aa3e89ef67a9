//! Between the log and the lanes: reads frames, routes their records and says what each becomes at a destination.
//!
//! A record whose index has no transform becomes the one operation that the producer sent. Others come out at once, too,
//! so that no other index waits for them, and what they become follows when their transform has run ([`Transforming`]).

mod block;
mod part;
mod routing;
mod tail;

mod again;
mod expand;
mod traced;
mod transforming;
mod view;

#[cfg(test)]
mod tests;

pub use again::Again;
pub use routing::{Routes, Routing};
pub use tail::Tail;
pub use traced::{TracedRequest, TracedTransform};
pub use transforming::{Expansion, Held, Transforming};
pub use view::{Becomes, Feed, FeedBlock, FeedError};
