//! A record's first-level attributes as they stand in its JSON text, and Algolia's built-in operations among them: every
//! destination must know these, be it to refuse what it cannot compute.

use std::{borrow::Cow, fmt, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

static OPERATION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_operation"));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u"));

/// Whether a built-in operation, or any name with an escaped letter, may stand in a body. Cheap, and never tells no where
/// one does: what it denies need not be parsed.
#[must_use]
pub fn may_hold_operation(body: &[u8]) -> bool {
    OPERATION.find(body).is_some() || ESCAPE.find(body).is_some()
}

/// The one of `names` that a first-level value such as `{"_operation": "Increment", "value": 1}` asks for.
#[must_use]
pub fn operation_among<'n>(value: &RawValue, names: &[&'n str]) -> Option<&'n str> {
    // What is no object holds no operation.
    let Attributes(entries) = serde_json::from_str(value.get()).ok()?;
    entries.into_iter().filter(|(name, _)| name == "_operation").find_map(|(_, operation)| {
        // An `_operation` that is no string is an attribute like any other.
        let operation: String = serde_json::from_str(operation.get()).ok()?;
        names.iter().copied().find(|name| *name == operation)
    })
}

/// The entries of an object in their order, repeated names included.
#[derive(Debug)]
pub struct Attributes<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Attributes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = object.next_entry()? {
                    entries.push(entry);
                }
                Ok(Attributes(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
