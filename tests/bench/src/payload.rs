//! Requests as producers send them: JSON objects of a shop, neither constant nor random, so that they compress as such
//! data does.

use std::{convert::Infallible, fmt::Write as _};

use fastrand::Rng;
use plugin_api::operation::Action;
use sync_agent::record::PayloadWriter;

/// Records in a request.
pub(crate) const REQUEST_RECORDS: u32 = 100;
/// Bytes of a record's body, about.
const RECORD_BYTES: usize = 600;
/// Requests that differ; appenders go round them.
const REQUESTS: u64 = 16;

const BRANDS: &[&str] =
    &["Aldering", "Bergholt", "Corvane", "Dunmere", "Elvaston", "Fjordal", "Greythorn", "Halden"];
const KINDS: &[&str] =
    &["jacket", "boots", "backpack", "tent", "lamp", "kettle", "sleeping bag", "rope", "stove"];
const COLORS: &[&str] = &["moss green", "slate grey", "sand", "navy", "black", "rust red", "off-white"];
const WORDS: &str = "\
    a above after against air all and any area around at back bag balance be belt best big body both \
    built by camp can carry case clean close coated cold comes comfort cotton cover day deep design \
    double down dry durable each easy edge even every extra fabric fast feel fit flat for from front \
    full good grip hand hard has heat heavy high hold hood in inner inside into is it its keeps large \
    layer leather light lined long low made main material mesh more mountain needs new night nylon of on \
    one open or outer over own pack pair panel part pocket quick rain ready recycled rest room rubber \
    seam seat set shape short side single size small snow soft sole stays steel stitching strap strong \
    summer that the thin tight to top trail two under use warm wash water weather weight when wide wind \
    winter with without wool work you your zip";

/// Payloads of requests, the same in every run.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    (0..REQUESTS).map(request).collect()
}

fn request(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    let words: Vec<&str> = WORDS.split(' ').collect();
    let capacity = (REQUEST_RECORDS as usize) * (RECORD_BYTES + 32);
    let mut writer = PayloadWriter::new(Action::Save, "products", capacity);
    for _ in 0..REQUEST_RECORDS {
        let id = format!("sku-{:08}", rng.u32(..100_000_000));
        let Ok(()) = writer.record(&id, |out| {
            out.extend_from_slice(record(&mut rng, &words).as_bytes());
            Ok::<(), Infallible>(())
        });
    }
    writer.into_bytes()
}

/// One object, about [`RECORD_BYTES`] long.
fn record(rng: &mut Rng, words: &[&str]) -> String {
    let (brand, kind, color) = (any(rng, BRANDS), any(rng, KINDS), any(rng, COLORS));
    let mut json = format!(
        r#"{{"name":"{brand} {kind} {}","brand":"{brand}","categories":["outdoor","{kind}"],"color":"{color}""#,
        rng.u32(100..10_000)
    );
    let (price, stock) = (rng.u32(500..90_000), rng.u32(..400));
    let rating = rng.u32(20..50);
    // Writing to a string cannot fail.
    let _ = write!(
        json,
        r#","price":{}.{:02},"currency":"EUR","stock":{stock},"rating":{}.{},"reviews":{}"#,
        price / 100,
        price % 100,
        rating / 10,
        rating % 10,
        rng.u32(..3000),
    );
    let _ = write!(
        json,
        r#","image":"https://images.example/p/{:016x}.webp","updated_at":"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z""#,
        rng.u64(..),
        rng.u32(1..13),
        rng.u32(1..29),
        rng.u32(..24),
        rng.u32(..60),
        rng.u32(..60),
    );
    json.push_str(r#","description":""#);
    while json.len() < RECORD_BYTES - 2 {
        json.push_str(any(rng, words));
        json.push(' ');
    }
    json.push_str(r#""}"#);
    json
}

fn any<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    rng.choice(words).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record is one JSON object of about the size that the figures are stated for.
    #[test]
    fn records_are_objects() {
        let mut rng = Rng::with_seed(7);
        let words: Vec<&str> = WORDS.split(' ').collect();
        for _ in 0..1000 {
            let json = record(&mut rng, &words);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert!(value.is_object());
            assert!((RECORD_BYTES..RECORD_BYTES + 16).contains(&json.len()), "{}", json.len());
        }
    }
}
