//! What lanes log.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;

/// What a test's thread logs, on which its lanes run.
pub(super) struct Told {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Told {
    /// Listens until it is dropped.
    pub(super) fn listen() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(writer.clone()));
        Self { lines, _guard: tracing::subscriber::set_default(subscriber.finish()) }
    }

    /// Lines with these words.
    pub(super) fn count(&self, words: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        String::from_utf8_lossy(&lines).lines().filter(|line| line.contains(words)).count()
    }
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
