//! The commands.

pub mod check;
pub mod output;
mod plan;
