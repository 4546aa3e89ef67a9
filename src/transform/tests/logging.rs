//! What guests say reaches whoever should hear it: named, tamed and not too often.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::transform::Level;

/// The lines that a guest wrote.
fn lines(how: &str, records: &[Record]) -> Vec<(Level, String)> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let taken = lines.clone();
    let target = LogTarget::Lines(Arc::new(move |level, line: &str| {
        taken.lock().unwrap().push((level, line.to_owned()));
    }));
    let mut instance =
        Instance::start(misbehaves(), "products", &behave(how), &Limits::default(), target).unwrap();
    instance.call(records, LONG).unwrap();
    drop(instance);
    Arc::into_inner(lines).unwrap().into_inner().unwrap()
}

/// Lines are cut at 1 KiB between two characters, and forge nothing.
#[test]
fn lines_are_tamed() {
    assert_eq!(lines("log", &records(1)), [(Level::Warn, "saw 0\\nERROR forged \\u{1b}[31m".to_owned())]);
    assert_eq!(lines("log_long", &records(1)), [(Level::Info, format!("{}…", "€".repeat(341)))]);
}

/// What is printed is logged too: of very much the newest 4 KiB.
#[test]
fn printed_lines_are_logged() {
    let lines = lines("print_flood", &records(1));
    assert_eq!(lines[0], (Level::Info, "and one of stdout".to_owned()));
    assert_eq!(lines.last().unwrap(), &(Level::Warn, "line 19999 of what nobody reads".to_owned()));
    assert!(lines.len() < 200, "{}", lines.len());
}

/// A subscriber's output.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the agent's log holds after a call.
fn logged(how: &str, records: &[Record]) -> String {
    let out = Out::default();
    let writer = out.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE);
    tracing::subscriber::with_default(subscriber.finish(), || {
        let slot = slot("names", "{}");
        let target = LogTarget::Agent { transform: slot.name().clone(), rate: slot.log_rate().clone() };
        let mut instance =
            Instance::start(misbehaves(), "products", &behave(how), &Limits::default(), target).unwrap();
        instance.call(records, LONG).unwrap();
    });
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Each line comes with transform, index and the record that the call was about.
#[test]
fn lines_name_their_record() {
    let text = logged("log", &records(1));
    for part in [
        "WARN transform:",
        "transform=\"names\"",
        "index=\"products\"",
        "object_id=\"0\"",
        "records=1",
        "saw 0\\\\nERROR forged",
    ] {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
    let text = logged("log", &records(2));
    assert!(
        text.contains("object_id=\"0\"") && text.contains("records=2") && text.lines().count() == 2,
        "{text}"
    );
}

/// Scenario: a guest logs a hundred thousand lines in one call. A hundred pass at once, and few afterwards.
#[test]
fn floods_are_cut() {
    let text = logged("log_flood", &records(1));
    let passed = text.lines().count();
    assert!((100..1_000).contains(&passed), "{passed}");
}
