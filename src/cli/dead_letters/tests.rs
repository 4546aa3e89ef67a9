//! The commands on real stores, from their arguments to their output.

mod choice;

use std::collections::HashSet;

use bytes::Bytes;
use clap::Parser as _;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Key, Source},
    verdict::{Reason, ReasonCode},
};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::dead_letter::{
    Bounds, Cause, Change, Filed, Letter, LetterId, Range, Stage, Store, record_range, store_path,
};

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

/// What a command printed and how it ended.
struct Ran {
    out: String,
    errors: String,
    outcome: Outcome,
}

fn run(dir: &TempDir, arguments: &str) -> Ran {
    let words = ["dead-letters"].into_iter().chain(arguments.split_whitespace());
    let command = on_stores(Program::try_parse_from(words).unwrap());
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let outcome = execute(&command, dir.path(), &mut out, &mut errors, None).unwrap();
    Ran { out: String::from_utf8(out).unwrap(), errors: String::from_utf8(errors).unwrap(), outcome }
}

fn on_stores(program: Program) -> OnStores {
    match program.arguments.command {
        Command::OnStores(command) => command,
        Command::Replay(replay) => panic!("{replay:?} asks an agent"),
    }
}

fn letter(offset: u64, body: &'static str) -> Letter {
    Letter {
        source: Source {
            log_id: LogId(Uuid::from_u128(7)),
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::from_u128(8)),
            accepted_at: Timestamp(1_577_836_800_000_000),
            caller: None,
        },
        version: Version(offset),
        record: Change {
            action: Action::Save,
            key: Key { index: "products".into(), object_id: format!("object-{offset}").into() },
            body: Bytes::from_static(body.as_bytes()),
        },
        operation: None,
        module: None,
        stage: Stage::Delivery,
        reason: Reason::new(ReasonCode::Rejected, "record is too odd").with_status(400),
        attempts: 1,
        dead_lettered_at: Timestamp(1_577_836_801_000_000 + offset * 1_000_000),
    }
}

async fn file(dir: &TempDir, destination: &str, letters: Vec<Letter>) {
    let store = Store::open(&store_path(dir.path(), destination), Bounds::default()).unwrap();
    store.file(letters).await.unwrap();
    store.close().await.unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All destinations in one table, the newest first, columns aligned.
#[tokio::test]
async fn lists_the_newest_first() {
    let dir = TempDir::new().unwrap();
    file(&dir, "search", vec![letter(1, "{}"), letter(3, "{}")]).await;
    file(&dir, "archive", vec![letter(2, "{}")]).await;
    let ran = run(&dir, "list");
    assert_eq!(
        anstream::adapter::strip_str(&ran.out).to_string(),
        "ID  DESTINATION  DEAD-LETTERED         INDEX     OBJECT    STAGE     REASON\n\
         2   search       2020-01-01T00:00:04Z  products  object-3  delivery  rejected (400): record is too odd\n\
         1   archive      2020-01-01T00:00:03Z  products  object-2  delivery  rejected (400): record is too odd\n\
         1   search       2020-01-01T00:00:02Z  products  object-1  delivery  rejected (400): record is too odd\n"
    );
    assert!(run(&dir, "list --limit 1").out.contains("the newest 1; --limit shows more"));
    let ran = run(&dir, "list --destination archive --json");
    assert_eq!(lines(&ran.out).len(), 1);
    assert_eq!(lines(&ran.out)[0]["destination"], "archive");
    assert_eq!(run(&dir, "list --index other").out, "no dead letters\n");
}

/// Ranges stand below the letters, in a table of their own, and in JSON as lines of their own after the letters' lines,
/// which are as they were.
#[tokio::test]
async fn ranges_are_told_apart_from_letters() {
    let dir = TempDir::new().unwrap();
    file(&dir, "search", vec![letter(1, "{}")]).await;
    let range = |destination: &str, first, index: Option<&str>, cause| {
        let range = Range {
            log_id: LogId(Uuid::from_u128(7)),
            first: Position { partition: 0, offset: first },
            end: Position { partition: 0, offset: first + 10 },
            index: index.map(Into::into),
            records: 7,
            cause,
            message: "why \u{1b}[2J".into(),
            recorded_at: Timestamp(1_577_836_801_000_000 + first * 1_000_000),
        };
        record_range(&store_path(dir.path(), destination), &range).unwrap();
    };
    range("search", 20, Some("products"), Cause::DeadLettersFull);
    range("archive", 30, None, Cause::Rotten);
    assert_eq!(
        anstream::adapter::strip_str(&run(&dir, "list").out).to_string(),
        "ID  DESTINATION  DEAD-LETTERED         INDEX     OBJECT    STAGE     REASON\n\
         1   search       2020-01-01T00:00:02Z  products  object-1  delivery  rejected (400): record is too odd\n\
         \n\
         records that are neither delivered nor kept as letters:\n\
         DESTINATION  RECORDED              INDEX     RECORDS  FROM  UP TO  CAUSE\n\
         archive      2020-01-01T00:00:31Z  unknown   7        0:30  0:40   rotten: why \\u{1b}[2J\n\
         search       2020-01-01T00:00:21Z  products  7        0:20  0:30   dead_letters_full: why \\u{1b}[2J\n"
    );
    let alone = run(&dir, "list --destination archive").out;
    assert!(alone.starts_with("no dead letters\n\n"), "{alone}");
    assert_eq!(run(&dir, "list --reason rejected").out.lines().count(), 2, "no range has a reason");

    for (arguments, offsets) in [("list --json", [30, 20]), ("export", [30, 20])] {
        let out = run(&dir, arguments).out;
        assert!(!out.contains('\u{1b}'), "{out}");
        let lines = lines(&out);
        assert_eq!((lines.len(), &lines[0]["id"], lines[0].get("range")), (3, &Value::from(1), None));
        let found: Vec<_> = lines[1..].iter().map(|line| line["range"]["first"]["offset"].as_u64()).collect();
        assert_eq!(found, offsets.map(Some), "{arguments}");
    }
    let of_search = &lines(&run(&dir, "export --destination search").out)[1];
    let expected = serde_json::json!({
        "destination": "search",
        "range": {
            "cause": "dead_letters_full",
            "message": "why \u{1b}[2J",
            "log_id": "00000000-0000-0000-0000-000000000007",
            "first": { "partition": 0, "offset": 20 },
            "end": { "partition": 0, "offset": 30 },
            "records": 7,
            "index": "products",
            "recorded_at": "2020-01-01T00:00:21.000000Z",
        },
    });
    assert_eq!(of_search, &expected);
}

/// A narrow terminal shortens the reason, nothing else.
#[test]
fn a_table_ends_with_the_terminal() {
    let filed = Filed { id: LetterId(12), stale: true, purged: false, letter: letter(1, "{}") };
    let mut out = Vec::new();
    table::write(&mut out, &[table::Row::new("search", filed)], Some(100)).unwrap();
    let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
    let last = text.lines().last().unwrap();
    assert_eq!(last.chars().count(), 100);
    assert!(last.ends_with("stale; rejected (400): record …"), "{last}");
}

/// Filters reach the store.
#[tokio::test]
async fn filters() {
    let dir = TempDir::new().unwrap();
    let mut large = letter(2, "{}");
    large.reason = Reason::new(ReasonCode::TooLarge, "too large");
    file(&dir, "search", vec![letter(1, "{}"), large, letter(3, "{}")]).await;
    let offsets = |arguments: &str| -> Vec<u64> {
        lines(&run(&dir, arguments).out)
            .iter()
            .map(|line| line["position"]["offset"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(offsets("list --json --reason too_large"), [2]);
    assert_eq!(offsets("list --json --since 2020-01-01T00:00:03Z"), [3, 2]);
    assert_eq!(offsets("list --json --limit 1"), [3]);
    assert_eq!(offsets("export --limit 2"), [1, 2]);
    assert_eq!(offsets("export --since 1s"), [0_u64; 0]);
    assert_eq!(offsets("export --index products --reason rejected"), [1, 3]);
    for wrong in
        ["list --reason moon_phase", "list --since yesterday", "show abc", "show 9223372036854775808"]
    {
        let words = ["dead-letters"].into_iter().chain(wrong.split_whitespace());
        assert_eq!(Program::try_parse_from(words).unwrap_err().exit_code(), 2, "{wrong}");
    }
}

/// Everything of one letter, with every digit of its data as it was accepted.
#[tokio::test]
async fn shows_everything() {
    let dir = TempDir::new().unwrap();
    let body =
        r#"{"z":1.10,"big":123456789012345678901234567890,"list":[1,{"a":[]},{ }],"text":"a,\"{:}\\"}"#;
    let mut one = letter(5, body);
    one.source.caller = Some("spiffe://mesh/shop\u{1b}[2J".into());
    one.operation = Some(Change {
        action: Action::Delete,
        key: Key { index: "mirror".into(), object_id: "other".into() },
        body: Bytes::new(),
    });
    file(&dir, "search", vec![one]).await;
    let ran = run(&dir, "show 1");
    assert_eq!(
        anstream::adapter::strip_str(&ran.out).to_string(),
        r#"dead letter 1 of search
reason        rejected (400): record is too odd
stage         delivery, sent once
accepted      2020-01-01T00:00:00.000000Z
dead-lettered 2020-01-01T00:00:06.000000Z
request id    00000000-0000-0000-0000-000000000008
log id        00000000-0000-0000-0000-000000000007
position      0:5, operation 0
version       5
caller        spiffe://mesh/shop\u{1b}[2J

record: save object-5 in products
{
  "z": 1.10,
  "big": 123456789012345678901234567890,
  "list": [
    1,
    {
      "a": []
    },
    {}
  ],
  "text": "a,\"{:}\\"
}

operation: delete other in mirror
"#
    );
    for command in ["show 1 --json", "export"] {
        let line = run(&dir, command).out;
        assert!(line.contains(body), "JSON has the body byte for byte");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["caller"], "spiffe://mesh/shop\u{1b}[2J", "{command}");
    }
}

/// An id that nobody has, one that two destinations have, a destination that has no letters: said, and told apart by
/// the exit code.
#[tokio::test]
async fn says_what_it_does_not_find() {
    let dir = TempDir::new().unwrap();
    let ran = run(&dir, "list");
    assert_eq!((ran.out.as_str(), ran.outcome), ("no dead letters\n", Outcome::Done));
    assert_eq!(run(&dir, "export").out, "");

    file(&dir, "search", vec![letter(1, "{}")]).await;
    file(&dir, "archive", vec![letter(2, "{}")]).await;
    let ran = run(&dir, "show 2");
    assert_eq!((ran.outcome, ran.errors.contains("no dead letter 2")), (Outcome::NothingFound, true));
    let ran = run(&dir, "show 1");
    assert_eq!(ran.outcome, Outcome::Ambiguous);
    assert!(ran.errors.contains("--destination: archive, search"), "{}", ran.errors);
    assert_eq!(run(&dir, "show 1 --destination search").outcome, Outcome::Done);
    let ran = run(&dir, "list --destination serach");
    assert_eq!(ran.outcome, Outcome::NothingFound);
    assert!(ran.errors.contains("there are: archive, search"), "{}", ran.errors);
}

/// Nothing in a record reaches a terminal as a command to it: in no output is there an escape but for our styles.
#[tokio::test]
async fn escapes_what_a_terminal_would_obey() {
    let dir = TempDir::new().unwrap();
    let evil = "\u{1b}[2J\u{9b}31m\u{7}\r\n\u{202e}\u{7f}";
    let mut one = letter(1, "");
    one.record.key = Key { index: format!("index{evil}").into(), object_id: format!("id{evil}").into() };
    one.record.body = Bytes::from("{\"\u{9b}k\":\n\"\u{202e}v\u{7f}\"}");
    one.reason.message = format!("refused {evil}");
    file(&dir, "search", vec![one]).await;
    let ours: HashSet<String> = [HEADING, LABEL, FAILURE]
        .iter()
        .flat_map(|style| [style.render().to_string(), style.render_reset().to_string()])
        .collect();
    for arguments in ["list", "list --json", "show 1", "show 1 --json", "export"] {
        let mut out = run(&dir, arguments).out;
        assert!(out.contains("u{1b}") || out.contains("u001b"), "{arguments}: {out:?}");
        for style in &ours {
            out = out.replace(style, "");
        }
        let left: Vec<char> =
            out.chars().filter(|char| text::is_unprintable(*char) && *char != '\n').collect();
        assert!(left.is_empty(), "{arguments}: {left:?}");
    }
    let exported = &lines(&run(&dir, "export").out)[0];
    assert_eq!(exported["record"]["data"]["\u{9b}k"], "\u{202e}v\u{7f}", "escaped, it is the same JSON");
    assert_eq!(exported["record"]["object_id"], format!("id{evil}"));
}

/// A body that is no JSON is exported as text rather than lost.
#[tokio::test]
async fn exports_what_is_not_json() {
    let dir = TempDir::new().unwrap();
    file(&dir, "search", vec![letter(1, "{broken")]).await;
    assert_eq!(lines(&run(&dir, "export").out)[0]["record"]["data_text"], "{broken");
    assert!(run(&dir, "show 1").out.contains("broken"));
}

/// `sync-agent dead-letters export | head -1`: the reader's going away is recognised, whatever it interrupts.
#[tokio::test]
async fn a_broken_pipe_is_recognised() {
    let dir = TempDir::new().unwrap();
    file(&dir, "search", (0..100).map(|offset| letter(offset, "{}")).collect()).await;
    for words in [["dead-letters", "export"], ["dead-letters", "list"]] {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let command = on_stores(Program::try_parse_from(words).unwrap());
        let error = execute(&command, dir.path(), &mut writer, &mut Vec::new(), None).unwrap_err();
        assert!(is_broken_pipe(&error), "{error:?}");
    }
}

/// clap's own checks of the commands' definition.
#[test]
fn the_arguments_are_consistent() {
    use clap::CommandFactory as _;
    Program::command().debug_assert();
}
