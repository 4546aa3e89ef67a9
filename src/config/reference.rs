//! Every key with its meaning, unit, default, range, and whether a change is live: what `config reference` prints, made
//! of the declarations.

use plugin_api::settings::{Absent, Amount, Bounds, Form, Key, Type};
use serde::Serialize;
use serde_json::Value;

use super::{
    keys::{self, ROOT, TYPES},
    units::{Count, Quantity, Size},
};

/// The keys that stand together in the file.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Such as `[data]`.
    pub heading: String,
    /// What it is for.
    pub meaning: &'static str,
    /// In the order in which they are declared.
    pub keys: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its path, such as `destinations.NAME.batch.linger`.
    pub key: String,
    /// Its path within the section, such as `batch.linger`.
    #[serde(skip)]
    pub name: String,
    /// What it decides.
    pub meaning: &'static str,
    /// What it holds, such as `size`.
    #[serde(rename = "type")]
    pub noun: String,
    /// What may stand there: limits, or words.
    pub range: Option<String>,
    /// The unit of its number, or of its notation.
    pub unit: Option<&'static str>,
    /// Whether a config without it is refused.
    pub required: bool,
    /// The default as it would be written, where there is one.
    pub default: Option<Value>,
    /// What holds without it, in words; none if it must be there.
    pub without: Option<String>,
    /// Whether a reload takes a change up; else it takes a restart.
    pub live: bool,
    /// The rest of what there is to say, in one line.
    #[serde(skip)]
    pub facts: String,
}

/// Every section of the file.
#[must_use]
pub fn reference() -> Vec<Section> {
    let mut sections = Vec::new();
    for key in ROOT {
        let name = key.name;
        let mut add = |heading: String, path: &str, meaning, keys: &[Key]| {
            let mut entries = Vec::new();
            keys.iter().for_each(|key| collect(&mut entries, path, "", key));
            sections.push(Section { heading, meaning, keys: entries });
        };
        match key.form {
            Form::Destinations { keys, types } => {
                let path = format!("{name}.NAME");
                add(format!("[{path}]"), &path, key.meaning, keys);
                for of in types {
                    add(format!("[{path}] type = \"{}\"", of.name), &path, of.meaning, of.keys);
                }
            }
            Form::Named(keys) => {
                let path = format!("{name}.NAME");
                add(format!("[{path}]"), &path, key.meaning, keys);
            }
            Form::List(keys) => add(format!("[[{name}]]"), name, key.meaning, keys),
            form => add(format!("[{name}]"), name, key.meaning, form.keys()),
        }
    }
    sections
}

/// Tables give way to their keys, with longer names.
fn collect(entries: &mut Vec<Entry>, path: &str, before: &str, key: &Key) {
    let name = format!("{before}{}", key.name);
    match key.form {
        Form::Table(keys) => keys.iter().for_each(|key| collect(entries, path, &format!("{name}."), key)),
        Form::OneOf(keys) => {
            entries.push(entry(path, name.clone(), key));
            keys.iter().for_each(|key| collect(entries, path, &format!("{name}."), key));
        }
        _ => entries.push(entry(path, name, key)),
    }
}

fn entry(path: &str, name: String, key: &Key) -> Entry {
    Entry {
        key: format!("{path}.{name}"),
        name,
        meaning: key.meaning,
        noun: noun(key.form),
        range: range(key.form),
        unit: unit(key),
        required: matches!(key.absent, Absent::Refused),
        default: default(key, None),
        without: without(key, None),
        live: !key.restart,
        facts: facts(key, None),
    }
}

/// What there is to say of a key beside its meaning and whether it is live, in one line; of a type of destination where
/// that matters.
pub(super) fn facts(key: &Key, of: Option<&Type>) -> String {
    let range = range(key.form).map(|range| format!(", {range}")).unwrap_or_default();
    let without = match (key.absent, without(key, of)) {
        (Absent::Another, _) => "or another one".to_owned(),
        (_, Some(default)) => format!("default {default}"),
        (_, None) => "required".to_owned(),
    };
    format!("{}{range}; {without}", noun(key.form))
}

fn noun(form: Form) -> String {
    match form {
        Form::Size(_) => "size".to_owned(),
        Form::Count(_) => "integer".to_owned(),
        Form::Duration(_) => "duration".to_owned(),
        Form::Flag(_) => "true or false".to_owned(),
        Form::Word { words, .. } => match words {
            [words @ .., last] => format!("{} or {last}", words.join(", ")),
            [] => String::new(),
        },
        Form::Text(text) => text.noun.to_owned(),
        Form::Texts(text) => format!("array, each a {}", text.noun),
        Form::Secret => "secret".to_owned(),
        Form::Free | Form::Table(_) => "table".to_owned(),
        Form::OneOf(keys) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("table with one of {}", names.join(", "))
        }
        Form::List(_) => "array of tables".to_owned(),
        Form::Named(_) | Form::Destinations { .. } => "table of tables".to_owned(),
    }
}

fn unit(key: &Key) -> Option<&'static str> {
    match key.form {
        Form::Size(_) => Some("bytes"),
        Form::Duration(_) => Some("h, m, s, ms, us, ns"),
        Form::Count(_) if key.name.contains("_ms_") => Some("milliseconds"),
        _ => None,
    }
}

fn range(form: Form) -> Option<String> {
    let of = |bounds: Bounds, show: fn(u64) -> String| {
        Some(format!("{} to {}", words(bounds.from, show), words(bounds.to, show)))
    };
    match form {
        Form::Size(bounds) => of(bounds, shown::<Size>),
        Form::Count(bounds) => of(bounds, shown::<Count>),
        Form::Duration(bounds) => of(bounds, shown::<std::time::Duration>),
        _ => None,
    }
}

/// What holds without a key; none if it must be there.
fn without(key: &Key, of: Option<&Type>) -> Option<String> {
    let default = |bounds: Bounds, show: fn(u64) -> String| match (bounds.default, of) {
        (Some(Amount::OfType), Some(of)) => show(of.batch_operations),
        (Some(Amount::OfType), None) => by_type(show),
        (Some(amount), _) => words(amount, show),
        (None, _) => "none".to_owned(),
    };
    Some(match (key.absent, key.form) {
        (Absent::Refused, _) => return None,
        (Absent::Another, _) => "another one".to_owned(),
        (Absent::Means(means), _) => means.to_owned(),
        (Absent::Default, Form::Size(bounds)) => default(bounds, shown::<Size>),
        (Absent::Default, Form::Count(bounds)) => default(bounds, shown::<Count>),
        (Absent::Default, Form::Duration(bounds)) => default(bounds, shown::<std::time::Duration>),
        (Absent::Default, Form::Flag(default)) => default.to_string(),
        (Absent::Default, Form::Word { default, .. }) => default.unwrap_or("none").to_owned(),
        (Absent::Default, Form::Text(text)) => text.default.unwrap_or("none").to_owned(),
        (Absent::Default, _) => "those of its keys".to_owned(),
    })
}

/// Such as `1000, for file 5000`: the first type's, and those that differ.
fn by_type(show: fn(u64) -> String) -> String {
    let first = TYPES.first().map_or(0, |of| of.batch_operations);
    let others = TYPES.iter().filter(|of| of.batch_operations != first);
    let others: String =
        others.map(|of| format!(", for {} {}", of.name, show(of.batch_operations))).collect();
    format!("{}{others}", show(first))
}

/// The default of a path's key, as it would be written.
#[must_use]
pub fn default_of(path: &str) -> Option<Value> {
    default(keys::find(path)?, None)
}

/// The default as it would be written, where every other key has its own.
pub(super) fn default(key: &Key, of: Option<&Type>) -> Option<Value> {
    let amount = |bounds: Bounds| match (bounds.default?, of) {
        (Amount::OfType, None) => None,
        _ => keys::default(&bounds, of.map_or(0, |of| of.batch_operations)),
    };
    match key.form {
        Form::Size(bounds) => Some(shown::<Size>(amount(bounds)?).into()),
        Form::Count(bounds) => Some(amount(bounds)?.into()),
        Form::Duration(bounds) => Some(shown::<std::time::Duration>(amount(bounds)?).into()),
        Form::Flag(default) => Some(default.into()),
        Form::Word { default, .. } => default.map(Value::from),
        Form::Text(text) => text.default.map(Value::from),
        _ => None,
    }
}

fn shown<Q: Quantity>(amount: u64) -> String {
    Q::from_amount(amount).show()
}

/// Such as `the lesser of 1GiB and a quarter of data.disk_bytes_max`.
fn words(amount: Amount, show: fn(u64) -> String) -> String {
    // A key of the same destination needs no more than its own name.
    let short = |key: &'static str| key.trim_start_matches("destinations.NAME.");
    let share = |key, divisor| match divisor {
        1 => short(key).to_owned(),
        2 => format!("half of {}", short(key)),
        4 => format!("a quarter of {}", short(key)),
        divisor => format!("{} / {divisor}", short(key)),
    };
    match amount {
        Amount::Is(amount) => show(amount),
        Amount::Share(key, divisor) => share(key, divisor),
        Amount::Lesser(amount, key, divisor) => {
            format!("the lesser of {} and {}", show(amount), share(key, divisor))
        }
        Amount::Greater(amount, key) => format!("the greater of {} and {}", show(amount), short(key)),
        Amount::OfType => "that of its type".to_owned(),
    }
}
