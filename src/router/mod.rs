//! Which destinations an index goes to: a pure function of the index's name and the config.

mod rules;

pub use rules::Router;
