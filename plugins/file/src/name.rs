//! File names of an index: safe on every file system, and two indexes never share one.
//!
//! `.` and `~` never come out of the encoding, so that a rotated file's time and a long name's hash cannot be
//! mistaken for a part of another index's name.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};

/// Longest encoded name in bytes, inclusive; leaves room below the usual 255 for the time and the extension.
const NAME_BYTES_MAX: usize = 200;
/// `~` and a SHA-256 in hexadecimal digits.
const HASH_BYTES: usize = 1 + 64;

/// The name of the index's active file.
pub(crate) fn active(index: &str) -> String {
    format!("{}.ndjson", encoded(index))
}

/// The name of a file that was rotated at this time.
pub(crate) fn rotated(index: &str, at: Timestamp) -> String {
    format!("{}.{}.ndjson", encoded(index), at.strftime("%Y%m%dT%H%M%S.%6fZ"))
}

fn encoded(index: &str) -> String {
    let mut name = String::with_capacity(index.len());
    for byte in index.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > NAME_BYTES_MAX {
        name.truncate(NAME_BYTES_MAX - HASH_BYTES);
        name.push('~');
        for byte in digest(&SHA256, index.as_bytes()).as_ref() {
            name.push_str(&format!("{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing in an index's name leaves the directory or meets another index's file.
    #[test]
    fn encodes_every_byte_that_is_not_plain() {
        assert_eq!(active("products_EU-1"), "products_EU-1.ndjson");
        assert_eq!(active("../etc/passwd"), "%2E%2E%2Fetc%2Fpasswd.ndjson");
        assert_eq!(active("a%2Eb"), "a%252Eb.ndjson");
        assert_eq!(active("größe~"), "gr%C3%B6%C3%9Fe%7E.ndjson");
    }

    /// Names on both sides of the limit; two long names that differ in their last letter only stay apart.
    #[test]
    fn cuts_long_names_and_adds_their_hash() {
        assert_eq!(active(&"a".repeat(200)).len(), "a".repeat(200).len() + ".ndjson".len());
        let (one, other) =
            (active(&format!("{}x", "a".repeat(200))), active(&format!("{}y", "a".repeat(200))));
        assert_ne!(one, other);
        assert_eq!(one.len(), 200 + ".ndjson".len());
        assert_eq!(one.find('~'), Some(135));
    }

    #[test]
    fn rotated_names_sort_by_time() {
        let at = Timestamp::from_microsecond(1_795_446_000_000_001).unwrap();
        assert_eq!(rotated("a.b", at), "a%2Eb.20261123T150000.000001Z.ndjson");
    }
}
