//! Lines for the agent's own log, each with the object whose record is being transformed.
//!
//! The agent cuts a line at 1 KiB and takes only so many a second: log what is odd, not what is usual.

use std::{
    cell::RefCell,
    fmt::{self, Write},
};

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something is wrong.
    Error,
}

thread_local! {
    /// The id of the record that is being transformed; empty outside.
    static OBJECT_ID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whose record the next lines are about.
pub(crate) fn set_object_id(id: &str) {
    OBJECT_ID.with_borrow_mut(|current| {
        current.clear();
        current.push_str(id);
    });
}

/// Writes a line; the macros call it.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let line = OBJECT_ID.with_borrow(|id| line(id, message));
    #[cfg(target_family = "wasm")]
    crate::guest::log(level, &line);
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {line}");
}

fn line(id: &str, message: fmt::Arguments<'_>) -> String {
    let mut line = String::new();
    // Writing to a string fails only if a value's own `Display` does; the rest of the line is worth having then, too.
    let _ = match id {
        "" => line.write_fmt(message),
        id => write!(line, "[{id}] {message}"),
    };
    line
}

/// Writes a line for the author to the agent's log.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Debug, format_args!($($message)+)) };
}

/// Writes a line worth knowing to the agent's log.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Info, format_args!($($message)+)) };
}

/// Writes a warning to the agent's log.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Warn, format_args!($($message)+)) };
}

/// Writes an error to the agent's log.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Error, format_args!($($message)+)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_object_where_there_is_one() {
        assert_eq!(line("", format_args!("ready")), "ready");
        assert_eq!(line("42", format_args!("no {}", "price")), "[42] no price");
    }
}
