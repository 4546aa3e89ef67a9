//! Words for people that several commands share: times, and data made safe to print.

use std::{borrow::Cow, fmt::Write as _, io::IsTerminal as _, time::Duration};

use jiff::{Span, SpanRelativeTo};
use plugin_api::identity::Timestamp;

use crate::config::show_duration;
pub(super) use crate::telemetry::{is_unprintable, printable};

/// RFC 3339 in UTC, to the microsecond.
pub(super) fn time(at: Timestamp) -> String {
    format!("{:.6}", moment(at))
}

/// RFC 3339 in UTC, to the second.
pub(super) fn time_to_the_second(at: Timestamp) -> String {
    format!("{:.0}", moment(at))
}

/// The time of day in UTC, to the millisecond.
pub(super) fn time_of_day(at: Timestamp) -> String {
    moment(at).strftime("%H:%M:%S%.3fZ").to_string()
}

/// A moment beyond the year 9999 is shown as the last one before.
fn moment(at: Timestamp) -> jiff::Timestamp {
    let microseconds = i64::try_from(at.0).ok();
    microseconds.and_then(|at| jiff::Timestamp::from_microsecond(at).ok()).unwrap_or(jiff::Timestamp::MAX)
}

/// A time (RFC 3339), or a length of time that ends now.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    let now = jiff::Timestamp::now();
    let since = match (text.parse::<jiff::Timestamp>(), text.parse::<Span>()) {
        (Ok(time), _) => time,
        (Err(_), Ok(span)) => span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .and_then(|length| now.checked_sub(length))
            .map_err(|error| error.to_string())?,
        (Err(_), Err(_)) => {
            return Err("neither a time like 2026-11-23T15:00:00Z nor a length like 2h".into());
        }
    };
    Ok(Timestamp(u64::try_from(since.as_microsecond()).unwrap_or(0)))
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there is one, to a tenth.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut size, mut unit) = (number as f64, "B");
    for next in UNITS {
        // What would be shown as 1024.0 is one of the next.
        if size < 1023.95 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "B" { format!("{number} B") } else { format!("{size:.1} {unit}") }
}

/// A length of time: in milliseconds up to ten seconds, in whole seconds beyond.
pub(super) fn milliseconds(milliseconds: u64) -> String {
    if milliseconds < 10_000 { format!("{milliseconds} ms") } else { seconds(milliseconds as f64 / 1e3) }
}

/// A length of time in whole seconds.
pub(super) fn seconds(seconds: f64) -> String {
    show_duration(Duration::from_secs(seconds.max(0.0) as u64))
}

/// Without its styles.
pub(super) fn colourless(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// The terminal's width in characters, if standard output is one.
pub(super) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// The words in lines of at most `width` characters, where that is possible, each behind `indent` spaces and with a
/// newline.
pub(super) fn wrapped(words: &str, width: usize, indent: usize) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length <= width {
            text.push(' ');
            column += 1 + length;
            text.push_str(word);
            continue;
        }
        if column > 0 {
            text.push('\n');
        }
        text.extend(std::iter::repeat_n(' ', indent));
        text.push_str(word);
        column = indent + length;
    }
    text.push('\n');
    text
}

/// At most `width` characters, the last one being `…` if something is left out.
pub(super) fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.into(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A line with its styles, of at most `width` characters, the last one being `…` if something is left out.
pub(super) fn cut(line: &str, width: usize) -> String {
    if colourless(line).chars().count() <= width {
        return line.to_owned();
    }
    let (mut text, mut shown, mut in_style) = (String::with_capacity(line.len()), 0, false);
    for char in line.chars() {
        match char {
            '\u{1b}' => in_style = true,
            _ if in_style => in_style = char != 'm',
            _ if shown + 1 < width => shown += 1,
            _ if shown < width => {
                text.push('…');
                shown = width;
                continue;
            }
            // Styles that end behind are still to be ended.
            _ => continue,
        }
        text.push(char);
    }
    text
}

/// A JSON text on one line, printable, and the same JSON: what is replaced is either white space between tokens or
/// a part of a string.
pub(super) fn one_line(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unprintable) {
        return json.into();
    }
    let mut line = String::with_capacity(json.len());
    json.chars().for_each(|char| push_json(&mut line, char));
    line.into()
}

/// A JSON text over several lines, printable; every number and key as it stands there, in its order.
pub(super) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut chars = json.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                text.push('"');
                push_string(&mut text, &mut chars);
            }
            '{' | '[' => {
                text.push(char);
                while chars.next_if(|char| char.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                    continue;
                }
                depth += 1;
                push_line(&mut text, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                push_line(&mut text, depth);
                text.push(char);
            }
            ',' => {
                text.push(',');
                push_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            char if char.is_ascii_whitespace() => {}
            char => push_json(&mut text, char),
        }
    }
    text
}

/// The rest of a string, its closing quotation mark included.
fn push_string(text: &mut String, chars: &mut impl Iterator<Item = char>) {
    while let Some(char) = chars.next() {
        push_json(text, char);
        match char {
            '"' => return,
            '\\' => chars.next().into_iter().for_each(|escaped| push_json(text, escaped)),
            _ => {}
        }
    }
}

fn push_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

fn push_json(text: &mut String, char: char) {
    match char {
        '\n' | '\r' | '\t' => text.push(' '),
        char if is_unprintable(char) => {
            write!(text, "\\u{:04x}", u32::from(char)).expect("writing to memory cannot fail");
        }
        char => text.push(char),
    }
}
