//! Writes a string of the wire as a JSON string: UTF-8 is checked and what JSON forbids is escaped, as serde_json does.
//!
//! Nearly all strings are short and need no escape, so one pass over eight bytes at a time decides whether there is
//! anything to do but to copy.

/// The string is not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

/// Appends `text` with its quotes.
///
/// # Errors
/// If it is not UTF-8; `out` then holds nothing but the quote.
#[inline]
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &[u8]) -> Result<(), NotUtf8> {
    out.push(b'"');
    let seen = look(text);
    if seen.beyond_ascii && simdutf8::basic::from_utf8(text).is_err() {
        return Err(NotUtf8);
    }
    if seen.escapes {
        write_escaped(out, text);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
    Ok(())
}

struct Seen {
    beyond_ascii: bool,
    escapes: bool,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[inline]
fn look(text: &[u8]) -> Seen {
    let (mut high, mut escapes) = (0, 0);
    let mut add = |word: u64| {
        high |= word;
        escapes |= to_escape(word);
    };
    // The last word overlaps the one before it: looking at a byte twice changes nothing.
    if let Some(last) = text.last_chunk::<8>() {
        text.as_chunks::<8>().0.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        add(u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        add(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    } else {
        let [a, b, c] = [0, 1, 2].map(|at| text.get(at).copied().unwrap_or(b' '));
        add(u64::from_le_bytes([a, b, c, b' ', b' ', b' ', b' ', b' ']));
    }
    Seen { beyond_ascii: high & HIGH != 0, escapes: escapes != 0 }
}

/// Not 0 if any byte of the word is a control character, a quote or a backslash
/// (<https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>).
#[inline]
fn to_escape(word: u64) -> u64 {
    let zero_byte = |word: u64| word.wrapping_sub(LOW) & !word;
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    let quote = zero_byte(word ^ (LOW * b'"' as u64));
    let backslash = zero_byte(word ^ (LOW * b'\\' as u64));
    (control | quote | backslash) & HIGH
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut run = 0;
    for (at, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text[run..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        run = at + 1;
    }
    out.extend_from_slice(&text[run..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every string is written as serde_json writes it, whatever its length and wherever the special bytes lie.
        #[test]
        fn writes_as_serde_json(text in ".{0,40}|[\\x00-\\x40\\\\é]{0,40}|[a-z]{0,20}[\"\\\\\n][a-zß]{0,20}") {
            let mut out = Vec::new();
            write_quoted(&mut out, text.as_bytes()).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }

        /// Exactly what is no UTF-8 is refused.
        #[test]
        fn refuses_what_is_no_utf8(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written = write_quoted(&mut Vec::new(), &bytes);
            prop_assert_eq!(written.is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
