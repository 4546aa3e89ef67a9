//! Products as a shop would send them, made up from their number alone: the same number is always the same product.

use std::collections::BTreeMap;

use fastrand::Rng;
use prost_types::{ListValue, Struct, Value, value::Kind};

const BRANDS: [&str; 8] =
    ["Harrow", "Northlight", "Casa Verde", "Ostvik", "Bramble & Co", "Lumen Works", "Fjell", "Tanaka"];
const MATERIALS: [&str; 6] = ["oak", "brass", "linen", "glass", "stoneware", "steel"];
const COLOURS: [&str; 6] = ["sand", "forest green", "black", "white", "rust", "sky blue"];
/// A product's noun with the categories that lead to it.
const KINDS: [(&str, [&str; 2]); 8] = [
    ("desk lamp", ["Lighting", "Lighting > Desk lamps"]),
    ("floor lamp", ["Lighting", "Lighting > Floor lamps"]),
    ("armchair", ["Furniture", "Furniture > Chairs"]),
    ("side table", ["Furniture", "Furniture > Tables"]),
    ("teapot", ["Kitchen", "Kitchen > Tea"]),
    ("bowl", ["Kitchen", "Kitchen > Tableware"]),
    ("throw", ["Textiles", "Textiles > Throws"]),
    ("mirror", ["Living", "Living > Mirrors"]),
];
/// Who changes prices: personal data, which no destination should get.
const EDITORS: [&str; 3] = ["nora@shop.example", "ivo@shop.example", "sam@shop.example"];
const PRAISES: [&str; 6] = [
    "Made in small batches by people who sign their work.",
    "It ages well, and every scratch makes it look better.",
    "Light enough to carry from room to room.",
    "Designed with nothing that could break.",
    "Ships flat and stands after ten minutes without a tool.",
    "A quiet companion for long evenings.",
];

/// The product's object id.
pub(super) fn object_id(number: u64) -> String {
    format!("product-{number:06}")
}

/// All attributes of a product.
pub(super) fn product(number: u64) -> Struct {
    let mut rng = Rng::with_seed(number);
    let (noun, categories) = KINDS[rng.usize(..KINDS.len())];
    let brand = pick(&mut rng, &BRANDS);
    let material = pick(&mut rng, &MATERIALS);
    let colour = pick(&mut rng, &COLOURS);
    let (praise, more) = (pick(&mut rng, &PRAISES), pick(&mut rng, &PRAISES));
    let id = object_id(number);
    let dimensions = [
        ("width", Value::from(rng.u32(80..1_400))),
        ("height", Value::from(rng.u32(60..2_000))),
        ("depth", Value::from(rng.u32(60..900))),
    ];
    let images = (1..=rng.u32(2..=4)).map(|image| text(format!("https://images.example/{id}/{image}.webp")));
    structure([
        ("name", text(format!("{brand} {material} {noun}"))),
        ("brand", text(brand)),
        ("description", text(format!("A {colour} {noun} of {material} by {brand}. {praise} {more}"))),
        ("categories", list(categories.map(text))),
        ("price", cents(rng.u32(490..89_900))),
        ("currency", text("EUR")),
        ("stock", Value::from(rng.u32(0..400))),
        (
            "rating",
            object([
                ("average", Value::from(f64::from(rng.u32(10..=50)) / 10.0)),
                ("count", Value::from(rng.u32(0..2_500))),
            ]),
        ),
        ("images", list(images)),
        (
            "attributes",
            object([
                ("colour", text(colour)),
                ("material", text(material)),
                ("dimensions_mm", object(dimensions)),
                ("weight_g", Value::from(rng.u32(120..38_000))),
                ("fragile", Value::from(material == "glass" || material == "stoneware")),
            ]),
        ),
        ("supplier", object([("name", text(brand)), ("email", text(supplier_email(brand)))])),
    ])
}

/// The supplier's address: personal data, which no destination should get.
fn supplier_email(brand: &str) -> String {
    let letters = brand.chars().filter(char::is_ascii_alphabetic);
    format!("orders@{}.example", letters.collect::<String>().to_ascii_lowercase())
}

/// The attributes that a price update changes; each round of updates has other prices.
pub(super) fn price_update(number: u64, round: u64) -> Struct {
    let mut rng = Rng::with_seed(number ^ ((round + 1) << 32));
    structure([
        ("price", cents(rng.u32(490..89_900))),
        ("price_round", Value::from(round as f64)),
        ("changed_by", text(pick(&mut rng, &EDITORS))),
    ])
}

fn pick(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    words[rng.usize(..words.len())]
}

fn cents(cents: u32) -> Value {
    Value::from(f64::from(cents) / 100.0)
}

fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

fn list(values: impl IntoIterator<Item = Value>) -> Value {
    let values = values.into_iter().collect();
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value { kind: Some(Kind::StructValue(structure(fields))) }
}

fn structure<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Struct { fields }
}
