//! The commands: what they take, what they print and how they exit.

mod command;

pub mod run;

pub mod check;
mod plan;

pub mod send;

pub mod dead_letters;

pub mod log;

pub mod destination;

pub mod transform;

#[cfg(feature = "demo")]
mod guests;

#[cfg(feature = "demo")]
pub mod demo;

pub mod output;
mod text;

pub use command::{Arguments, execute};
