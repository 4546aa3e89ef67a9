//! The JSON Schema (draft 2020-12) of the config file, made of the declarations: for editors, and for whoever generates
//! configs. It accepts whatever the reader accepts; what it cannot say (a size's limits where the size is a string,
//! whether a name exists) is left to `sync-agent check`.

use plugin_api::settings::{Absent, Bounds, Form, Key, Text, Type};
use serde_json::{Map, Value, json};

use super::{
    keys::{self, NAME_PATTERN, ROOT},
    reference,
};

/// What a size looks like as a string.
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)?$";
/// What a duration looks like.
const DURATION: &str = "^\\+?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(h|m|s|ms|us|\u{b5}s|\u{3bc}s|ns))+)$";

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(ROOT, None);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "The config of sync-agent".into();
    let mut secret = one_of(plugin_api::settings::SECRET, None);
    secret["description"] = "Where a secret is: never the secret itself.".into();
    schema["$defs"] = json!({ "secret": secret });
    schema
}

/// A table with these keys and no others; `of` is the type of the destination that it belongs to.
fn table(keys: &[Key], of: Option<&Type>) -> Value {
    let required: Vec<&str> =
        keys.iter().filter(|key| matches!(key.absent, Absent::Refused)).map(|key| key.name).collect();
    let mut table = json!({ "type": "object", "additionalProperties": false });
    table["properties"] =
        keys.iter().map(|key| (key.name.to_owned(), described(key, of))).collect::<Map<_, _>>().into();
    if !required.is_empty() {
        table["required"] = required.into();
    }
    table
}

/// A table with exactly one of these keys.
fn one_of(keys: &[Key], of: Option<&Type>) -> Value {
    let mut table = table(keys, of);
    table["minProperties"] = 1.into();
    table["maxProperties"] = 1.into();
    table
}

/// A table of tables by name.
fn named(table: Value) -> Value {
    let mut tables = json!({ "type": "object", "additionalProperties": false });
    tables["patternProperties"] = Map::from_iter([(NAME_PATTERN.to_owned(), table)]).into();
    tables
}

/// What a key holds, with its description and default.
fn described(key: &Key, of: Option<&Type>) -> Value {
    let mut value = form(key, of);
    value["description"] = match key.form {
        Form::Table(_) | Form::List(_) | Form::Named(_) | Form::Destinations { .. } => key.meaning.into(),
        _ => {
            let live = if key.restart { "takes a restart" } else { "live" };
            format!("{} ({}; {live})", key.meaning, reference::facts(key, of)).into()
        }
    };
    if let Some(default) = reference::default(key, of) {
        value["default"] = default;
    }
    value
}

fn form(key: &Key, of: Option<&Type>) -> Value {
    match key.form {
        Form::Size(bounds) => quantity(SIZE, bounds),
        Form::Count(bounds) => quantity("^[0-9]+$", bounds),
        Form::Duration(_) => json!({ "type": "string", "pattern": DURATION }),
        Form::Flag(_) => json!({ "type": "boolean" }),
        Form::Word { .. } if key.name == "type" && of.is_some() => json!({ "const": of.map(|of| of.name) }),
        Form::Word { words, .. } => json!({ "enum": words }),
        Form::Text(text) => string(text),
        Form::Texts(text) => json!({ "type": "array", "items": string(text), "minItems": 1 }),
        Form::Secret => json!({ "$ref": "#/$defs/secret" }),
        Form::Free => json!({ "type": "object" }),
        Form::Table(keys) => table(keys, of),
        Form::OneOf(keys) => one_of(keys, of),
        Form::List(keys) => json!({ "type": "array", "items": table(keys, of) }),
        Form::Named(keys) => named(table(keys, of)),
        Form::Destinations { keys, types } => {
            // Whole tables side by side, since editors look for keys there and not behind `if` and `then`.
            let of_type = |of: &Type| {
                let keys: Vec<Key> = keys.iter().chain(of.keys).copied().collect();
                let mut table = table(&keys, Some(of));
                table["title"] = of.name.into();
                table["description"] = of.meaning.into();
                table
            };
            let mut tables = named(json!({ "oneOf": types.iter().map(of_type).collect::<Vec<_>>() }));
            tables["minProperties"] = 1.into();
            tables
        }
    }
}

/// As a string, or as an integer with its limits; those that depend on another key are the reader's.
fn quantity(pattern: &str, bounds: Bounds) -> Value {
    let mut integer = json!({ "type": "integer", "minimum": 0 });
    if bounds.from.other().is_none() {
        integer["minimum"] = bounds.from.of(0).into();
    }
    if let Some(most) = keys::most(bounds.to) {
        integer["maximum"] = most.into();
    }
    json!({ "anyOf": [{ "type": "string", "pattern": pattern }, integer] })
}

fn string(text: Text) -> Value {
    let mut string = json!({ "type": "string", "minLength": 1 });
    if let Some(pattern) = text.pattern {
        string["pattern"] = pattern.into();
    }
    string
}
