//! Bytes on the way out and in: compressed requests, answers read under a limit.

use std::{io::Write, sync::Arc};

use bytes::{Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use memchr::memmem;
use reqwest::Response;
use tokio::task;

/// A body up to here is compressed where it is; a larger one would hold up the runtime's thread.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// Characters of an answer that an operator gets to see.
const EXCERPT_CHARS_MAX: usize = 300;

/// Compresses a request's body with gzip at its fastest level; `None` if that was not possible, as while the runtime
/// shuts down, and the body is to be sent as it is.
pub async fn gzip(body: Bytes) -> Option<Bytes> {
    if body.len() <= INLINE_BYTES_MAX {
        return compress(&body);
    }
    task::spawn_blocking(move || compress(&body)).await.ok().flatten()
}

/// The beginning of an answer as one line of text, for people.
#[must_use]
pub fn excerpt(body: &[u8]) -> String {
    // A character takes four bytes at most.
    let head = &body[..body.len().min(4 * EXCERPT_CHARS_MAX)];
    let text = String::from_utf8_lossy(head);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(EXCERPT_CHARS_MAX).collect()
}

/// The answer without the secrets that it repeats, as the error page of a proxy may.
pub(crate) fn without(mut body: Bytes, secrets: &[Arc<str>]) -> Bytes {
    for secret in secrets {
        if !secret.is_empty() && memmem::find(&body, secret.as_bytes()).is_some() {
            body = String::from_utf8_lossy(&body).replace(&**secret, "(hidden)").into();
        }
    }
    body
}

/// What reading an answer's body came to.
pub(crate) enum Read {
    Whole(Bytes),
    TooLarge,
    Failed(reqwest::Error),
}

/// Reads a body, decompressed, up to the limit (inclusive).
pub(crate) async fn read(mut response: Response, bytes_max: usize) -> Read {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => return Read::TooLarge,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Read::Whole(body.freeze()),
            Err(error) => return Read::Failed(error),
        }
    }
}

fn compress(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[tokio::test]
    async fn what_is_compressed_comes_back() {
        for length in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1 << 20] {
            let body: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
            let packed = gzip(body.clone().into()).await.unwrap();
            let mut back = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
            assert_eq!(back, body);
        }
    }

    #[test]
    fn excerpts_are_short_lines() {
        assert_eq!(excerpt(b"<h1>\n  too   many\r\n</h1>"), "<h1> too many </h1>");
        assert_eq!(excerpt("ä".repeat(5000).as_bytes()).chars().count(), EXCERPT_CHARS_MAX);
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
