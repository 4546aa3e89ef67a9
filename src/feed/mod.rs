//! Between the log and the lanes: reads frames, routes their records and says what each becomes at a destination.
//!
//! A transform will stand here. Until then a routed record becomes the one operation that the producer sent.

mod block;
mod tail;

mod view;

pub use tail::Tail;
pub use view::{Feed, FeedBlock, FeedError};
