//! Publishes and unpublishes: a record is at the destinations only while its `published` is true.
//!
//! A record that is not published must not merely be skipped: it may have been published before, so it is deleted. And
//! a partial update must not bring back what was deleted, so it creates nothing.
//!
//! ```toml
//! [transforms.publish]
//! path = "publish.wasm"
//! config = { attribute = "visible" }   # instead of "published"
//! ```

use serde::Deserialize;
use transform_sdk::{Object, Operation, Outcome, Transform, Value, transform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "published")]
    attribute: String,
}

fn published() -> String {
    "published".to_owned()
}

struct Publish {
    attribute: String,
}

impl Transform for Publish {
    type Config = Config;
    type Record = Object;

    fn init(_index: &str, config: Config) -> Result<Self, String> {
        Ok(Self { attribute: config.attribute })
    }

    fn save(&self, id: &str, mut record: Object) -> Outcome {
        match record.remove(&self.attribute) {
            Some(Value::Bool(true)) => Outcome::replace(&record),
            Some(Value::Bool(false)) => Outcome::emit([Operation::delete(id)]),
            other => self.unclear(other),
        }
    }

    fn partial_update(&self, id: &str, attributes: Object) -> Outcome {
        self.partial(id, attributes)
    }

    fn partial_update_no_create(&self, id: &str, attributes: Object) -> Outcome {
        self.partial(id, attributes)
    }
}

impl Publish {
    fn partial(&self, id: &str, attributes: Object) -> Outcome {
        match attributes.get(&self.attribute) {
            // It changes what is published, if it is.
            None => Outcome::emit([Operation::partial_update_no_create(id, &attributes)]),
            Some(Value::Bool(false)) => Outcome::emit([Operation::delete(id)]),
            // The rest of the record is not known here, so it cannot be brought back.
            Some(Value::Bool(true)) => Outcome::fail(format!(
                "a partial update cannot set {} to true: save the whole record",
                self.attribute
            )),
            Some(other) => self.unclear(Some(other.clone())),
        }
    }

    fn unclear(&self, found: Option<Value>) -> Outcome {
        let attribute = &self.attribute;
        Outcome::fail(match found {
            Some(found) => format!("{attribute} is {found}, neither true nor false"),
            None => format!("{attribute} is missing: it says whether the record is shown"),
        })
    }
}

transform!(Publish);

#[cfg(test)]
mod tests {
    use transform_sdk::{
        json,
        testing::{becomes, check},
    };

    use super::*;

    #[test]
    fn fixtures() {
        let (input, expect) =
            (include_str!("../fixtures/input.ndjson"), include_str!("../fixtures/expect.ndjson"));
        check::<Publish>("articles", json!({}), input, expect);
    }

    #[test]
    fn the_attribute_can_have_another_name() {
        let config = json!({"attribute": "visible"});
        let hidden = becomes::<Publish>("articles", &config, r#"{"objectID":"1","visible":false}"#);
        assert_eq!(hidden, json!({"action": "delete", "objectID": "1"}));
    }
}
