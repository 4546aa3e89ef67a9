//! Shows how sending goes, on stderr, and counts for the summary.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::sender::{Event, Refusal};
use crate::cli::output::{self, BAD, GOOD, styled};

/// A bar over the bytes of a file, or a counter for stdin; nothing where stderr is no terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    accepted: u64,
    refused: u64,
    resent: u64,
}

/// What became of a file.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Lines that are settled: accepted and refused.
    pub(super) lines: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Attempts beyond the first of each request.
    pub(super) resent_requests: u64,
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    /// Why it ended before the last line, if it did.
    pub(super) stopped: Option<String>,
}

impl Progress {
    /// `size` is the input's length in bytes, if it has one.
    pub(super) fn new(size: Option<u64>) -> Self {
        let (bar, template) = match size {
            Some(size) => {
                (ProgressBar::new(size), "{bar:40} {percent:>3} % of {total_bytes}  {msg}  {eta} left")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
        };
        // An invalid template would be a defect; the default style is then good enough.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message("connecting");
        Self { bar, counts: Mutex::default() }
    }

    /// Counts an event and shows it.
    pub(super) fn note(&self, event: Event) {
        let mut counts = self.counts();
        match event {
            Event::Accepted { records, bytes } => {
                counts.accepted += records as u64;
                self.bar.inc(bytes as u64);
                self.bar.set_message(counts.shown());
            }
            Event::Refused(refusal) => {
                counts.refused += 1;
                self.bar.inc(refusal.bytes as u64);
                self.bar.suspend(|| output::complain(&shown(&refusal)));
            }
            Event::Waiting { reason } => {
                counts.resent += 1;
                self.bar.set_message(format!("{}, waiting: {}", counts.shown(), printable(&reason)));
            }
        }
    }

    /// Takes the bar away and sums up.
    pub(super) fn finish(&self, elapsed: Duration, stopped: Option<String>) -> Summary {
        self.bar.finish_and_clear();
        let Counts { accepted, refused, resent } = *self.counts();
        let seconds = elapsed.as_secs_f64();
        Summary {
            lines: accepted + refused,
            accepted,
            refused,
            resent_requests: resent,
            seconds: (seconds * 1000.0).round() / 1000.0,
            records_per_second: (accepted as f64 / seconds.max(1e-9)).round(),
            stopped,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn shown(&self) -> String {
        match self.refused {
            0 => format!("{} accepted", self.accepted),
            refused => format!("{} accepted, {refused} refused", self.accepted),
        }
    }
}

impl Summary {
    /// One line for people, styled.
    pub(super) fn to_text(&self) -> String {
        let accepted = styled(GOOD, format_args!("{} accepted", self.accepted));
        let mut text =
            format!("{} {}: {accepted}", self.lines, if self.lines == 1 { "line" } else { "lines" });
        if self.refused > 0 {
            let _ = write!(text, ", {}", styled(BAD, format_args!("{} refused", self.refused)));
        }
        let _ = write!(text, " in {} s ({} records/s)", self.seconds, self.records_per_second);
        if self.resent_requests > 0 {
            let _ = write!(text, ", {} requests sent again", self.resent_requests);
        }
        text + "\n"
    }
}

/// What ended sending, for people.
pub(super) fn shown_stop(stopped: &str) -> String {
    format!("{} {}\n", styled(BAD, "stopped:"), printable(stopped))
}

fn shown(refusal: &Refusal) -> String {
    let id = refusal.object_id.as_ref().map(|id| format!(" ({id:?})")).unwrap_or_default();
    let line = styled(BAD, format_args!("line {}", refusal.line));
    format!("{line}{id}: {}\n", printable(&refusal.reason))
}

/// Without control characters: a reason may quote what a stranger wrote.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
