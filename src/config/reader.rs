//! A walk over a TOML document that keeps every value's place and goes on after an error, so that all errors are
//! found at once.
//!
//! A [`Table`] gives its entries away by [`Table::take`] and the typed getters, which go by the declarations of its keys;
//! what is left when it is finished is an unknown key. After an error a getter returns the default: the result is thrown
//! away as a whole then.
//!
//! Reading a key that is not declared, or not reading one that is, is a defect of ours: it refuses every config, so that
//! no test passes.

mod declared;
mod json;

use std::{cell::RefCell, collections::BTreeMap, ops::Range, path::PathBuf};

use plugin_api::settings::{Form, Key};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::Problem;

/// Collects the problems of one document and the places that must never be shown.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    hidden: RefCell<Vec<Range<usize>>>,
}

impl Findings {
    /// Notes a problem; one without a span is about an environment variable or the whole file.
    pub(super) fn add(
        &self,
        key: &str,
        span: Option<Range<usize>>,
        message: String,
        accepted: Option<String>,
    ) {
        self.add_value(key, span, None, message, accepted);
    }

    /// Notes a problem of a value that may be shown.
    pub(super) fn add_value(
        &self,
        key: &str,
        span: Option<Range<usize>>,
        value: Option<String>,
        message: String,
        accepted: Option<String>,
    ) {
        let key = key.to_owned();
        let problem = Problem { line: None, column: None, key, value, message, accepted, span };
        self.problems.borrow_mut().push(problem);
    }

    /// Keeps a place from being shown.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.hidden.borrow_mut().push(span);
    }

    /// The problems and the hidden places.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Range<usize>>) {
        (self.problems.into_inner(), self.hidden.into_inner())
    }
}

/// A value with its path and place.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    /// Such as `destinations.search.hosts[0]`.
    pub(super) path: String,
    /// Where the key stands; the value itself for an item of an array.
    pub(super) key_span: Range<usize>,
    /// Those of the tables in it.
    keys: &'static [Key],
    inner: &'a Spanned<DeValue<'a>>,
    findings: &'a Findings,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.inner.span()
    }

    /// Notes what is wrong with it; the message follows the value, as in `"5XB" is not a size`.
    pub(super) fn wrong(&self, what: &str, accepted: impl Into<String>) {
        let shown = show(self.inner.get_ref());
        let message = format!("{shown} {what}");
        self.findings.add_value(&self.path, Some(self.span()), Some(shown), message, Some(accepted.into()));
    }

    /// Notes what is wrong with it without saying what it is, and keeps it from being shown.
    pub(super) fn wrong_secretly(&self, message: impl Into<String>, accepted: impl Into<String>) {
        self.hide();
        self.findings.add(&self.path, Some(self.span()), message.into(), Some(accepted.into()));
    }

    fn hide(&self) {
        self.findings.hide(self.span());
        hide_all(self.inner, self.findings);
    }

    /// Notes what is wrong with its key.
    pub(super) fn wrong_name(&self, accepted: &str) {
        let message = "not a valid name".to_owned();
        self.findings.add(&self.path, Some(self.key_span.clone()), message, Some(accepted.to_owned()));
    }

    /// The string, if it is one; nothing is noted.
    pub(super) fn as_str(&self) -> Option<&'a str> {
        self.inner.get_ref().as_str()
    }

    /// Whether it is an array; nothing is noted.
    pub(super) fn is_array(&self) -> bool {
        self.inner.get_ref().is_array()
    }

    /// The table, if it is one; nothing is noted.
    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        // The span of a table that stands in its own section is its header.
        let table = self.inner.get_ref().as_table()?;
        Some(Table::new(table, self.keys, self.path.clone(), self.key_span.clone(), self.findings))
    }

    /// A string that is not empty; anything else is noted.
    pub(super) fn string(&self, accepted: &str) -> Option<&'a str> {
        match self.inner.get_ref() {
            DeValue::String(text) if text.is_empty() => self.wrong("is empty", accepted),
            DeValue::String(text) => return Some(text),
            _ => self.wrong("is not a string", accepted),
        }
        None
    }

    /// A string of which names are made, perhaps with wildcards; anything else is noted.
    pub(super) fn pattern(&self, accepted: &str, bytes_max: usize) -> Option<&'a str> {
        let pattern = self.string(accepted)?;
        if pattern.len() > bytes_max || pattern.chars().any(char::is_control) {
            self.wrong("can match nothing", accepted);
        }
        Some(pattern)
    }

    /// A table; anything else is noted.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        let table = self.as_table();
        if table.is_none() {
            self.wrong("is not a table", format!("a table: [{}] or {{ ... }}", self.path));
        }
        table
    }

    /// The items of an array; anything else is noted.
    pub(super) fn items(&self, accepted: &str) -> Vec<Value<'a>> {
        let DeValue::Array(array) = self.inner.get_ref() else {
            self.wrong("is not an array", accepted);
            return Vec::new();
        };
        let item = |(at, inner): (usize, &'a Spanned<DeValue<'a>>)| Value {
            path: format!("{}[{at}]", self.path),
            key_span: inner.span(),
            keys: self.keys,
            inner,
            findings: self.findings,
        };
        array.iter().enumerate().map(item).collect()
    }
}

/// A table whose entries are given away one by one.
#[derive(Debug)]
pub(super) struct Table<'a> {
    keys: &'static [Key],
    /// Those of a destination's type.
    more: &'static [Key],
    path: String,
    span: Range<usize>,
    entries: BTreeMap<&'a str, (Range<usize>, &'a Spanned<DeValue<'a>>)>,
    asked: Vec<&'static str>,
    findings: &'a Findings,
}

impl<'a> Table<'a> {
    /// The table of a path (empty for the whole document); `span` stands for it in messages.
    pub(super) fn new(
        table: &'a DeTable<'a>,
        keys: &'static [Key],
        path: String,
        span: Range<usize>,
        findings: &'a Findings,
    ) -> Self {
        let entry =
            |(key, value): (&'a Spanned<_>, _)| (AsRef::<str>::as_ref(key.get_ref()), (key.span(), value));
        let entries = table.iter().map(entry).collect();
        Self { keys, more: &[], path, span, entries, asked: Vec::new(), findings }
    }

    /// From here on it has these keys, too.
    pub(super) fn and(&mut self, keys: &'static [Key]) {
        self.more = keys;
    }

    /// The entry of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let Some(form) = self.form(key) else {
            self.defect(key, "is read, but not declared");
            return None;
        };
        let (key_span, inner) = self.entries.remove(key)?;
        Some(Value { path: self.path_of(key), key_span, keys: form.keys(), inner, findings: self.findings })
    }

    /// What a key is declared to hold.
    fn form(&self, key: &str) -> Option<Form> {
        self.keys().find(|declared| declared.name == key).map(|declared| declared.form)
    }

    fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().chain(self.more)
    }

    /// Refuses the config for what we did wrong.
    fn defect(&self, key: &str, what: &str) {
        self.findings.add(&self.path_of(key), None, format!("{what}: a defect of sync-agent"), None);
    }

    /// Every entry, for a table whose keys are names that the operator chose; in the order of the file.
    pub(super) fn take_all(&mut self) -> Vec<(&'a str, Value<'a>)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let mut all: Vec<_> = entries
            .map(|(key, (key_span, inner))| {
                let (path, keys) = (self.path_of(key), self.keys);
                (key, Value { path, key_span, keys, inner, findings: self.findings })
            })
            .collect();
        all.sort_by_key(|(_, value)| value.key_span.start);
        all
    }

    /// The table of a key; an empty one if there is none, so that every default applies.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        let path = self.path_of(key);
        match self.take(key).and_then(|value| value.table()) {
            Some(table) => table,
            None => Table {
                keys: self.form(key).map_or(&[], |form| form.keys()),
                more: &[],
                path,
                span: self.span.clone(),
                entries: BTreeMap::new(),
                asked: Vec::new(),
                findings: self.findings,
            },
        }
    }

    /// Whether there is such a key, still to be taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A path, as it is written; `None` if there is none.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let accepted = "a path, absolute or relative to the working directory, such as \"./out\"";
        self.take(key)?.string(accepted).map(PathBuf::from)
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, accepted: impl Into<String>) {
        self.findings.add(
            &self.path_of(key),
            Some(self.span.clone()),
            "missing".to_owned(),
            Some(accepted.into()),
        );
    }

    /// Refuses keys that exist in the design and not in this version.
    pub(super) fn later(&mut self, keys: &[&str]) {
        for key in keys {
            if let Some((span, value)) = self.entries.remove::<str>(key) {
                hide_all(value, self.findings);
                let message = "not supported by this version".to_owned();
                let accepted = Some("leave it out for now".to_owned());
                self.findings.add(&self.path_of(key), Some(span), message, accepted);
            }
        }
    }

    /// Gives up on the rest, unread and never to be shown.
    pub(super) fn abandon(self) {
        self.entries.values().for_each(|(_, value)| hide_all(value, self.findings));
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        let names: Vec<&str> = self.keys().map(|key| key.name).collect();
        for (key, (span, value)) in &self.entries {
            hide_all(value, self.findings);
            let accepted = match closest(key, &names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => one_of(names.iter().copied()),
            };
            let path = self.path_of(key);
            self.findings.add(&path, Some(span.clone()), "unknown key".to_owned(), Some(accepted));
        }
        for name in names.iter().filter(|name| !self.asked.contains(name)) {
            self.defect(name, "is declared, but not read");
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// "one of: a, b" for messages.
pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    match words.as_slice() {
        [word] => format!("\"{word}\""),
        words => format!("one of: {}", words.join(", ")),
    }
}

/// The word that somebody who wrote `given` probably meant.
pub(super) fn closest<'a>(given: &str, words: &[&'a str]) -> Option<&'a str> {
    let similar = |word: &&str| strsim::jaro_winkler(given, word);
    let best = words.iter().copied().max_by(|a, b| similar(a).total_cmp(&similar(b)))?;
    (similar(&best) > 0.8).then_some(best)
}

/// A value in a message: scalars as they are, the others by their kind.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let cut: String = text.chars().take(80).collect();
            format!("{cut:?}{}", if cut.len() < text.len() { "..." } else { "" })
        }
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Hides the strings of a value that is not understood: one of them may be a secret under a wrong name. A table's own
/// span is only its header, so each entry is visited.
fn hide_all(value: &Spanned<DeValue<'_>>, findings: &Findings) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| hide_all(value, findings)),
        DeValue::Array(array) => array.iter().for_each(|value| hide_all(value, findings)),
        DeValue::String(_) => findings.hide(value.span()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}
