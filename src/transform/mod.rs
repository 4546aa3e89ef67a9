//! Runs the teams' WebAssembly components on records, between the log and the lanes.

mod outcome;

pub use outcome::{Digest, Outcome, Product, Transformed};
