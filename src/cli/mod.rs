//! The commands.

pub mod check;
mod plan;

pub mod send;

pub mod output;
