//! Removes personal data: no destination gets the fields that the config names, by whichever action they come.
//!
//! ```toml
//! [transforms.redact]
//! path = "redact.wasm"
//! config = { fields = ["email", "customer.phone"] }   # a dot leads into objects and lists
//! ```

use serde::Deserialize;
use transform_sdk::{Object, Outcome, Transform, Value, transform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fields: Vec<String>,
}

struct Redact {
    paths: Vec<Vec<String>>,
}

impl Transform for Redact {
    type Config = Config;
    type Record = Object;

    fn init(_index: &str, config: Config) -> Result<Self, String> {
        if config.fields.is_empty() {
            return Err("fields is empty: name at least one, such as fields = [\"email\"]".to_owned());
        }
        let path = |field: &String| match field.split('.').any(str::is_empty) {
            true => Err(format!("fields: {field:?} has an empty part")),
            false => Ok(field.split('.').map(str::to_owned).collect()),
        };
        Ok(Self { paths: config.fields.iter().map(path).collect::<Result<_, _>>()? })
    }

    fn save(&self, _id: &str, record: Object) -> Outcome {
        self.redacted(record)
    }

    fn partial_update(&self, _id: &str, attributes: Object) -> Outcome {
        self.redacted(attributes)
    }

    fn partial_update_no_create(&self, _id: &str, attributes: Object) -> Outcome {
        self.redacted(attributes)
    }
}

impl Redact {
    fn redacted(&self, mut record: Object) -> Outcome {
        let mut removed = false;
        for path in &self.paths {
            removed |= remove(&mut record, path);
        }
        if removed { Outcome::replace(&record) } else { Outcome::unchanged() }
    }
}

/// Whether something was removed.
fn remove(object: &mut Object, path: &[String]) -> bool {
    // Algolia's built-in operations carry what they add one level below.
    let mut removed = object.contains_key("_operation")
        && object.get_mut("value").is_some_and(|value| remove_within(value, path));
    removed |= match path {
        [] => false,
        [field] => object.remove(field).is_some(),
        [field, rest @ ..] => object.get_mut(field).is_some_and(|value| remove_within(value, rest)),
    };
    // Some producers write `customer.email` as one key.
    removed | (path.len() > 1 && object.remove(&path.join(".")).is_some())
}

fn remove_within(value: &mut Value, path: &[String]) -> bool {
    match value {
        Value::Object(object) => remove(object, path),
        Value::Array(items) => {
            items.iter_mut().fold(false, |removed, item| remove_within(item, path) | removed)
        }
        _ => false,
    }
}

transform!(Redact);

#[cfg(test)]
mod tests {
    use transform_sdk::{json, testing::check};

    use super::*;

    #[test]
    fn fixtures() {
        let (input, expect) =
            (include_str!("../fixtures/input.ndjson"), include_str!("../fixtures/expect.ndjson"));
        check::<Redact>("orders", json!({"fields": ["email", "customer.phone"]}), input, expect);
    }

    /// A config that would redact nothing must not go live unnoticed.
    #[test]
    fn a_config_that_redacts_nothing_is_refused() {
        for fields in [[].as_slice(), &["customer."], &[""]] {
            assert!(Redact::init("orders", config(fields)).is_err());
        }
    }

    fn config(fields: &[&str]) -> Config {
        Config { fields: fields.iter().map(ToString::to_string).collect() }
    }
}
