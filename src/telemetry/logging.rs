//! Logs on stderr: text for people or JSON for programs, data in fields. ERROR means that an operator must act.

use std::{
    fmt::{self, Debug},
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt::format::{Writer, debug_fn},
    util::SubscriberInitExt,
};

use super::printable;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process; `RUST_LOG` selects (default `info`).
///
/// # Errors
/// If logging was started before.
pub fn start_logging(format: LogFormat) -> Result<(), tracing_subscriber::util::TryInitError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that cannot be written, since the disk or the pipe behind stderr is full or gone, is lost, and nothing else:
    // to tell of it on stderr would panic.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let colour = io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let fields = debug_fn(write_field).delimited(" ");
            lines.with_ansi(colour).with_target(false).fmt_fields(fields).finish().try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
}

/// A field of a line. What destinations, guests and producers wrote forges no other line and moves no cursor; a message is
/// ours, and may go over several lines.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => {
            let mut lines = text.split('\n').map(printable);
            write!(out, "{}", lines.next().unwrap_or_default())?;
            lines.try_for_each(|line| write!(out, "\n{line}"))
        }
        name => write!(out, "{name}={}", printable(&text)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// Scenario: a destination answers with an escape sequence and a line that looks like one of ours.
    #[test]
    fn nobody_else_writes_lines() {
        let lines = Lines::default();
        let fields = debug_fn(write_field).delimited(" ");
        let subscriber =
            tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).fmt_fields(fields).finish();
        tracing::subscriber::with_default(subscriber, || {
            let reason = "no\u{1b}[2J\u{202e}\nERROR forged";
            tracing::warn!(%reason, index = reason, count = 3, "refused\nand more");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains(|char| char != '\n' && super::super::is_unprintable(char)), "{text:?}");
        assert!(text.contains(r"reason=no\u{1b}[2J\u{202e}\nERROR forged"), "{text}");
        assert!(text.contains("count=3") && text.ends_with("\n"), "{text}");
        assert_eq!(text.matches("\nand more").count(), 1, "{text}");
    }
}
