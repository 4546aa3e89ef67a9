//! The text of an example: settings that are worth a look, explained by their declarations. What is set has a reason to
//! differ from one site to another; the others are commented out and show their defaults.

use std::fmt::Write as _;

use super::init::Type;
use crate::{
    cli::text::wrapped,
    config::{keys, reference},
};

/// How wide comments are.
const WIDTH: usize = 80;

/// A setting of the example: its key, and what stands behind it.
#[derive(Clone, Copy)]
enum Line<'a> {
    /// With this value.
    Set(&'a str, &'a str),
    /// Commented out, with its default.
    Default(&'a str),
    /// Commented out, with this value.
    Such(&'a str, &'a str),
}

use Line::{Default, Set, Such};

const LISTEN: &[Line<'_>] =
    &[Set("grpc", r#""127.0.0.1:50051""#), Default("http"), Such("admin", r#""127.0.0.1:9601""#)];

const DATA: &[Line<'_>] = &[
    Set("dir", r#""./sync-agent-data""#),
    Set("disk_bytes_max", r#""20GiB""#),
    Such("retention", r#"{ age = "24h", bytes_max = "5GiB" }"#),
];

const ALGOLIA: &[Line<'_>] = &[
    Set("app_id", r#"{ env = "ALGOLIA_APP_ID" }"#),
    Set("api_key", r#"{ env = "ALGOLIA_API_KEY" }"#),
    Such("hosts", r#"["https://proxy.example.com"]"#),
];

const ELASTICSEARCH: &[Line<'_>] = &[
    Set("nodes", r#"["http://127.0.0.1:9200"]"#),
    Such("auth", r#"{ api_key = { env = "ES_API_KEY" } }"#),
    Such("ca_file", r#""/etc/ssl/es-ca.pem""#),
    Default("partial_updates"),
];

const FILE: &[Line<'_>] = &[Set("dir", r#""./out""#), Such("rotate", r#"{ bytes = "128MiB", age = "1h" }"#)];

/// What every destination has.
const DESTINATION: &[Line<'_>] = &[
    Default("from"),
    Default("index"),
    Default("backlog_bytes_max"),
    Such("on_backlog_full", r#""refuse""#),
    Such("dead_letters", r#"{ bytes_max = "1GiB", age_max = "720h" }"#),
];

const TRANSFORM: &[Line<'_>] =
    &[Such("path", r#""transforms/redact.wasm""#), Such("config", r#"{ fields = ["email"] }"#)];

const HEAD: &str = "\
# The config of sync-agent. Lines that are commented out show defaults or
# examples; `sync-agent config reference` has every key.
#
# For completion in an editor with taplo (Even Better TOML), run
#   sync-agent config schema > agent.schema.json
# and make this the first line of the file:
#   #:schema ./agent.schema.json
";

/// The text, with a destination of each type; each gets every index.
pub(super) fn text(types: &[Type]) -> String {
    let mut text = HEAD.to_owned();
    section(&mut text, "[listen]", "listen", LISTEN);
    section(&mut text, "[data]", "data", DATA);
    for (at, kind) in types.iter().enumerate() {
        let (name, lines) = destination(*kind);
        let header = format!("[destinations.{name}]\ntype = \"{}\"", kind_name(*kind));
        section(&mut text, &header, "destinations.NAME", lines);
        // Said once is enough.
        if at == 0 {
            text.push_str("# Every destination has these:\n");
            DESTINATION.iter().for_each(|line| push(&mut text, "destinations.NAME", *line));
        }
    }
    let names: Vec<String> = types.iter().map(|kind| format!("\"{}\"", destination(*kind).0)).collect();
    let destinations = format!("[{}]", names.join(", "));
    let rule = [
        Such("match", r#""products*""#),
        Such("destinations", &destinations),
        Such("transform", r#""redact""#),
    ];
    text.push_str("\n# Every index goes to every destination, unless a rule says otherwise.");
    section(&mut text, "# [[indexes]]", "indexes", &rule);
    section(&mut text, "# [transforms.redact]", "transforms.NAME", TRANSFORM);
    text
}

/// The environment variables that a type's example refers to.
pub(super) fn variables(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Algolia => &["ALGOLIA_APP_ID", "ALGOLIA_API_KEY"],
        Type::Elasticsearch | Type::File => &[],
    }
}

fn kind_name(kind: Type) -> &'static str {
    match kind {
        Type::Algolia => "algolia",
        Type::Elasticsearch => "elasticsearch",
        Type::File => "file",
    }
}

/// Its name in the example, and what only its type has.
fn destination(kind: Type) -> (&'static str, &'static [Line<'static>]) {
    match kind {
        Type::Algolia => ("search", ALGOLIA),
        Type::Elasticsearch => ("elastic", ELASTICSEARCH),
        Type::File => ("archive", FILE),
    }
}

fn section(text: &mut String, header: &str, path: &str, lines: &[Line<'_>]) {
    let _ = writeln!(text, "\n{header}");
    lines.iter().for_each(|line| push(text, path, *line));
}

/// A setting, under what its declaration says of it.
fn push(text: &mut String, path: &str, line: Line<'_>) {
    let (Set(name, _) | Default(name) | Such(name, _)) = line;
    let path = format!("{path}.{name}");
    let meaning = keys::find(&path).map(|key| wrapped(key.meaning, WIDTH - 2, 0)).unwrap_or_default();
    for comment in meaning.lines() {
        let _ = writeln!(text, "# {comment}");
    }
    let _ = match line {
        Set(name, value) => writeln!(text, "{name} = {value}"),
        Such(name, value) => writeln!(text, "# {name} = {value}"),
        Default(name) => {
            writeln!(text, "# {name} = {}", reference::default_of(&path).unwrap_or_default())
        }
    };
}

#[cfg(test)]
mod tests {
    use harness::schema::Schema;

    use super::*;
    use crate::config::{FixedEnvironment, Kind, load_text, schema};

    const TYPES: [Type; 3] = [Type::Algolia, Type::Elasticsearch, Type::File];

    /// With each setting that is commented out, which is a line with an equals sign or a header.
    fn in_full(text: &str) -> String {
        let (_, text) = text.split_once("\n\n").unwrap();
        let line = |line: &str| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let setting = bare.starts_with('[') || bare.split(' ').nth(1) == Some("=");
            if setting { bare.to_owned() } else { line.to_owned() }
        };
        text.lines().map(|text| line(text) + "\n").collect()
    }

    /// Whoever begins with an example meets no error: not as it stands, not with all of it.
    #[test]
    fn every_example_is_accepted() {
        let secrets = FixedEnvironment::new(
            &[("ALGOLIA_APP_ID", "app"), ("ALGOLIA_API_KEY", "key"), ("ES_API_KEY", "key")],
            &[("/etc/ssl/es-ca.pem", "-----BEGIN CERTIFICATE-----\n")],
        );
        let schema = Schema::new(&schema());
        for types in [&TYPES[..], &TYPES[..1], &TYPES[1..2], &TYPES[2..]] {
            let example = text(types);
            let full = in_full(&example);
            assert!(full.lines().filter(|line| line.contains(" = ")).count() > 15, "{full}");
            for text in [example, full] {
                let loaded =
                    load_text(None, text.clone(), &secrets).unwrap_or_else(|errors| panic!("{errors}"));
                assert_eq!(loaded.config.destinations.len(), types.len());
                assert_eq!(schema.refusal(&text), None, "{text}");
            }
        }
    }

    /// Files need no account, no server and no variable, so that a first config starts at once.
    #[test]
    fn without_a_type_it_starts_at_once() {
        let loaded = load_text(None, text(&[Type::File]), &FixedEnvironment::new(&[], &[])).unwrap();
        assert!(matches!(loaded.config.destinations[0].kind, Kind::File(_)));
    }

    /// Each comment comes from the key's declaration, and each default is the one that holds.
    #[test]
    fn settings_are_explained() {
        let text = text(&[Type::Algolia]);
        let expected = "\n# How much of the log it may be behind.\n# backlog_bytes_max = \"10GiB\"\n";
        assert!(text.contains(expected), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(!line.ends_with("= "), "{line}");
        }
        let settings = in_full(&text).lines().filter(|line| line.contains(" = ")).count();
        assert!(text.lines().filter(|line| line.starts_with("# ")).count() > 2 * settings - 4, "{text}");
    }
}
