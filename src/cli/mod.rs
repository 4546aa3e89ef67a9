//! The commands: what they take, what they print and how they exit.

mod command;

pub mod run;

pub mod check;
mod may;
mod plan;

pub mod config;

pub mod send;

pub mod status;

pub mod tail;

pub mod reload;

pub mod destination;

pub mod dead_letters;

pub mod find;

pub mod drain;

pub mod transform;

pub mod log;

#[cfg(feature = "demo")]
mod guests;

#[cfg(feature = "demo")]
pub mod demo;

pub mod completions;

mod place;
mod remote;

mod columns;
mod live;
pub mod output;
mod terminal;
mod text;

pub use command::{Arguments, execute};
