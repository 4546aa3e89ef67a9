//! Events as an operator reads them.

use plugin_api::identity::Timestamp;
use serde_json::{json, value::RawValue};

use super::*;
use crate::{admin::Time, cli::text::colourless};

fn record(index: &str, data: &str) -> TailChange {
    TailChange {
        action: "save".to_owned(),
        index: index.to_owned(),
        object_id: "42".to_owned(),
        data: Some(RawValue::from_string(data.to_owned()).unwrap()),
        data_start: None,
        data_bytes: data.len() as u64,
    }
}

fn happened(kind: TailKind, data: &str) -> TailEvent {
    let destination = (kind != TailKind::Accepted).then(|| "search".to_owned());
    TailEvent {
        at: Time(Timestamp(1_795_000_000_123_456)),
        event: kind,
        milliseconds: destination.is_some().then_some(12),
        destination,
        reason: None,
        position: None,
        request_id: None,
        caller: None,
        record: Some(record("products", data)),
        operation: None,
        over_rate: None,
        too_slow: None,
    }
}

fn shown(event: &TailEvent) -> String {
    colourless(&super::event(event, None))
}

const LAMP: &str = r#"{"name":"Lamp","email":"a@b.c"}"#;

#[test]
fn every_kind_has_its_line() {
    assert_eq!(
        shown(&happened(TailKind::Accepted, LAMP)),
        format!("11:06:40.123Z  accepted       products 42 save\n      {LAMP}\n")
    );
    let of_caller =
        TailEvent { caller: Some("shop\u{1b}[2J".to_owned()), ..happened(TailKind::Accepted, LAMP) };
    assert_eq!(
        shown(&of_caller),
        format!("11:06:40.123Z  accepted       products 42 save from shop\\u{{1b}}[2J\n      {LAMP}\n")
    );
    for (kind, words) in [
        (TailKind::Delivered, "delivered      products 42 save to search in 12 ms"),
        (
            TailKind::Superseded,
            "superseded     products 42 save at search after 12 ms, something newer of it is there",
        ),
        (TailKind::Skipped, "skipped        products 42 save for search, its transform leaves it out"),
    ] {
        assert_eq!(shown(&happened(kind, LAMP)), format!("11:06:40.123Z  {words}\n"));
    }
    for (kind, word) in [(TailKind::DeadLettered, "dead-lettered"), (TailKind::Gap, "not kept     ")] {
        let reason = Some("rejected (400): no such field".to_owned());
        let event = TailEvent { reason, milliseconds: Some(75_000), ..happened(kind, LAMP) };
        assert_eq!(
            shown(&event),
            format!(
                "11:06:40.123Z  {word}  products 42 save at search after 1m15s: rejected (400): no such field\n"
            )
        );
    }
    let not_shown = TailEvent {
        record: None,
        over_rate: Some(1_200),
        too_slow: Some(1),
        ..happened(TailKind::NotShown, LAMP)
    };
    assert_eq!(
        shown(&not_shown),
        "11:06:40.123Z  not shown      1,200 events beyond --rate, 1 event that came faster than they are read\n"
    );
}

/// What a transform made is shown beside what it was, and so is the destination's name for the index.
#[test]
fn what_differs_is_shown() {
    let made = record("products", r#"{"name":"LAMP"}"#);
    let event = TailEvent { operation: Some(made), ..happened(TailKind::Delivered, LAMP) };
    let text = super::event(&event, None);
    assert_eq!(
        colourless(&text),
        "11:06:40.123Z  delivered      products 42 save to search in 12 ms\n      - email: \"a@b.c\"\n      - name: \"Lamp\"\n      + name: \"LAMP\"\n"
    );
    assert!(text.contains(&styled(GOOD, "+ name: \"LAMP\"")), "{text:?}");
    let event = TailEvent { operation: Some(record("products_v2", LAMP)), ..event };
    assert_eq!(
        shown(&event),
        "11:06:40.123Z  delivered      products 42 save to search in 12 ms, where the index is products_v2\n"
    );
    let other = TailChange { object_id: "42-de".to_owned(), ..record("products", r#"{"name":"Lampe"}"#) };
    let event = TailEvent { operation: Some(other), ..event };
    assert!(
        shown(&event).contains(" becomes\n    save 42-de\n      - email: \"a@b.c\"\n      - name: \"Lamp\"\n      + name: \"Lampe\"\n"),
        "{}",
        shown(&event)
    );
}

#[test]
fn what_is_too_large_is_said_to_be() {
    let cut = |mut change: TailChange| {
        (change.data, change.data_start, change.data_bytes) =
            (None, Some("{\"text\":\"xxx".to_owned()), 34_816);
        change
    };
    let event = happened(TailKind::Accepted, LAMP);
    let event = TailEvent { record: event.record.map(cut), ..event };
    assert!(shown(&event).ends_with("\n      {\"text\":\"xxx… 34.0 KiB in all\n"), "{}", shown(&event));
    let operation = Some(record("products", "{}"));
    let event = TailEvent { operation, ..TailEvent { event: TailKind::Delivered, ..event } };
    assert!(
        shown(&event).ends_with("\n      too large to be compared: 34.0 KiB became 2 B\n"),
        "{}",
        shown(&event)
    );
    let wide = super::event(&happened(TailKind::Accepted, LAMP), Some(16));
    assert!(colourless(&wide).ends_with("\n      {\"name\":\"…\n"), "{wide}");
}

/// G10: whatever a producer, a transform or a destination says, nothing of it reaches the terminal as a command.
#[test]
fn nothing_of_it_is_a_command() {
    const BAD: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{2066}\u{61c}\r\n";
    let data = json!({ BAD: BAD }).to_string();
    // As it may stand in JSON: nobody has to escape these.
    let raw = "{\"a\u{202e}\":\"\u{9b}\u{2028}\u{61c}\"}".to_owned();
    for data in [data, raw] {
        for kind in [
            TailKind::Accepted,
            TailKind::Delivered,
            TailKind::Superseded,
            TailKind::Skipped,
            TailKind::DeadLettered,
            TailKind::Gap,
        ] {
            let bad = |data: &str| TailChange {
                action: BAD.to_owned(),
                index: BAD.to_owned(),
                object_id: BAD.to_owned(),
                ..record("", data)
            };
            let with_other_data = TailChange { action: "save".to_owned(), ..bad("{\"other\":1}") };
            let cut = TailChange { data: None, data_start: Some(BAD.to_owned()), ..bad("{}") };
            for operation in [None, Some(bad("{}")), Some(with_other_data), Some(cut.clone())] {
                for record in
                    [bad(&data), TailChange { action: "save".to_owned(), ..bad(&data) }, cut.clone()]
                {
                    let event = TailEvent {
                        destination: Some(BAD.to_owned()),
                        reason: Some(BAD.to_owned()),
                        record: Some(record),
                        operation: operation.clone(),
                        ..happened(kind, "{}")
                    };
                    let text = shown(&event);
                    let is_bad = |char: char| char != '\n' && crate::cli::text::is_unprintable(char);
                    assert!(!text.contains(is_bad), "{text:?}");
                    // Colours are ours; nothing else begins with an escape.
                    let coloured = super::event(&event, Some(80));
                    let ours = coloured.split('\u{1b}').skip(1).all(|after| {
                        let style = after.strip_prefix('[').and_then(|after| after.split_once('m'));
                        style.is_some_and(|(style, _)| {
                            style.chars().all(|char| char.is_ascii_digit() || char == ';')
                        })
                    });
                    assert!(ours, "{coloured:?}");
                    let line = crate::cli::tail::line(&event).unwrap();
                    assert!(!line.trim_end().contains(crate::cli::text::is_unprintable), "{line:?}");
                }
            }
        }
    }
}
