//! Lines of a file as records, one by one, in bounded memory.

use std::io::{self, BufRead, Read};

use super::{
    convert::record,
    sender::{Record, Refusal},
};
use crate::contract::client::ActionType;

/// Bytes of a line, inclusive; a longer one is skipped without being held.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads records; a line that is none is a refusal, and an error of the input is the last item.
pub(super) struct Lines<R> {
    input: R,
    action: ActionType,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, action: ActionType) -> Self {
        Self { input, action, line: 0, buffer: Vec::new(), ended: false }
    }

    /// Reads the next line into the buffer and returns how long it is, the newline included; 0 at the end.
    fn read_line(&mut self) -> io::Result<usize> {
        self.buffer.clear();
        let mut bounded = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer)?;
        if read <= LINE_BYTES_MAX || self.buffer.ends_with(b"\n") {
            return Ok(read);
        }
        Ok(read + self.input.skip_until(b'\n')?)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Result<Record, Refusal>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let bytes = match self.read_line() {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            self.line += 1;
            let refused = |object_id, reason| Refusal { line: self.line, bytes, object_id, reason };
            if self.buffer.len() > LINE_BYTES_MAX {
                let reason = format!("line has {bytes} bytes, the limit is {LINE_BYTES_MAX}");
                return Some(Ok(Err(refused(None, reason))));
            }
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            return Some(Ok(match record(&self.buffer, self.action) {
                Ok((object_id, data)) => Ok(Record { line: self.line, bytes, object_id, data }),
                Err(reason) => Err(refused(None, reason)),
            }));
        }
        self.ended = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn bad_lines_are_named_and_the_others_go_on() {
        let input = "{\"objectID\":\"1\"}\r\n\n  \n[1]\n{\"objectID\":\"2\",}\n{\"objectID\":\"3\"}";
        let lines: Vec<_> =
            Lines::new(Cursor::new(input), ActionType::SaveObject).map(Result::unwrap).collect();
        let told: Vec<_> = lines
            .iter()
            .map(|line| match line {
                Ok(record) => (record.line, record.object_id.as_str()),
                Err(refusal) => (refusal.line, refusal.reason.as_str()),
            })
            .collect();
        let expected = [
            (1, "1"),
            (4, "is an array, not an object"),
            (5, "is not JSON: trailing comma at column 17"),
            (6, "3"),
        ];
        assert_eq!(told, expected);
    }

    /// G9: a line without an end is not held in memory, and the next one is found again.
    #[test]
    fn a_line_over_the_limit_is_skipped() {
        let long = LINE_BYTES_MAX as u64 * 3;
        let input = Cursor::new("{\"objectID\":\"1\"}\n")
            .chain(io::repeat(b'x').take(long))
            .chain(Cursor::new("\n{\"objectID\":\"3\"}\n"));
        let mut lines = Lines::new(io::BufReader::new(input), ActionType::SaveObject);
        assert!(lines.next().unwrap().unwrap().is_ok());
        let refusal = lines.next().unwrap().unwrap().unwrap_err();
        assert_eq!(refusal.reason, "line has 50331649 bytes, the limit is 16777216");
        assert!(lines.buffer.capacity() < 3 * LINE_BYTES_MAX);
        let record = lines.next().unwrap().unwrap().unwrap();
        assert_eq!((record.line, record.object_id.as_str()), (3, "3"));
        assert!(lines.next().is_none());
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn an_error_of_the_input_ends_the_lines() {
        let input = io::BufReader::new(Cursor::new("{\"objectID\":\"1\"}\n").chain(Broken));
        let mut lines = Lines::new(input, ActionType::SaveObject);
        assert!(lines.next().unwrap().unwrap().is_ok());
        assert!(lines.next().unwrap().is_err());
        assert!(lines.next().is_none());
    }
}
