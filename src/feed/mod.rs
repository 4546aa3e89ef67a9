//! Between the log and a lane: reads frames, routes their records and says what each becomes at a destination.
//!
//! A transform will stand here. Until then a routed record becomes the one operation that the producer sent.

mod reader;

pub use reader::{Feed, FeedBlock, FeedError};
