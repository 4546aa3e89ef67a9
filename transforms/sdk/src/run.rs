//! From JSON text to the transform's functions. Whatever cannot be read becomes a sentence with the field's path.

use std::fmt::Display;

use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer},
};

use crate::{Object, Outcome, Transform, Value};

/// A record as it comes in, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Save,
    PartialUpdate,
    PartialUpdateNoCreate,
    Delete,
}

/// Makes the transform from its config table as JSON text.
pub(crate) fn start<T: Transform>(index: &str, config: &str) -> Result<T, String> {
    let config = parse(config).map_err(|problem| format!("config: {problem}"))?;
    T::init(index, config)
}

/// What becomes of one record; `data` is its JSON text.
pub(crate) fn run<T: Transform>(transform: &T, action: Action, id: &str, data: &str) -> Outcome {
    let attributes = |run: &dyn Fn(Object) -> Outcome| parse(data).map(run);
    let outcome = match action {
        Action::Save => parse(data).map(|record| transform.save(id, record)),
        Action::PartialUpdate => attributes(&|object| transform.partial_update(id, object)),
        Action::PartialUpdateNoCreate => attributes(&|object| transform.partial_update_no_create(id, object)),
        Action::Delete => Ok(transform.delete(id)),
    };
    outcome.into()
}

/// Attributes as a type of your own.
///
/// # Errors
/// The path of the attribute that does not fit, and why.
pub fn typed<T: DeserializeOwned>(attributes: Object) -> Result<T, String> {
    at_path(Value::Object(attributes))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // Paths cost time, so they are only looked for when there is something to tell.
        Err(error) => match at_path::<T, _>(&mut serde_json::Deserializer::from_str(text)) {
            Err(told) => Err(told),
            Ok(_) => Err(without_place(&error)),
        },
    }
}

fn at_path<'de, T: Deserialize<'de>, D>(deserializer: D) -> Result<T, String>
where
    D: Deserializer<'de, Error: Display>,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let told = without_place(error.inner());
        match error.path().to_string() {
            path if path == "." => told,
            path => format!("{path}: {told}"),
        }
    })
}

/// The text is one line that nobody sees, so its line and column would only puzzle.
fn without_place(error: &impl Display) -> String {
    let mut told = error.to_string();
    if let Some(place) = told.rfind(" at line ") {
        told.truncate(place);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoConfig;

    #[derive(Deserialize)]
    struct Item {
        price: f64,
    }

    #[derive(Deserialize)]
    struct Order {
        items: Vec<Item>,
        #[serde(flatten)]
        others: Object,
    }

    struct Total;

    impl Transform for Total {
        type Config = NoConfig;
        type Record = Order;

        fn init(_: &str, _: NoConfig) -> Result<Self, String> {
            Ok(Self)
        }

        fn save(&self, _: &str, order: Order) -> Outcome {
            let total: f64 = order.items.iter().map(|item| item.price).sum();
            let mut others = order.others;
            others.insert("total".to_owned(), total.into());
            Outcome::replace(&others)
        }
    }

    /// A record that does not fit fails alone, and says where.
    #[test]
    fn what_does_not_fit_fails_with_its_path() {
        let save = |data| run(&Total, Action::Save, "1", data);
        let expected = Outcome::replace(&serde_json::json!({"a": 1, "total": 3.5}));
        assert_eq!(save(r#"{"items":[{"price":1},{"price":2.5}],"a":1}"#), expected);
        assert_eq!(
            save(r#"{"items":[{"price":1},{"price":"2"}]}"#),
            Outcome::fail("items[1].price: invalid type: string \"2\", expected f64")
        );
        assert_eq!(save("{}"), Outcome::fail("missing field `items`"));
    }

    /// What `save` removes must not come in by a partial update; a delete has nothing to hide.
    #[test]
    fn partial_updates_fail_unless_they_are_written() {
        for (action, name) in [
            (Action::PartialUpdate, "`partial_update`"),
            (Action::PartialUpdateNoCreate, "`partial_update_no_create`"),
        ] {
            let outcome = format!("{:?}", run(&Total, action, "1", r#"{"items":[]}"#));
            assert!(outcome.contains("Fail") && outcome.contains(name), "{outcome}");
        }
        assert_eq!(run(&Total, Action::Delete, "1", ""), Outcome::unchanged());
    }

    #[test]
    fn a_wrong_config_is_told_readably() {
        let told = |config| start::<Total>("products", config).err().unwrap_or_default();
        assert_eq!(told("{}"), "");
        assert_eq!(told(r#"{"field":1}"#), "config: field: unknown field `field`, there are no fields");
    }
}
