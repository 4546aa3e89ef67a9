//! What a guest prints: the newest 4 KiB of it, however much it is. Printing never fails and never waits.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// A guest's standard output or error.
#[derive(Clone, Debug, Default)]
pub(super) struct Printed(Arc<Mutex<VecDeque<u8>>>);

const KEPT_BYTES_MAX: usize = 4096;

impl Printed {
    /// Takes what was printed since the last time.
    pub(super) fn take(&self) -> Option<String> {
        let mut kept = self.kept();
        if kept.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
        kept.clear();
        Some(text)
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept();
        let newest = &bytes[bytes.len().saturating_sub(KEPT_BYTES_MAX)..];
        let over = (kept.len() + newest.len()).saturating_sub(KEPT_BYTES_MAX);
        kept.drain(..over);
        kept.extend(newest);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(KEPT_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that prints without end holds 4 KiB, and its last words are what is kept.
    #[test]
    fn only_the_newest_is_kept() {
        let printed = Printed::default();
        assert_eq!(printed.take(), None);
        printed.push("first ".as_bytes());
        printed.push(&vec![b'x'; 100_000]);
        printed.push(b"the end");
        let text = printed.take().unwrap();
        assert_eq!(text.len(), KEPT_BYTES_MAX);
        assert!(text.ends_with("xxthe end") && text.starts_with('x'), "{text}");
        assert_eq!(printed.take(), None);
    }
}
