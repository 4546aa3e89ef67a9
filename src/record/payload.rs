//! How the records of one request are laid out as the payload of a log frame (`src/log/FORMAT.md` shows the bytes).
//!
//! The record's body is JSON text that is copied here once and from then on only sliced and spliced. Reading checks
//! every length against what is there and never panics: the bytes come from a disk.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use plugin_api::operation::Action;
use thiserror::Error;

/// One payload of a request.
#[derive(Clone, Debug)]
pub struct Record {
    /// What to do.
    pub action: Action,
    /// The index that the producer named.
    pub index: Arc<str>,
    /// The object's id.
    pub object_id: Arc<str>,
    /// One JSON object as UTF-8 text, without `objectID`; empty for a delete.
    pub body: Bytes,
}

/// A payload that does not hold what its header promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("payload is malformed at byte {at}: {what}")]
pub struct PayloadError {
    at: usize,
    what: &'static str,
}

/// Builds a payload: one [`PayloadWriter::record`] for each record, in order.
#[derive(Debug)]
pub struct PayloadWriter {
    bytes: Vec<u8>,
    records: u32,
}

impl PayloadWriter {
    /// Starts the payload of a request; `capacity` is a guess at its size in bytes.
    ///
    /// # Panics
    /// If the index is longer than 65,535 bytes; ingress allows 256.
    #[must_use]
    pub fn new(action: Action, index: &str, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 3 + index.len());
        bytes.push(code_of(action));
        let length = u16::try_from(index.len()).expect("ingress bounds index names");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(index.as_bytes());
        Self { bytes, records: 0 }
    }

    /// Adds a record whose body `write_body` appends to the buffer that it is given. When it fails nothing of the
    /// record stays.
    ///
    /// # Errors
    /// Whatever `write_body` returns.
    ///
    /// # Panics
    /// If the id is longer than 65,535 bytes (ingress allows 512) or the body than 4 GiB.
    pub fn record<E>(
        &mut self,
        object_id: &str,
        write_body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let length = u16::try_from(object_id.len()).expect("ingress bounds object ids");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(object_id.as_bytes());
        let body_length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let body_at = self.bytes.len();
        if let Err(error) = write_body(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let length = u32::try_from(self.bytes.len() - body_at).expect("ingress bounds bodies");
        self.bytes[body_length_at..body_at].copy_from_slice(&length.to_le_bytes());
        self.records += 1;
        Ok(())
    }

    /// How many records were added.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The payload's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The index that all records of a payload are for, without looking at these.
///
/// # Errors
/// If the bytes do not begin as a payload does.
pub fn payload_index(payload: &[u8]) -> Result<&str, PayloadError> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let [_action] = reader.array()?;
    reader.text()
}

/// Reads a payload of `records` records; their bodies are slices of it.
///
/// # Errors
/// If the bytes do not hold exactly that many records.
pub fn read_payload(payload: &Bytes, records: u32) -> Result<Vec<Record>, PayloadError> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let [code] = reader.array()?;
    let action = action_of(code).ok_or(reader.error("unknown action"))?;
    let index: Arc<str> = reader.text()?.into();
    let mut found = Vec::with_capacity((records as usize).min(payload.len() / RECORD_BYTES_MIN + 1));
    for _ in 0..records {
        let object_id = reader.text()?.into();
        let length = u32::from_le_bytes(reader.array()?);
        let body = payload.slice(reader.range(length as usize)?);
        found.push(Record { action, index: index.clone(), object_id, body });
    }
    if reader.at == payload.len() { Ok(found) } else { Err(reader.error("bytes after the last record")) }
}

const RECORD_BYTES_MIN: usize = 6;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Passes over so many bytes and says where they lie.
    fn range(&mut self, length: usize) -> Result<Range<usize>, PayloadError> {
        if length > self.bytes.len() - self.at {
            return Err(self.error("a length that reaches beyond the end"));
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let range = self.range(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[range]);
        Ok(array)
    }

    fn text(&mut self) -> Result<&'a str, PayloadError> {
        let length = u16::from_le_bytes(self.array()?);
        let range = self.range(usize::from(length))?;
        let text = simdutf8::basic::from_utf8(&self.bytes[range]);
        text.map_err(|_| self.error("text that is not UTF-8"))
    }

    fn error(&self, what: &'static str) -> PayloadError {
        PayloadError { at: self.at, what }
    }
}

/// The contract's numbers.
fn code_of(action: Action) -> u8 {
    match action {
        Action::PartialUpdate => 1,
        Action::Save => 2,
        Action::PartialUpdateNoCreate => 3,
        Action::Delete => 4,
    }
}

fn action_of(code: u8) -> Option<Action> {
    Action::ALL.into_iter().find(|action| code_of(*action) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Bytes, u32) {
        let mut writer = PayloadWriter::new(Action::Save, "products", 64);
        for (id, body) in [("1", &b"{}"[..]), ("two", br#"{"a":1}"#)] {
            writer
                .record(id, |out| {
                    out.extend_from_slice(body);
                    Ok::<_, ()>(())
                })
                .unwrap();
        }
        writer
            .record("refused", |out| {
                out.push(b'{');
                Err(())
            })
            .unwrap_err();
        let records = writer.records();
        (writer.into_bytes().into(), records)
    }

    /// What was written is read back, and a record whose body failed leaves nothing behind.
    #[test]
    fn round_trip() {
        let (payload, records) = sample();
        let read = read_payload(&payload, records).unwrap();
        let seen: Vec<_> = read.iter().map(|r| (&*r.index, &*r.object_id, &r.body[..])).collect();
        assert_eq!(payload_index(&payload).unwrap(), "products");
        assert_eq!(seen, [("products", "1", &b"{}"[..]), ("products", "two", br#"{"a":1}"#)]);
    }

    /// Every cut of a payload and every wrong count is an error, never a panic or a wrong record.
    #[test]
    fn malformed_payloads_are_errors() {
        let (payload, records) = sample();
        for length in 0..payload.len() {
            read_payload(&payload.slice(..length), records).unwrap_err();
            assert!(length > 10 || payload_index(&payload[..length]).is_err(), "{length}");
        }
        read_payload(&payload, records - 1).unwrap_err();
        read_payload(&payload, records + 1).unwrap_err();
        read_payload(&payload, u32::MAX).unwrap_err();
    }

    proptest::proptest! {
        /// Whatever lies in a frame is read as what it is, or is an error: nothing panics.
        #[test]
        fn any_payload_is_judged(
            changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 0..6),
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
            count in 0..5_u32,
        ) {
            let mut changed = sample().0.to_vec();
            for (at, byte) in changes {
                let at = at.index(changed.len());
                changed[at] ^= byte;
            }
            for payload in [Bytes::from(changed), Bytes::from(bytes)] {
                let index = payload_index(&payload);
                if let Ok(records) = read_payload(&payload, count) {
                    assert!(records.len() == count as usize);
                    let index = index.expect("what can be read has an index");
                    assert!(records.iter().all(|record| &*record.index == index));
                }
            }
        }
    }
}
