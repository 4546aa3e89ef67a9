//! Texts that are no config, and some that nearly are. Longer: `PROPTEST_CASES=100000`.

use std::path::Path;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::with;
use crate::config::check::check;

/// Much of what a config may have.
const TEXT: &str = r#"
[listen]
grpc = "127.0.0.1:50051"
[data]
dir = "./data"
disk_bytes_max = "20GiB"
retention = { age = "12h", bytes_max = "5GiB" }
[limits]
record_bytes_max = "1MiB"
indexes_max = 1000
[defaults]
destinations = ["search", "mirror"]
[destinations.search]
type = "algolia"
app_id = { env = "APP" }
api_key = { file = "/run/key" }
batch = { operations_max = 100, linger = "50ms" }
[destinations.mirror]
type = "elasticsearch"
nodes = ["https://es-1:9200", "http://127.0.0.1:9200"]
auth = { basic = { user = "agent", password = { env = "KEY" } } }
on_backlog_full = "detach"
[[indexes]]
match = "products*"
destinations = ["search"]
"#;

const WORDS: [&str; 24] = [
    "[",
    "]",
    "[[indexes]]",
    "=",
    "\"",
    "'''",
    "{",
    "}",
    ".",
    "#",
    "\n",
    "-1",
    "1e999",
    "0x",
    "nan",
    "true",
    "9223372036854775808",
    "[destinations.search]",
    "type = \"file\"\n",
    "match = \"**\"\n",
    "\u{0}",
    "\u{feff}",
    "é",
    "1979-05-27T07:32:00Z",
];

/// Errors with a place in the text, or a config: never a panic.
fn is_judged(text: &str) {
    let environment = with(&[("APP", "SECRET-APP"), ("KEY", "SECRET-KEY")]);
    if let Err(errors) = check(Some(Path::new("agent.toml")), text, &environment) {
        assert!(!errors.errors.is_empty());
        for colours in [false, true] {
            let rendered = errors.render(colours);
            assert!(!rendered.is_empty() && !rendered.contains("SECRET-"), "{rendered}");
        }
        let lines = text.split('\n').count();
        for problem in &errors.errors {
            assert!(
                problem.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{problem:?} in {lines} lines"
            );
        }
    }
}

proptest! {
    #[test]
    fn changed_configs(changes in vec((any::<Index>(), any::<Index>(), 0..4_u8, any::<char>()), 1..6)) {
        let mut text: Vec<char> = TEXT.chars().collect();
        for (at, word, what, character) in changes {
            let at = at.index(text.len() + 1);
            match what {
                0 => _ = text.splice(at..at, WORDS[word.index(WORDS.len())].chars()),
                1 => _ = text.drain(at..(at + word.index(20)).min(text.len())),
                // A part of it comes twice.
                2 => text.extend_from_within(at..(at + 60).min(text.len())),
                _ => text.insert(at, character),
            }
        }
        is_judged(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_text(text in ".{0,200}", words in vec(any::<Index>(), 0..20)) {
        is_judged(&text);
        let text: String = words.iter().map(|word| WORDS[word.index(WORDS.len())]).collect();
        is_judged(&text);
    }
}
