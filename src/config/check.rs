//! Raw to checked, in one pure function: TOML and the environment in, values or every error out.
//!
//! Syntax errors are reported alone, all of them: what the parser recovered beside them would only bring errors that
//! nobody made.

use std::{
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::{
    checked::{CallerRateLimit, Config, Data, IndexRule, Limits, NonIdempotent, Retention},
    destinations::Destinations,
    environment::Environment,
    keys::{DATA_DIR, ROOT},
    listen,
    overrides::{self, Override},
    permissions,
    problem::ConfigErrors,
    reader::{Findings, Table, Value, closest, one_of},
    telemetry,
    transforms::Transforms,
    units::{Count, Size},
};
use crate::record::INDEX_BYTES_MAX;

/// Checks a config's text; `file` is its name in errors. Nothing outside the arguments is read.
pub(super) fn check(
    file: Option<&Path>,
    text: &str,
    environment: &dyn Environment,
) -> Result<(Config, Vec<Override>), ConfigErrors> {
    let findings = Findings::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    syntax_errors(&errors, text, &findings);
    let checked = match errors.is_empty() {
        true => Some(sections(document.get_ref(), &findings, environment)),
        false => None,
    };
    let (problems, hidden) = findings.into_parts();
    match checked {
        Some(checked) if problems.is_empty() => Ok(checked),
        _ => Err(ConfigErrors::new(file, text, problems, &hidden)),
    }
}

/// The errors of a config that was accepted, once these keys are refused for what they lead to.
pub(super) fn refused(file: Option<&Path>, text: &str, refused: &[(String, String)]) -> ConfigErrors {
    let findings = Findings::default();
    let (document, _) = DeTable::parse_recoverable(text);
    for (key, why) in refused {
        findings.add(key, place_of(document.get_ref(), key), why.clone(), None);
    }
    let (problems, hidden) = findings.into_parts();
    ConfigErrors::new(file, text, problems, &hidden)
}

/// Where a key stands, or the nearest table above it.
fn place_of(root: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (mut table, mut place) = (root, None);
    for part in key.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part) else {
            break;
        };
        place = Some(name.span());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => {
                place = Some(value.span());
                break;
            }
        }
    }
    place
}

fn sections(
    document: &DeTable<'_>,
    findings: &Findings,
    environment: &dyn Environment,
) -> (Config, Vec<Override>) {
    let mut root = Table::new(document, ROOT, String::new(), 0..0, findings);
    let listen = listen::read(root.table("listen"), environment);
    let data = data(root.table("data"));
    let limits = limits(root.table("limits"), data.segment_bytes);
    let telemetry = telemetry::read(root.table("telemetry"));
    let permissions = permissions::read(&mut root);

    let mut destinations = Destinations::read(root.table("destinations"), data.disk_bytes_max, environment);
    if destinations.names.is_empty() {
        root.missing("destinations", "at least one [destinations.NAME]");
    }
    check_directories(&destinations, &data.dir, &environment.working_directory());

    let mut defaults = root.table("defaults");
    let default_destinations = match defaults.take("destinations") {
        Some(value) => references(&value, &destinations.names),
        None => destinations.names.clone(),
    };
    defaults.finish();
    destinations.complete(&default_destinations);
    let transforms = Transforms::read(root.table("transforms"), &limits);
    let indexes = index_rules(&mut root, &destinations.names, &transforms.names);
    root.finish();

    let mut config = Config {
        listen,
        data,
        limits,
        telemetry,
        permissions,
        destinations: destinations.checked,
        transforms: transforms.checked,
        indexes,
        default_destinations,
    };
    let overrides = overrides::apply(&mut config, environment, findings);
    (config, overrides)
}

/// `data.dir` of a text that may have errors, or its default. What does not parse and does not show the key has errors
/// alone.
pub(super) fn named_data_dir(file: Option<&Path>, text: &str) -> Result<PathBuf, ConfigErrors> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let data = document.get_ref().get("data").and_then(|data| data.get_ref().as_table());
    let dir = data.and_then(|data| data.get("dir")).and_then(|dir| dir.get_ref().as_str());
    match dir {
        Some(dir) => Ok(dir.into()),
        None if errors.is_empty() => Ok(DATA_DIR.into()),
        None => {
            let findings = Findings::default();
            syntax_errors(&errors, text, &findings);
            let (problems, hidden) = findings.into_parts();
            Err(ConfigErrors::new(file, text, problems, &hidden))
        }
    }
}

fn data(mut table: Table<'_>) -> Data {
    let dir = table.path("dir").unwrap_or_else(|| PathBuf::from(DATA_DIR));
    let disk_bytes_max = table.quantity::<Size>("disk_bytes_max");
    let segment_bytes = table.quantity_by("segment_bytes", disk_bytes_max).0;
    let retention = retention(table.table("retention"), disk_bytes_max);
    table.finish();
    Data { dir, disk_bytes_max: disk_bytes_max.0, segment_bytes, retention }
}

fn retention(mut table: Table<'_>, disk_bytes_max: Size) -> Retention {
    let age = table.quantity("age");
    let bytes_max = table.quantity_by("bytes_max", disk_bytes_max).0;
    table.finish();
    Retention { age, bytes_max }
}

fn limits(mut table: Table<'_>, segment_bytes: u64) -> Limits {
    let request: Size = table.quantity_by("request_bytes_max", Size(segment_bytes));
    let refuse_or_allow = [("refuse", NonIdempotent::Refuse), ("allow", NonIdempotent::Allow)];
    let limits = Limits {
        record_bytes_max: table.quantity_by("record_bytes_max", request).length(),
        request_bytes_max: request.length(),
        request_records_max: table.quantity::<Count>("request_records_max").length(),
        indexes_max: table.quantity::<Count>("indexes_max").length(),
        non_idempotent_operations: table.choice("non_idempotent_operations", refuse_or_allow),
        connections_max: table.quantity::<Count>("connections_max").length(),
        connection_requests_max: table.quantity::<Count>("connection_requests_max").0,
        decoding_bytes_max: table.quantity_by("decoding_bytes_max", request).length(),
        receive_timeout: table.quantity("receive_timeout"),
        transforms_bytes_max: table.quantity::<Size>("transforms_bytes_max").length(),
        caller_rate_limit: caller_rate_limit(table.table("caller_rate_limit")),
    };
    table.finish();
    limits
}

fn caller_rate_limit(mut table: Table<'_>) -> CallerRateLimit {
    let limit = CallerRateLimit {
        requests_per_second: table.optional("requests_per_second").map(|Count(requests)| requests),
        bytes_per_second: table.optional("bytes_per_second").map(|Size(bytes)| bytes),
    };
    table.finish();
    limit
}

fn index_rules(root: &mut Table<'_>, names: &[Arc<str>], transforms: &[Arc<str>]) -> Vec<IndexRule> {
    let Some(value) = root.take("indexes") else { return Vec::new() };
    let mut rules: Vec<IndexRule> = Vec::new();
    for item in value.items("an array of tables: [[indexes]]") {
        let Some(mut table) = item.table() else { continue };
        let pattern = pattern(&mut table, &rules);
        let destinations = match table.take("destinations") {
            Some(value) => references(&value, names),
            None => {
                table.missing("destinations", format!("an array of destinations, {}", known(names)));
                Vec::new()
            }
        };
        let transform = table.take("transform").and_then(|value| transform(&value, transforms));
        table.finish();
        rules.push(IndexRule { pattern: pattern.unwrap_or_default(), destinations, transform });
    }
    rules
}

/// `match`: an index name, in which `*` stands for any characters and `?` for one.
fn pattern(table: &mut Table<'_>, earlier: &[IndexRule]) -> Option<String> {
    let accepted = "an index name of 1 to 256 bytes, in which * stands for any characters and ? for one";
    let Some(value) = table.take("match") else {
        table.missing("match", accepted);
        return None;
    };
    let pattern = value.pattern(accepted, INDEX_BYTES_MAX)?;
    if matches!(pattern, "." | "..") {
        value.wrong("can match nothing", accepted);
    } else if earlier.iter().any(|rule| rule.pattern == pattern) {
        value.wrong("already has a rule, and the first match wins", "each pattern once");
    }
    Some(pattern.to_owned())
}

/// An array of destinations' names, none of them twice; at least one.
fn references(value: &Value<'_>, names: &[Arc<str>]) -> Vec<Arc<str>> {
    let accepted = format!("an array of destinations, {}", known(names));
    let items = value.items(&accepted);
    if items.is_empty() && value.is_array() {
        value.wrong("without a destination", accepted.clone());
    }
    let mut found: Vec<Arc<str>> = Vec::new();
    for item in items {
        let Some(name) = item.string(&accepted) else { continue };
        match names.iter().find(|known| &***known == name) {
            Some(name) if found.contains(name) => item.wrong("is named twice", "each destination once"),
            Some(name) => found.push(name.clone()),
            None => item.wrong("is no destination", meant(name, names)),
        }
    }
    found
}

/// The name of a transform.
fn transform(value: &Value<'_>, names: &[Arc<str>]) -> Option<Arc<str>> {
    let name = value.string(&format!("the name of a transform, {}", known(names)))?;
    let found = names.iter().find(|known| &***known == name);
    if found.is_none() {
        value.wrong("is no transform", meant(name, names));
    }
    found.cloned()
}

/// What somebody who wrote an unknown name probably meant.
fn meant(name: &str, names: &[Arc<str>]) -> String {
    let words: Vec<&str> = names.iter().map(|name| &**name).collect();
    let closest = closest(name, &words).map(|meant| format!("did you mean \"{meant}\"?"));
    closest.unwrap_or_else(|| known_words(&words))
}

fn known(names: &[Arc<str>]) -> String {
    known_words(&names.iter().map(|name| &**name).collect::<Vec<_>>())
}

fn known_words(names: &[&str]) -> String {
    match names {
        [] => "none of which is configured".to_owned(),
        names => one_of(names.iter().copied()),
    }
}

/// Files must lie neither among the log's nor among another destination's, where rotation would meet strangers.
/// Compares names only: links are not followed.
fn check_directories(destinations: &Destinations<'_>, data_dir: &Path, working_directory: &Path) {
    let logs = normal(working_directory, &data_dir.join("logs"));
    let mut seen: Vec<(PathBuf, &str)> = Vec::new();
    for (value, dir) in &destinations.directories {
        let dir = normal(working_directory, dir);
        if dir.starts_with(&logs) {
            value.wrong("lies inside the log's directory", format!("a directory outside {}", logs.display()));
        }
        match seen.iter().find(|(other, _)| *other == dir) {
            Some((_, key)) => {
                value.wrong(&format!("is the directory of {key}"), "a directory for each file destination");
            }
            None => seen.push((dir, &value.path)),
        }
    }
}

/// The path as an absolute one without `.` and `..`.
fn normal(working_directory: &Path, path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in working_directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Notes the first error of each line: in a line that the parser has lost it finds errors that nobody made.
///
/// Nothing is known of a document that does not parse, so the values of lines that may hold a secret are hidden.
fn syntax_errors(errors: &[toml::de::Error], text: &str, findings: &Findings) {
    const SUSPICIOUS: [&str; 6] = ["key", "secret", "token", "password", "auth", "app_id"];
    let mut last = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let span = span.start.min(text.len())..span.end.min(text.len());
        let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        if last.replace(start) == Some(start) {
            continue;
        }
        let end = text[start..].find('\n').map_or(text.len(), |length| start + length).max(span.end);
        let line = text[start..end].to_ascii_lowercase();
        if let Some(equals) = line.find('=')
            && SUSPICIOUS.iter().any(|word| line.contains(word))
        {
            findings.hide(start + equals..end);
        }
        findings.add("not TOML", Some(span), error.message().to_owned(), None);
    }
}
