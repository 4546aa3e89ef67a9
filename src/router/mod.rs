//! Which transform an index passes and to which destinations it goes: a pure function of its name and the config.

mod rules;

pub use rules::Router;
