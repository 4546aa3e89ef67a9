//! Text that somebody else wrote, fit for a terminal and a log line.

use std::borrow::Cow;

/// The text with everything escaped that would move a cursor, change a colour or turn the direction of writing.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return text.into();
    }
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            char if is_unprintable(char) => printable.extend(char.escape_default()),
            char => printable.push(char),
        }
    }
    printable.into()
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what overrides the direction of writing.
#[must_use]
pub fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
