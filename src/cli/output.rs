//! Printing that every command shares.
//!
//! `println!` panics once its reader is gone (`| head`), so nothing here uses it: a closed pipe ends the output and is
//! no error. Text may always be styled: styles are dropped where the stream is no terminal or `NO_COLOR` is set.

use std::io::{self, BufWriter, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// Names and keys.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// What matters less than the rest.
pub const DIM: Style = Style::new().dimmed();
/// What is as it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What somebody should look at.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// The text in a style.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Lets a function write to stdout, buffered; a reader that is gone ends it quietly.
///
/// # Errors
/// Whatever else keeps stdout from being written, and the function's own errors.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    until_closed(&mut BufWriter::new(anstream::stdout()), write)
}

/// Prints text to stdout as it is.
///
/// # Errors
/// Those of [`to_stdout`].
pub fn print(text: &str) -> io::Result<()> {
    to_stdout(|out| out.write_all(text.as_bytes()))
}

/// Prints a value to stdout as indented JSON with a newline.
///
/// # Errors
/// Those of [`to_stdout`].
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    to_stdout(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Prints text to stderr as it is. There is nobody left to tell if that fails.
pub fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn until_closed(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match write(out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody reads the first lines through `head`: no panic, no error, and the rest is not even written.
    #[test]
    fn a_closed_pipe_ends_the_output_quietly() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let mut ended = false;
        let result = until_closed(&mut writer, |out| {
            out.write_all(b"first\n")?;
            ended = true;
            Ok(())
        });
        assert!(result.is_ok() && !ended);

        let mut full = BufWriter::new(std::fs::File::create("/dev/full").unwrap());
        assert!(until_closed(&mut full, |out| out.write_all(b"x")).is_err(), "other errors are told");
    }
}
