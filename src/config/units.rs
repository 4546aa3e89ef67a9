//! Quantities as an operator writes them: sizes ("1MiB"), durations ("1m30s", the grammar of Go's `ParseDuration`)
//! and counts. Each parses from text, shows itself in the same notation, and says what it accepts.

use std::{ops::RangeInclusive, time::Duration};

use plugin_api::settings::{Bounds, Form, GIB, KIB, MIB, TIB};

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// From the largest down, in nanoseconds; the micro sign and the Greek letter mean the same.
const DURATION_UNITS: [(&str, u128); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// Something with a range.
pub(super) trait Quantity: Copy + PartialOrd {
    /// With its article, for messages.
    const NOUN: &str;
    /// How one is written.
    const EXAMPLE: &str;
    /// Whether TOML may give it as a plain integer.
    const INTEGER: bool;

    /// What a declaration says of it; `None` if something else is declared.
    fn bounds(form: &Form) -> Option<Bounds>;

    /// From the number that a declaration has for it.
    fn from_amount(amount: u64) -> Self;

    /// The number that a declaration has for it.
    fn amount(self) -> u64;

    /// Reads the notation; `None` if it is another.
    fn parse(text: &str) -> Option<Self>;

    /// Writes the notation.
    fn show(&self) -> String;

    /// What is accepted, for messages.
    fn accepted(range: &RangeInclusive<Self>) -> String {
        let (from, to) = (range.start().show(), range.end().show());
        format!("{} from {from} to {to}, such as {}", Self::NOUN, Self::EXAMPLE)
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Size(pub(super) u64);

impl Size {
    /// The bytes as a length in memory.
    pub(super) fn length(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Quantity for Size {
    const NOUN: &str = "a size";
    const EXAMPLE: &str = "\"512KiB\", \"1MiB\", \"20GiB\" or a number of bytes";
    const INTEGER: bool = true;

    fn bounds(form: &Form) -> Option<Bounds> {
        if let Form::Size(bounds) = form { Some(*bounds) } else { None }
    }

    fn from_amount(amount: u64) -> Self {
        Self(amount)
    }

    fn amount(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().ok()?;
        let unit = match &text[digits..] {
            "" => 1,
            unit => SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        number.checked_mul(unit).map(Self)
    }

    fn show(&self) -> String {
        show_size(self.0)
    }
}

impl Quantity for Duration {
    const NOUN: &str = "a duration";
    const EXAMPLE: &str = "\"200ms\", \"1.5s\", \"1m30s\" or \"24h\"";
    const INTEGER: bool = false;

    fn bounds(form: &Form) -> Option<Bounds> {
        if let Form::Duration(bounds) = form { Some(*bounds) } else { None }
    }

    fn from_amount(amount: u64) -> Self {
        Self::from_nanos(amount)
    }

    fn amount(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        parse_duration(text)
    }

    fn show(&self) -> String {
        show_duration(*self)
    }
}

/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Count(pub(super) u32);

impl Count {
    /// The number as a length in memory.
    pub(super) fn length(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Quantity for Count {
    const NOUN: &str = "an integer";
    const EXAMPLE: &str = "10";
    const INTEGER: bool = true;

    fn bounds(form: &Form) -> Option<Bounds> {
        if let Form::Count(bounds) = form { Some(*bounds) } else { None }
    }

    fn from_amount(amount: u64) -> Self {
        Self(u32::try_from(amount).unwrap_or(u32::MAX))
    }

    fn amount(self) -> u64 {
        self.0.into()
    }

    fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok().map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn accepted(range: &RangeInclusive<Self>) -> String {
        format!("an integer from {} to {}", range.start().0, range.end().0)
    }
}

/// A size in the largest unit that divides it, such as `20GiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => "0B".to_owned(),
    }
}

/// A duration in whole units, such as `1m30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut shown = String::new();
    for (name, unit) in DURATION_UNITS.iter().filter(|(name, _)| name.is_ascii()) {
        if rest >= *unit {
            shown.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

/// Go's `time.ParseDuration` without a minus sign: numbers, each with an optional fraction and a unit, in any order;
/// a lone "0" needs no unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let unit = DURATION_UNITS.iter().find(|(name, _)| *name == &after[..end])?.1;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(unit)?)?.checked_add(part(fraction, unit))?;
        rest = &after[end..];
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Splits the leading ASCII digits off.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.fraction` of a unit; what lies below a nanosecond is cut off, and so are digits that cannot reach one.
fn part(fraction: &str, unit: u128) -> u128 {
    let fraction = &fraction[..fraction.len().min(20)];
    let scale: u128 = fraction.bytes().map(|_| 10).product();
    fraction.parse::<u128>().unwrap_or(0) * unit / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Go's own table of tests, and what it refuses.
    #[test]
    fn durations_are_read_as_go_reads_them() {
        let read = |text| parse_duration(text).map(|duration| duration.as_nanos());
        for (text, nanos) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("2us", 2_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("39h9m14.425s", 140_954_425_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("0.100000000000000000000h", 360_000_000_000),
        ] {
            assert_eq!(read(text), Some(nanos), "{text}");
        }
        for text in ["", "3", "-5s", "s", ".", "+", ".s", "1d", "5 s", "1e3s", "9999999999999h", "1s1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_and_shown_as_they_are_written() {
        for text in ["512B", "1KiB", "1MiB", "20GiB", "3TiB"] {
            assert_eq!(Size::parse(text).map(|size| size.show()).as_deref(), Some(text));
        }
        assert_eq!(Size::parse("1048576"), Some(Size(MIB)));
        for text in ["", "MiB", "1MB", "1.5MiB", "-1", "1 MiB", "99999999999TiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!(show_size(0), "0B");
        assert_eq!(show_size(1536), "1536B");
    }

    #[test]
    fn durations_are_shown_in_whole_units() {
        let shown = |text| parse_duration(text).map(show_duration);
        for text in ["200ms", "1m30s", "24h", "1s500ms", "2us", "0s"] {
            assert_eq!(shown(text).as_deref(), Some(text));
        }
    }
}
