//! Everything that is known of one destination.

use crate::{
    admin::{DestinationStatus, Time},
    cli::{
        output::{BAD, HEADING, NAME, WARNING, styled},
        status::text::state,
        text::{bytes, grouped, printable, seconds},
    },
};

/// Labels take this many characters.
const LABEL: usize = 18;

/// All of it, line by line, long texts over as many lines of `width` characters as they need.
pub(super) fn lines(destination: &DestinationStatus, now: Time, width: usize) -> Vec<String> {
    let DestinationStatus { name, kind, why, last_error, lag, outcomes: of, dead_letters, .. } = destination;
    let kind = kind.as_deref().map_or(String::new(), |kind| format!("{}, ", printable(kind)));
    let mut lines = vec![
        format!("{}  {kind}{}", styled(NAME.bold(), printable(name)), state(destination, now)),
        String::new(),
    ];
    for (label, text) in [("why", why), ("last error", last_error)] {
        let Some(text) = text else { continue };
        let wrapped = wrapped(&printable(text), width.saturating_sub(LABEL));
        let labels = [label].into_iter().chain(std::iter::repeat(""));
        lines.extend(wrapped.iter().zip(labels).map(|(part, label)| line(label, styled(WARNING, part))));
    }
    let of_backlog = lag.bytes_max.map_or(String::new(), |bytes_max| format!(" of {}", bytes(bytes_max)));
    let behind = format!("{} records, {}{of_backlog}", grouped(lag.records), bytes(lag.bytes));
    lines.push(line("behind", behind));
    lines.push(line("oldest waiting", seconds(lag.seconds)));
    lines.push(line("records/s", format!("{:.0}", destination.records_per_second)));
    lines.push(line("in flight", format!("{} operations", grouped(destination.in_flight))));
    lines.push(line("delivered to", destination.delivered));
    lines.push(line("visible to", destination.visible));
    lines.extend([String::new(), styled(HEADING, "what became of every record")]);
    lines.push(match of.add_up() {
        true => line("accepted", grouped(of.accepted)),
        false => line("accepted", styled(BAD, format!("{} (!)", grouped(of.accepted)))),
    });
    let parts = [
        ("written", of.written),
        ("superseded", of.superseded),
        ("skipped", of.skipped),
        ("dead-lettered", of.dead_lettered),
        ("gap", of.gap),
        ("pending", of.pending),
    ];
    lines.extend(parts.map(|(label, count)| line(label, grouped(count))));
    lines.extend([String::new(), styled(HEADING, "dead letters")]);
    let kept = format!(
        "{}, {} of {}",
        grouped(dead_letters.letters),
        bytes(dead_letters.bytes),
        bytes(dead_letters.bytes_max)
    );
    lines.push(line("now", kept));
    let by_reason = dead_letters.by_reason.iter();
    lines.extend(by_reason.map(|(reason, count)| line(&printable(reason), styled(WARNING, grouped(*count)))));
    let name = printable(name);
    lines.extend([String::new(), styled(HEADING, "look further")]);
    lines.push(format!("  sync-agent tail --destination {name}"));
    if dead_letters.letters > 0 {
        lines.push(format!("  sync-agent dead-letters list --destination {name}"));
    }
    lines.push(format!("  sync-agent destination probe {name}"));
    lines
}

fn line(label: &str, value: impl std::fmt::Display) -> String {
    format!("  {label:<width$}{value}", width = LABEL - 2)
}

/// The text in lines of at most `width` characters, broken between words where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut letters: Vec<char> = word.chars().collect();
        while !letters.is_empty() {
            let line = lines
                .last_mut()
                .filter(|line| line.is_empty() || line.chars().count() + letters.len() < width);
            match line {
                Some(line) => {
                    if !line.is_empty() {
                        line.push(' ');
                    }
                    let rest = letters.split_off(letters.len().min(width));
                    line.extend(letters);
                    letters = rest;
                }
                None => lines.push(String::new()),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn long_texts_take_several_lines() {
        assert_eq!(
            wrapped("connection refused by the host at last", 20),
            ["connection refused", "by the host at last"]
        );
        let long = "x".repeat(45);
        assert_eq!(wrapped(&format!("a {long}"), 20), ["a", &long[..20], &long[..20], &long[..5]]);
        assert_eq!(wrapped("", 0), [""]);
    }
}
