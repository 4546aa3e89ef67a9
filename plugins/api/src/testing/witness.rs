//! Everything that is logged in this process, down to the finest level, so that a secret in it is found.

use std::{
    io::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static START: Once = Once::new();

/// Keeps what is logged from now on.
pub(super) fn start() {
    START.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Keep)
            .try_init()
            .expect("nothing else in this process takes what is logged");
    });
}

/// The first line that was logged with this text in it.
pub(super) fn line_with(text: &str) -> Option<String> {
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&logged).lines().find(|line| line.contains(text)).map(ToOwned::to_owned)
}

struct Keep;

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
