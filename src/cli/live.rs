//! Lines at the bottom of a terminal that are drawn again and again; on stderr.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text::colourless;

/// See the module's text.
pub(super) struct Live {
    lines: MultiProgress,
    bars: Vec<ProgressBar>,
    colours: bool,
}

impl Live {
    pub(super) fn new() -> Self {
        let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self { lines: MultiProgress::new(), bars: Vec::new(), colours }
    }

    /// Prints a line above the others, where it stays.
    #[cfg(feature = "demo")]
    pub(super) fn tell(&self, line: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = self.lines.println(self.painted(line.trim_end()));
    }

    /// Draws these lines instead of those that are there.
    pub(super) fn draw(&mut self, lines: &[String]) {
        while self.bars.len() < lines.len() {
            let bar = self.lines.add(ProgressBar::new_spinner());
            // An invalid template would be a defect; the default style is then good enough.
            bar.set_style(
                ProgressStyle::with_template("{wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            self.bars.push(bar);
        }
        for bar in self.bars.drain(lines.len()..) {
            bar.finish_and_clear();
            self.lines.remove(&bar);
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(self.painted(line));
        }
    }

    /// Takes the lines away, so that something else can be printed.
    pub(super) fn clear(&mut self) {
        self.draw(&[]);
    }

    fn painted(&self, text: &str) -> String {
        if self.colours { text.to_owned() } else { colourless(text) }
    }
}
