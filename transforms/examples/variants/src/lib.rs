//! Splits a product into one object for each variant, so that a search finds the red one in size M.
//!
//! A product that has fewer variants than before must not leave objects behind: see [`Slots`].
//!
//! ```toml
//! [transforms.variants]
//! path = "variants.wasm"
//! config = { variants_max = 20 }   # never lower it while objects are there
//! ```

use serde::Deserialize;
use transform_sdk::{Object, Outcome, Slots, Transform, transform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    variants_max: usize,
}

struct Variants {
    slots: Slots,
}

#[derive(Deserialize)]
struct Product {
    variants: Vec<Object>,
    /// What all variants share.
    #[serde(flatten)]
    shared: Object,
}

impl Transform for Variants {
    type Config = Config;
    type Record = Product;

    fn init(_index: &str, config: Config) -> Result<Self, String> {
        match config.variants_max {
            1..=1_000 => Ok(Self { slots: Slots::new(config.variants_max) }),
            other => Err(format!("variants_max is {other}, not 1 to 1000")),
        }
    }

    fn save(&self, id: &str, product: Product) -> Outcome {
        let Product { variants, shared } = product;
        let objects = variants.into_iter().map(|variant| {
            let mut object = shared.clone();
            object.extend(variant);
            object.insert("product_id".to_owned(), id.into());
            object
        });
        self.slots.save(id, objects)
    }

    fn delete(&self, id: &str) -> Outcome {
        self.slots.delete(id)
    }
}

transform!(Variants);

#[cfg(test)]
mod tests {
    use transform_sdk::{json, testing::check};

    use super::*;

    #[test]
    fn fixtures() {
        let (input, expect) =
            (include_str!("../fixtures/input.ndjson"), include_str!("../fixtures/expect.ndjson"));
        check::<Variants>("products", json!({"variants_max": 3}), input, expect);
    }
}
