//! An event in words: a line, and below it what differs.
//!
//! Names, reasons and attributes are others': nothing of them reaches a terminal as a command.

use anstyle::Style;
use plugin_api::operation::Action;

use crate::{
    admin::{TailChange, TailEvent, TailKind},
    cli::{
        output::{BAD, GOOD, NAME, WARNING, styled},
        remote::counted,
        text::{bytes, milliseconds, one_line, printable, shortened, time_of_day},
        transform::{Becomes, Operation, change},
    },
};

const FAINT: Style = Style::new().dimmed();

/// Attributes on a line of their own begin here.
const INDENT: &str = "      ";

/// All of it, with a line feed at the end. Attributes of an accepted record are cut to the terminal's width, if that is
/// known.
pub(super) fn event(event: &TailEvent, width: Option<usize>) -> String {
    let time = styled(FAINT, time_of_day(event.at.0));
    let Some(record) = &event.record else { return format!("{time}  {}\n", not_shown(event)) };
    let head = format!("{time}  {}  {}", word(event.event), subject(record));
    match event.event {
        TailKind::Accepted => format!("{head}{}\n{}", sender(event), attributes(record, width)),
        TailKind::Delivered | TailKind::Superseded | TailKind::Skipped => {
            format!("{head} {}{}", place(event), becomes(record, event))
        }
        TailKind::DeadLettered | TailKind::Gap => {
            let reason = printable(event.reason.as_deref().unwrap_or("no reason was told"));
            format!("{head} {}: {}{}", place(event), styled(BAD, reason), becomes(record, event))
        }
        TailKind::NotShown => format!("{time}  {}\n", not_shown(event)),
    }
}

/// As wide as the widest.
fn word(kind: TailKind) -> String {
    let (style, word) = match kind {
        TailKind::Accepted => (Style::new(), "accepted"),
        TailKind::Delivered => (GOOD, "delivered"),
        TailKind::Superseded => (FAINT, "superseded"),
        TailKind::Skipped => (FAINT, "skipped"),
        TailKind::DeadLettered => (BAD, "dead-lettered"),
        TailKind::Gap => (BAD, "not kept"),
        TailKind::NotShown => (WARNING, "not shown"),
    };
    styled(style, format!("{word:13}"))
}

fn subject(TailChange { action, index, object_id, .. }: &TailChange) -> String {
    format!("{} {} {}", styled(NAME, printable(index)), styled(NAME, printable(object_id)), printable(action))
}

/// Who sent it, where that is known.
fn sender(event: &TailEvent) -> String {
    event
        .caller
        .as_deref()
        .map(|caller| format!(" from {}", styled(NAME, printable(caller))))
        .unwrap_or_default()
}

/// Where it happened, and how long after the record was accepted.
fn place(event: &TailEvent) -> String {
    let destination = printable(event.destination.as_deref().unwrap_or_default());
    let destination = styled(NAME, destination);
    let after = event.milliseconds.map(milliseconds).unwrap_or_default();
    match event.event {
        TailKind::Delivered => format!("to {destination} in {after}"),
        TailKind::Superseded => format!("at {destination} after {after}, something newer of it is there"),
        TailKind::Skipped => format!("for {destination}, its transform leaves it out"),
        _ => format!("at {destination} after {after}"),
    }
}

fn attributes(record: &TailChange, width: Option<usize>) -> String {
    let text = match (&record.data, &record.data_start) {
        (Some(data), _) => one_line(data.get()).into_owned(),
        (None, Some(start)) => {
            format!("{}… {} in all", one_line(start), bytes(record.data_bytes))
        }
        (None, None) => return String::new(),
    };
    let text = match width {
        Some(width) => shortened(&text, width.saturating_sub(INDENT.len())),
        None => text,
    };
    format!("{INDENT}{text}\n")
}

/// What the record became, if it became anything else; begins where the line ends.
fn becomes(record: &TailChange, event: &TailEvent) -> String {
    let Some(made) = &event.operation else { return "\n".to_owned() };
    let name = match made.index == record.index {
        true => String::new(),
        false => format!(", where the index is {}", styled(NAME, printable(&made.index))),
    };
    if made.data_start.is_some() || record.data_start.is_some() {
        let sizes = format!("{} became {}", bytes(record.data_bytes), bytes(made.data_bytes));
        return format!("{name}\n{INDENT}too large to be compared: {sizes}\n");
    }
    let (Some(from), Some(to)) = (operation(record), operation(made)) else { return format!("{name}\n") };
    match made.index != record.index && is_same(record, made) {
        true => format!("{name}\n"),
        false => format!("{name}{}", change(&from, &Becomes::Operations(vec![to]))),
    }
}

fn is_same(record: &TailChange, made: &TailChange) -> bool {
    let data = |change: &TailChange| change.data.as_ref().map(|data| data.get().to_owned());
    record.action == made.action && record.object_id == made.object_id && data(record) == data(made)
}

/// `None` if this command does not know the action.
fn operation(change: &TailChange) -> Option<Operation> {
    let action = Action::ALL.into_iter().find(|action| action.as_str() == change.action)?;
    let body = change.data.as_ref().map_or("", |data| data.get());
    Some(Operation::new(action, &change.object_id, body.as_bytes()))
}

fn not_shown(event: &TailEvent) -> String {
    let over_rate = event.over_rate.map(|count| format!("{} beyond --rate", counted(count, "event")));
    let too_slow = event
        .too_slow
        .map(|count| format!("{} that came faster than they are read", counted(count, "event")));
    let words: Vec<String> = over_rate.into_iter().chain(too_slow).collect();
    format!("{}  {}", word(TailKind::NotShown), words.join(", "))
}

#[cfg(test)]
mod tests;
