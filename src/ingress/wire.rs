//! Reads protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>) from a slice, field by field.
//!
//! Nothing is copied or allocated, every length is checked against what is there, and no input panics. What the
//! fields mean is not known here.

use thiserror::Error;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not valid protobuf: {0}")]
pub(crate) struct Malformed(&'static str);

impl Malformed {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self(what)
    }
}

/// A field's value as its wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    /// int32, int64, bool, enum, ...
    Varint(u64),
    /// double, fixed64, sfixed64
    Fixed64(u64),
    /// string, bytes, message
    Bytes(&'a [u8]),
    /// A group or a fixed32, which none of our messages has.
    Other,
}

/// The fields of one message in the order in which they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// As deep as protobuf's own libraries follow groups.
const GROUP_DEPTH_MAX: usize = 100;

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value, or `None` at the message's end.
    ///
    /// # Errors
    /// Nothing can be read from there on.
    // The innermost loop of ingress: a call for each field took a quarter of the time of transcoding.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Malformed> {
        let (number, kind) = match self.rest {
            [] => return Ok(None),
            // Fields 1 to 15.
            [key @ 0x08..0x80, rest @ ..] => {
                self.rest = rest;
                (u32::from(key >> 3), u32::from(key & 7))
            }
            _ => self.long_key()?,
        };
        let wire = match kind {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            _ => {
                self.skip_other(number, kind)?;
                Wire::Other
            }
        };
        Ok(Some((number, wire)))
    }

    #[cold]
    fn long_key(&mut self) -> Result<(u32, u32), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed("field number is too large"))?;
        match key >> 3 {
            0 => Err(Malformed("field number 0")),
            number => Ok((number, key & 7)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("varint is cut or too long"))
    }

    fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed("number is cut"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or(Malformed("a length reaches beyond the end"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Skips a fixed32, or a group with all that is in it.
    #[cold]
    fn skip_other(&mut self, number: u32, kind: u32) -> Result<(), Malformed> {
        let mut open = Vec::new();
        let (mut number, mut kind) = (number, kind);
        loop {
            match kind {
                0 => drop(self.varint()?),
                1 => drop(self.fixed64()?),
                2 => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                3 if open.len() == GROUP_DEPTH_MAX => {
                    return Err(Malformed("groups are nested too deeply"));
                }
                3 => open.push(number),
                4 if open.pop() == Some(number) => {}
                4 => return Err(Malformed("a group ends that did not begin")),
                5 => drop(self.take(4)?),
                _ => return Err(Malformed("unknown wire type")),
            }
            if open.is_empty() {
                return Ok(());
            }
            (number, kind) = self.long_key()?;
        }
    }
}
