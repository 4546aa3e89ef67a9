//! The declarations are true: each key is read as it is declared, in its limits and with its default, and no other is.

use std::{collections::BTreeSet, sync::LazyLock};

use harness::tls::{Authority, Identity};
use plugin_api::settings::{Absent, Bounds, Form, Key, Type};
use toml::{Table, Value};

use super::*;
use crate::config::{
    keys::{ROOT, TYPES, find, resolved},
    listing,
    reader::{self, Findings},
    reference::{default_of, reference},
    units::{Count, Quantity, Size},
};

/// Writes an amount.
type Show = fn(u64) -> Value;

/// A key that holds a value, where it stands in [`base`].
pub(super) struct Leaf {
    pub(super) path: Vec<&'static str>,
    pub(super) key: &'static Key,
    pub(super) of: &'static Type,
}

impl Leaf {
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// [`base`] with this value of it.
    pub(super) fn with(&self, value: impl Into<Value>) -> String {
        let mut file: Table = base(self.of).parse().unwrap();
        if self.is_of_tls() {
            // A table without these is refused.
            file.extend(tls().parse::<Table>().unwrap());
        }
        let (last, tables) = self.path.split_last().unwrap();
        let mut table = &mut file;
        for name in tables {
            let inner = table.entry(*name).or_insert_with(|| Table::new().into());
            table = match inner {
                Value::Array(array) => array[0].as_table_mut().unwrap(),
                inner => inner.as_table_mut().unwrap(),
            };
        }
        table.insert((*last).to_owned(), value.into());
        file.to_string()
    }

    fn is_of_tls(&self) -> bool {
        self.path.starts_with(&["listen", "tls"])
    }

    /// What is declared of a quantity, and how its amounts are written.
    fn bounds(&self) -> Option<(Bounds, Show)> {
        fn text<Q: Quantity>(amount: u64) -> Value {
            Q::from_amount(amount).show().into()
        }
        match self.key.form {
            Form::Size(bounds) => Some((bounds, text::<Size>)),
            Form::Duration(bounds) => Some((bounds, text::<Duration>)),
            Form::Count(bounds) => Some((bounds, |amount| Value::Integer(amount.try_into().unwrap()))),
            _ => None,
        }
    }

    /// Its limits, inclusive, where every other key has its default.
    fn limits(&self) -> Option<(Value, Value, [Option<Value>; 2])> {
        let (bounds, value) = self.bounds()?;
        let [from, to] = [bounds.from, bounds.to].map(|amount| resolved(amount, &bounds, 0));
        Some((value(from), value(to), [from.checked_sub(1).map(value), Some(value(to + 1))]))
    }

    /// Values that are accepted, and differ from the default.
    pub(super) fn good(&self) -> Vec<Value> {
        let secret = || Table::from_iter([("env".to_owned(), "KEY".into())]);
        let table =
            |name: &str, value: Table| Value::from(Table::from_iter([(name.to_owned(), value.into())]));
        match self.key.form {
            Form::Size(_) | Form::Count(_) | Form::Duration(_) => {
                let (from, to, _) = self.limits().unwrap();
                vec![from, to]
            }
            Form::Flag(default) => vec![Value::from(!default)],
            Form::Word { .. } if self.key.name == "type" => vec![self.of.name.into()],
            Form::Word { words, default } => {
                words.iter().copied().filter(|word| Some(*word) != default).map(Value::from).collect()
            }
            Form::Text(_) => {
                let texts: &[&str] = match self.key.name {
                    "grpc" | "admin" => &["127.0.0.1:9", "[::1]:0"],
                    "http" => &["127.0.0.1:9", "[::1]:0", "off"],
                    "otlp" => &["http://127.0.0.1:4317", "http://collector:4317/"],
                    "from" => &["oldest", "2026-01-31T12:00:00Z", "20260131T120000+01"],
                    "index" => &["{index}_v2"],
                    "sha256" => &["0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"],
                    "match" => &["orders-?"],
                    "transform" => &["t"],
                    "ca_file" => &["/etc/ca.pem"],
                    "cert" | "client_ca" => &["/etc/agent.pem"],
                    "key" => &["/etc/agent.key"],
                    _ => &["elsewhere"],
                };
                texts.iter().copied().map(Value::from).collect()
            }
            Form::Texts(_) if self.key.name == "destinations" => vec![vec!["d"].into()],
            Form::Texts(_) if self.key.name == "actions" => vec![vec!["delete", "save"].into()],
            Form::Texts(_) => vec![vec!["https://a:1", "HTTPS://b/"].into()],
            Form::Secret => {
                let file = Table::from_iter([("file".to_owned(), "/run/key".into())]);
                vec![secret().into(), file.into()]
            }
            Form::Free => vec![table("a", Table::new())],
            Form::OneOf(_) => {
                let mut basic = Table::from_iter([("user".to_owned(), "agent".into())]);
                basic.insert("password".to_owned(), secret().into());
                vec![table("basic", basic), table("api_key", secret()), table("bearer", secret())]
            }
            form => panic!("{form:?} is no leaf"),
        }
    }

    /// Values that are refused, whatever else there is.
    pub(super) fn bad(&self) -> Vec<Value> {
        let mut bad = vec![Value::from(-1), Value::from(1.5), Value::from(vec![Value::from(7)])];
        match self.key.form {
            Form::Size(_) => bad.extend(["1MB", "1.5MiB", "-1", ""].map(Value::from)),
            Form::Duration(_) => {
                bad.extend(["1d", "1", "-1s", "1 s"].map(Value::from).into_iter().chain([7.into()]))
            }
            Form::Count(_) => bad.extend(["1MiB", "1e3"].map(Value::from)),
            Form::Flag(_) => bad.extend(["true", "yes"].map(Value::from)),
            Form::Word { .. } => bad.extend(["", "Refuse"].map(Value::from)),
            Form::Text(_) | Form::Texts(_) => bad.extend([Value::from(""), Table::new().into()]),
            Form::Secret | Form::OneOf(_) => bad.extend([Value::from("secret"), Table::new().into()]),
            _ => bad.push("text".into()),
        }
        bad
    }
}

/// A config of this type with everything that must be there, a transform and a rule.
pub(super) fn base(of: &Type) -> String {
    let settings = match of.name {
        "algolia" => "app_id = { env = \"APP\" }\napi_key = { env = \"KEY\" }",
        "elasticsearch" => "nodes = [\"https://es:9200\"]",
        "file" => "dir = \"./out\"",
        name => panic!("a type without an example: {name}"),
    };
    format!(
        "[destinations.d]\ntype = \"{}\"\n{settings}\n[transforms.t]\npath = \"t.wasm\"\n[[permissions]]\ncaller = \
         \"*\"\nindexes = [\"*\"]\n[[indexes]]\nmatch = \"products*\"\ndestinations = [\"d\"]\n",
        of.name
    )
}

/// `[listen.tls]` with every key.
fn tls() -> &'static str {
    "[listen.tls]\ncert = \"/etc/agent.pem\"\nkey = \"/etc/agent.key\"\nclient_ca = \"/etc/agent.pem\"\n"
}

pub(super) fn surroundings() -> FixedEnvironment {
    static AGENT: LazyLock<Identity> = LazyLock::new(|| Authority::new("agents").issue(&["localhost"]));
    FixedEnvironment::new(
        &[("APP", "app"), ("KEY", "key")],
        &[
            ("/run/key", "key\n"),
            ("/etc/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
            ("/etc/agent.pem", &AGENT.certificate),
            ("/etc/agent.key", &AGENT.key),
        ],
    )
}

/// Every key that holds a value, for every type of destination.
pub(super) fn leaves() -> Vec<Leaf> {
    fn collect(leaves: &mut Vec<Leaf>, before: &[&'static str], keys: &'static [Key], of: &'static Type) {
        for key in keys {
            let mut path = [before, &[key.name]].concat();
            match key.form {
                Form::Table(keys) | Form::List(keys) => collect(leaves, &path, keys, of),
                Form::Named(keys) => {
                    path.push("t");
                    collect(leaves, &path, keys, of);
                }
                Form::Destinations { keys, .. } => {
                    path.push("d");
                    collect(leaves, &path, keys, of);
                    collect(leaves, &path, of.keys, of);
                }
                _ => leaves.push(Leaf { path, key, of }),
            }
        }
    }
    let mut leaves = Vec::new();
    TYPES.iter().for_each(|of| collect(&mut leaves, &[], ROOT, of));
    leaves
}

fn config(text: &str) -> Config {
    checked(text, &surroundings()).0
}

/// A config's values by their paths, as `check` shows them.
fn listed(config: &Config) -> BTreeSet<(String, String)> {
    let sections = [
        ("listen", listing::listen(config)),
        ("data", listing::data(config)),
        ("limits", listing::limits(config)),
        ("telemetry", listing::telemetry(config)),
        ("destinations.d", listing::destination(&config.destinations[0])),
        ("transforms.t", listing::transform(&config.transforms[0])),
        ("defaults", listing::defaults(config)),
    ];
    let rows = sections.iter().flat_map(|(section, rows)| {
        rows.shown().map(move |(key, value)| (format!("{section}.{key}"), value))
    });
    rows.collect()
}

/// What a key that is left out becomes is what its declaration says; and `check` shows each key, under its name.
#[test]
fn what_is_left_out_has_the_default_that_is_declared() {
    let mut seen = 0;
    for leaf in leaves() {
        let listed = listed(&config(&base(leaf.of)));
        let Some((_, value)) = listed.iter().find(|(path, _)| *path == leaf.name()) else {
            let is_shown_otherwise = ["indexes", "permissions"].contains(&leaf.path[0]) || leaf.is_of_tls();
            assert!(is_shown_otherwise, "{} is not listed", leaf.name());
            continue;
        };
        let declared = match leaf.bounds() {
            Some((Bounds { default: Some(amount), .. }, show)) => {
                let shown = show(resolved(amount, &leaf.bounds().unwrap().0, leaf.of.batch_operations));
                Some(shown.as_str().map_or(shown.to_string(), ToOwned::to_owned))
            }
            _ => default_of(&leaf.name())
                .map(|default| default.as_str().map_or(default.to_string(), ToOwned::to_owned)),
        };
        let declared = match (leaf.key.absent, declared) {
            // Only the first words can be compared: they tell on what it depends.
            (Absent::Means(means), None) if leaf.key.name == "on_backlog_full" => {
                means.split(' ').next().unwrap().to_owned()
            }
            (Absent::Means("all"), None) => "d".to_owned(),
            (Absent::Means(means), None) => means.to_owned(),
            (Absent::Default, Some(default)) => default,
            (Absent::Refused, None) => continue,
            (absent, default) => panic!("{}: {absent:?} and {default:?}", leaf.name()),
        };
        assert_eq!(*value, declared, "{} of {}", leaf.name(), leaf.of.name);
        seen += 1;
    }
    assert!(seen > 100, "only {seen} defaults were compared");
    for of in TYPES {
        for (path, _) in listed(&config(&base(of))) {
            assert!(find(&path).is_some(), "{path} is listed, but not declared");
        }
    }
}

/// Both ends of every range are accepted; what lies just beyond is refused, and the words name the range.
#[test]
fn limits_are_those_that_are_declared() {
    let mut seen = 0;
    for leaf in leaves() {
        let Some((from, to, beyond)) = leaf.limits() else { continue };
        for end in [&from, &to] {
            config(&leaf.with(end.clone()));
        }
        let shown = |value: &Value| value.as_str().map_or(value.to_string(), ToOwned::to_owned);
        for value in beyond.into_iter().flatten() {
            let told = told(&leaf.with(value.clone()), &surroundings());
            let expected = format!(" from {} to {}", shown(&from), shown(&to));
            let refused = told.iter().find(|told| told.contains(&format!(" {}: ", leaf.name()))).unwrap();
            assert!(refused.contains("is out of range") && refused.contains(&expected), "{value}: {refused}");
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} limits were tried");
}

/// Whatever a key may hold is read and makes a difference, which takes a restart where it is declared so.
#[test]
fn every_value_is_read_and_takes_a_restart_where_it_is_declared() {
    let mut restarts = BTreeSet::new();
    for leaf in leaves() {
        let before = config(&base(leaf.of));
        let mut differ = 0;
        for value in leaf.good() {
            let changes = Changes::between(&before, &config(&leaf.with(value)));
            differ += usize::from(!changes.is_empty());
            if leaf.key.restart && !changes.is_empty() {
                assert_eq!(changes.needs_restart, [leaf.name()]);
                restarts.insert(leaf.name());
                continue;
            }
            // What is live may move the default of what is not.
            let depends = |path: &String| {
                let others =
                    find(path).and_then(|key| Size::bounds(&key.form)).and_then(|bounds| bounds.other());
                others == Some(&*leaf.name())
            };
            let needs = &changes.needs_restart;
            assert!(needs.iter().all(depends), "{}: {needs:?}", leaf.name());
        }
        let stays = leaf.key.name == "type"
            || leaf.name() == "defaults.destinations"
            || leaf.name() == "indexes.destinations";
        assert!(differ > 0 || stays, "{} of {} makes no difference", leaf.name(), leaf.of.name);
        for value in leaf.bad() {
            let refused = check(None, &leaf.with(value.clone()), &surroundings());
            assert!(refused.is_err(), "{} = {value}", leaf.name());
        }
    }
    let expected = [
        "data.dir",
        "data.segment_bytes",
        "limits.connection_requests_max",
        "limits.connections_max",
        "limits.decoding_bytes_max",
        "limits.receive_timeout",
        "listen.admin",
        "listen.grpc",
        "listen.http",
    ];
    assert_eq!(restarts.into_iter().collect::<Vec<_>>(), expected, "what the README tells");
}

/// Scenario: somebody reads a key and does not declare it, declares one and does not read it, or as something else. No
/// config is accepted then.
#[test]
fn a_key_is_read_only_where_it_is_declared() {
    const KEYS: &[Key] = &[
        Key::new("size", Form::Size(Bounds::fixed(1, 0, 9)), "A size."),
        Key::new("none", Form::Size(Bounds::optional(0, 9)), "A size without a default."),
        Key::new("word", Form::Word { words: &["a", "b"], default: Some("a") }, "A word."),
    ];
    let told = |text: &str, read: fn(&mut reader::Table<'_>)| {
        let findings = Findings::default();
        let document = toml::de::DeTable::parse(text).unwrap();
        let mut table = reader::Table::new(document.get_ref(), KEYS, String::new(), 0..0, &findings);
        read(&mut table);
        table.finish();
        let (problems, _) = findings.into_parts();
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>()
    };
    let all = |table: &mut reader::Table<'_>| {
        table.quantity::<Size>("size");
        table.optional::<Size>("none");
        table.choice("word", [("a", 1), ("b", 2)]);
    };
    assert!(told("size = 2\nword = \"b\"", all).is_empty());
    assert_eq!(
        told("other = 1", |table| drop(table.take("other"))),
        [
            "other: is read, but not declared: a defect of sync-agent",
            "other: unknown key",
            "size: is declared, but not read: a defect of sync-agent",
            "none: is declared, but not read: a defect of sync-agent",
            "word: is declared, but not read: a defect of sync-agent",
        ]
    );
    let otherwise = |table: &mut reader::Table<'_>| {
        table.quantity::<Count>("size");
        table.quantity::<Size>("none");
        table.choice("word", [("a", 1)]);
    };
    let told = told("", otherwise);
    assert_eq!(told.len(), 4, "{told:?}");
    for (told, what) in told.iter().zip([
        "size: is read as an integer, but not declared as one",
        "size: has no default",
        "none: has no default",
        "word: does not have the words that are declared",
    ]) {
        assert!(told.starts_with(what), "{told}");
    }
}

/// Words that operators read: sentences, and a reference that has every key once.
#[test]
fn every_key_is_explained() {
    let entries: Vec<_> = reference().into_iter().flat_map(|section| section.keys).collect();
    for entry in &entries {
        assert!(entry.meaning.ends_with('.'), "{}: {}", entry.key, entry.meaning);
        assert!(
            !entry.facts.contains("default none") || entry.default.is_none(),
            "{}: {}",
            entry.key,
            entry.facts
        );
        assert!(find(&entry.key).is_some(), "{}", entry.key);
    }
    let of_types: usize = TYPES.iter().map(|of| of.keys.len()).sum();
    let names: BTreeSet<_> = entries.iter().map(|entry| &entry.key).collect();
    assert!(names.len() + of_types > entries.len());
    for leaf in leaves() {
        let path: Vec<&str> =
            leaf.path.iter().map(|name| if matches!(*name, "d" | "t") { "NAME" } else { name }).collect();
        assert!(names.contains(&path.join(".")), "{path:?}");
    }
    let lesser = entries.iter().find(|entry| entry.key == "data.segment_bytes").unwrap();
    let json = serde_json::to_value(lesser).unwrap();
    let expected = serde_json::json!({
        "key": "data.segment_bytes",
        "meaning": "A segment of the log, the unit in which disk is given back. A request must fit into one.",
        "type": "size", "unit": "bytes", "required": false, "live": false, "default": "128MiB",
        "range": "64KiB to the lesser of 1GiB and a quarter of data.disk_bytes_max",
        "without": "the lesser of 128MiB and a quarter of data.disk_bytes_max",
    });
    assert_eq!(json, expected);
}

/// What an amount depends on exists, and all amounts of a quantity depend on the same.
#[test]
fn amounts_depend_on_keys_that_exist() {
    for leaf in leaves() {
        let Some((bounds, _)) = leaf.bounds() else { continue };
        let others = [bounds.default, Some(bounds.from), Some(bounds.to)];
        let others: BTreeSet<_> = others.into_iter().flatten().filter_map(|amount| amount.other()).collect();
        assert!(others.len() <= 1, "{}: {others:?}", leaf.name());
        assert!(others.iter().all(|path| find(path).is_some()), "{}: {others:?}", leaf.name());
    }
    assert!(find("data.nothing").is_none() && find("destinations.x").is_none() && find("").is_none());
}
