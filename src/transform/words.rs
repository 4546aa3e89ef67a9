//! What a guest says, made fit for a log line or a letter: short, on one line, without control characters.

use std::fmt::Write;

/// Bytes that are kept of one message, before it is escaped.
pub(super) const WORDS_BYTES_MAX: usize = 1024;

/// The message, cut at 1 KiB between two characters and with control characters escaped.
pub(super) fn tamed(words: &str) -> String {
    let cut = &words[..words.floor_char_boundary(WORDS_BYTES_MAX)];
    let mut tame = String::with_capacity(cut.len() + 4);
    for letter in cut.chars() {
        if letter.is_control() || is_invisible(letter) {
            // Writing to a string does not fail.
            let _ = write!(tame, "{}", letter.escape_default());
        } else {
            tame.push(letter);
        }
    }
    if cut.len() < words.len() {
        tame.push('…');
    }
    tame
}

/// Characters that reorder or hide the text around them, or end a line without being control characters.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest cannot forge a second line, colour the terminal or flood it.
    #[test]
    fn words_are_tamed() {
        assert_eq!(tamed("plain ünd fine"), "plain ünd fine");
        assert_eq!(tamed("a\nERROR forged \u{1b}[31m\u{202e}"), "a\\nERROR forged \\u{1b}[31m\\u{202e}");
        let long = format!("{}€ and more", "x".repeat(1023));
        assert_eq!(
            tamed(&long),
            format!("{}…", "x".repeat(1023)),
            "cut before the character that is in the way"
        );
        assert_eq!(tamed(&"x".repeat(1024)), "x".repeat(1024));
    }
}
