//! Reads a secret from where the config says that it is: `{ env = "NAME" }` or `{ file = "PATH" }`.
//!
//! Whatever stands in a secret's place is never shown, since it may be the secret itself.

use std::path::PathBuf;

use super::{
    checked::{Secret, SecretSource},
    environment::Environment,
    reader::{Table, Value},
};

const ACCEPTED: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";

/// The secret of a key; `None` after noting what is wrong.
pub(super) fn secret(
    table: &mut Table<'_>,
    key: &'static str,
    environment: &dyn Environment,
) -> Option<Secret> {
    let Some(value) = table.take(key) else {
        table.missing(key, ACCEPTED);
        return None;
    };
    secret_of(&value, environment)
}

/// The secret of a value; `None` after noting what is wrong.
pub(super) fn secret_of(value: &Value<'_>, environment: &dyn Environment) -> Option<Secret> {
    let Some(mut source) = value.as_table() else {
        let message = "must not stand in the config itself, which is copied, logged and kept in repositories";
        value.wrong_secretly(message, ACCEPTED);
        return None;
    };
    match (source.take("env"), source.take("file")) {
        (Some(name), None) => {
            source.finish();
            from_variable(&name, environment)
        }
        (None, Some(path)) => {
            source.finish();
            from_file(&path, environment)
        }
        _ => {
            value.wrong_secretly("does not name one source", ACCEPTED);
            None
        }
    }
}

fn from_variable(place: &Value<'_>, environment: &dyn Environment) -> Option<Secret> {
    let name = place.as_str().filter(|name| is_variable_name(name));
    let Some(name) = name else {
        place.wrong_secretly("is not a variable's name", "letters, digits and _, such as ALGOLIA_API_KEY");
        return None;
    };
    let Some(value) = environment.variable(name) else {
        place.wrong("is unset, empty or not UTF-8 in the environment", "a variable that holds the secret");
        return None;
    };
    checked(place, &value, SecretSource::Env(name.to_owned()))
}

fn from_file(place: &Value<'_>, environment: &dyn Environment) -> Option<Secret> {
    let accepted = "a file that this user may read";
    let path = PathBuf::from(place.string(accepted)?);
    match environment.secret_file(&path) {
        Ok(content) => {
            let line = content.strip_suffix('\n').unwrap_or(&content);
            let line = line.strip_suffix('\r').unwrap_or(line);
            checked(place, line, SecretSource::File(path))
        }
        Err(error) => {
            place.wrong(&format!("cannot be read: {error}"), accepted);
            None
        }
    }
}

/// A secret travels in an HTTP header, so it must be visible ASCII.
fn checked(place: &Value<'_>, value: &str, source: SecretSource) -> Option<Secret> {
    if value.is_empty() {
        place.wrong("holds nothing", "a secret");
        return None;
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        place.wrong("holds a space or a character that is not visible ASCII", "a secret on a single line");
        return None;
    }
    Some(Secret::new(value, source))
}

fn is_variable_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
