//! Renames fields and computes others: what the shop's database holds becomes what a search page shows.

use serde::{Deserialize, Serialize};
use transform_sdk::{NoConfig, Object, Outcome, Transform, transform, typed};

struct Rename;

/// As the shop sends it.
#[derive(Deserialize)]
struct Product {
    title: String,
    price_cents: u64,
    list_price_cents: Option<u64>,
    /// Whatever else it sends is passed on.
    #[serde(flatten)]
    others: Object,
}

/// As the destinations get it.
#[derive(Serialize)]
struct Hit {
    name: String,
    price: f64,
    on_sale: bool,
    discount_percent: u64,
    #[serde(flatten)]
    others: Object,
}

/// What a partial update brings of a product.
#[derive(Deserialize)]
struct Changes {
    title: Option<String>,
    price_cents: Option<u64>,
    list_price_cents: Option<u64>,
    #[serde(flatten)]
    others: Object,
}

impl Transform for Rename {
    type Config = NoConfig;
    type Record = Product;

    fn init(_index: &str, _config: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn save(&self, _id: &str, product: Product) -> Outcome {
        let Product { title, price_cents, list_price_cents, others } = product;
        let discount_percent = discount_percent(price_cents, list_price_cents);
        Outcome::replace(&Hit {
            name: title,
            price: price_cents as f64 / 100.0,
            on_sale: discount_percent > 0,
            discount_percent,
            others,
        })
    }

    fn partial_update(&self, _id: &str, attributes: Object) -> Outcome {
        changed(attributes).into()
    }

    fn partial_update_no_create(&self, _id: &str, attributes: Object) -> Outcome {
        changed(attributes).into()
    }
}

/// Of a computed field everything must be there that it is computed from, since the rest of the record is not known.
fn changed(attributes: Object) -> Result<Outcome, String> {
    let Changes { title, price_cents, list_price_cents, mut others } = typed(attributes)?;
    if let Some(title) = title {
        others.insert("name".to_owned(), title.into());
    }
    match (price_cents, list_price_cents) {
        (None, None) => {}
        (Some(price_cents), Some(list_price_cents)) => {
            let discount_percent = discount_percent(price_cents, Some(list_price_cents));
            others.insert("price".to_owned(), (price_cents as f64 / 100.0).into());
            others.insert("on_sale".to_owned(), (discount_percent > 0).into());
            others.insert("discount_percent".to_owned(), discount_percent.into());
        }
        (Some(_), None) => {
            return Err("price_cents without list_price_cents: send both, or the whole record".into());
        }
        (None, Some(_)) => {
            return Err("list_price_cents without price_cents: send both, or the whole record".into());
        }
    }
    Ok(Outcome::replace(&others))
}

/// By how much the price is below the list price, rounded down.
fn discount_percent(price_cents: u64, list_price_cents: Option<u64>) -> u64 {
    match list_price_cents {
        Some(list) if list > price_cents => (list - price_cents).saturating_mul(100) / list,
        Some(_) | None => 0,
    }
}

transform!(Rename);

#[cfg(test)]
mod tests {
    use transform_sdk::{json, testing::check};

    use super::*;

    #[test]
    fn fixtures() {
        let (input, expect) =
            (include_str!("../fixtures/input.ndjson"), include_str!("../fixtures/expect.ndjson"));
        check::<Rename>("products", json!({}), input, expect);
    }
}
