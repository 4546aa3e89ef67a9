//! Tagged, length-prefixed sections: how frames, footers and small files carry what later versions may add to.
//!
//! A section is a tag (u16), a length (u32) and that many bytes. A reader passes over a tag that it does not know,
//! unless the tag has the must-understand bit: then it would misread the whole, and says so.

use bytes::Buf;
use thiserror::Error;

/// Set in a tag that a reader must know.
pub(super) const MUST_UNDERSTAND: u16 = 0x8000;

/// Bytes of a section besides its value.
pub(super) const SECTION_BYTES: usize = 6;

/// Why bytes cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum FormatError {
    /// Not what was written: torn or rotten.
    #[error("{0}")]
    Broken(String),
    /// Sound, yet this version cannot go on from it. Never to be cut or overwritten.
    #[error("{0}")]
    Unusable(String),
}

impl FormatError {
    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    pub(super) fn newer(what: impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{what}: run the version of the agent that wrote it, or a newer one"))
    }
}

/// Appends a section. Values are bounded by what holds them: 64 MiB for a frame, a few MiB for a small file.
pub(super) fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    put_with(out, tag, |out| out.extend_from_slice(value));
}

/// Appends a section whose value `write` appends.
pub(super) fn put_with(out: &mut Vec<u8>, tag: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&tag.to_le_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let start = out.len();
    write(out);
    let length = u32::try_from(out.len() - start).expect("whoever calls bounds its values far below 4 GiB");
    out[length_at..start].copy_from_slice(&length.to_le_bytes());
}

/// Calls `each` for every section; it returns whether it knows the tag.
pub(super) fn for_each(
    mut bytes: &[u8],
    mut each: impl FnMut(u16, &[u8]) -> Result<bool, FormatError>,
) -> Result<(), FormatError> {
    while bytes.has_remaining() {
        let (tag, length) = bytes
            .try_get_u16_le()
            .and_then(|tag| Ok((tag, bytes.try_get_u32_le()? as usize)))
            .map_err(|_| FormatError::broken("a section's head is cut off"))?;
        let Some((value, rest)) = bytes.split_at_checked(length) else {
            return Err(FormatError::broken(format!("section {tag:#06x} of {length} bytes is cut off")));
        };
        if !each(tag, value)? && tag & MUST_UNDERSTAND != 0 {
            return Err(FormatError::newer(format_args!(
                "section {tag:#06x} must be understood and is not known"
            )));
        }
        bytes = rest;
    }
    Ok(())
}

/// The value as UTF-8.
pub(super) fn text(value: &[u8]) -> Result<String, FormatError> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| FormatError::broken("text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, FormatError> {
        let mut seen = Vec::new();
        for_each(bytes, |tag, value| {
            seen.push((tag, value.to_vec()));
            Ok(tag & !MUST_UNDERSTAND < 8)
        })?;
        Ok(seen)
    }

    /// What a later version adds is passed over, unless it says that it must be understood; that is not rot.
    #[test]
    fn unknown_tags() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, b"one");
        put(&mut bytes, 9, b"later");
        put(&mut bytes, 2 | MUST_UNDERSTAND, b"");
        assert_eq!(
            read(&bytes).unwrap(),
            [(1, b"one".to_vec()), (9, b"later".to_vec()), (2 | MUST_UNDERSTAND, vec![])]
        );
        put(&mut bytes, 9 | MUST_UNDERSTAND, b"vital");
        assert!(matches!(read(&bytes), Err(FormatError::Unusable(_))));
    }

    /// Every cut within a section is found.
    #[test]
    fn cut_sections() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, b"value");
        for length in 1..bytes.len() {
            assert!(matches!(read(&bytes[..length]), Err(FormatError::Broken(_))), "{length}");
        }
    }
}
