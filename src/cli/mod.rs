//! The commands.

pub mod check;
mod plan;

pub mod send;

pub mod dead_letters;

pub mod output;
