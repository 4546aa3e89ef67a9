//! A bar over the bytes of a log, on stderr where that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far reading has come; it takes itself away.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// How long reading took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) elapsed: Duration,
    pub(super) gigabytes_per_second: f64,
}

impl Progress {
    pub(super) fn new(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        let template = "{bar:40} {percent:>3} % of {total_bytes}  {bytes_per_sec}  {eta} left";
        // An invalid template would be a defect; the default style is then good enough.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar, started: Instant::now() }
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Takes the bar away.
    pub(super) fn finish(self) -> Pace {
        self.bar.finish_and_clear();
        let elapsed = self.started.elapsed();
        let bytes = self.bar.length().unwrap_or(0);
        let gigabytes_per_second = bytes as f64 / 1e9 / elapsed.as_secs_f64().max(1e-9);
        Pace { elapsed, gigabytes_per_second }
    }
}
