//! The bytes of a request, encoded once and then changed in place.
//!
//! Invariant: everything that changes has a fixed width (digits of the object id, a double, a one-byte action, an index
//! name of the same length), so no length on the wire ever changes.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{Message as _, encoding::encode_varint};
use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::contract::{Action, SyncPayload, UpsertObjectsRequest};

/// gRPC's length-prefixed message: a flag and the length.
const PREFIX_BYTES: usize = 5;
/// Digits of a slot's number; a hyphen follows.
const SLOT_DIGITS: usize = 4;
/// Digits of a key's number.
const KEY_DIGITS: usize = 8;
/// Slots of a load, exclusive, so that their digits suffice.
pub(crate) const SLOTS_MAX: usize = 10_000;
/// Keys a slot, exclusive, so that their digits suffice.
pub(crate) const KEYS_MAX: usize = 100_000_000;
/// A number that no product has, to find the place of the sequence number.
const SEQUENCE_MARK: f64 = -1.234_567_890_123e-45;
/// The attribute that carries the sequence number.
pub(crate) const SEQUENCE_ATTRIBUTE: &str = "seq";

/// The object id of a key of a slot.
pub(crate) fn object_id(slot: usize, key: usize) -> String {
    format!("{slot:0SLOT_DIGITS$}-{key:0KEY_DIGITS$}")
}

/// A request with its gRPC prefix.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: BytesMut,
    index: Range<usize>,
    action: usize,
    records: Vec<Places>,
}

/// Where a record's changing parts lie.
#[derive(Clone, Debug)]
struct Places {
    key: usize,
    sequence: Option<usize>,
}

impl Template {
    /// A request of slot 0 whose records carry data of about `record_bytes` with the id, or none at all for deletes.
    pub(crate) fn new(index: &str, records: usize, record_bytes: Option<usize>) -> Self {
        let action_type = Action::Delete as i32;
        let head = UpsertObjectsRequest { index_name: index.to_owned(), action_type, payloads: Vec::new() };
        let head = head.encode_to_vec();
        let mut bytes = BytesMut::zeroed(PREFIX_BYTES);
        bytes.extend_from_slice(&head);
        // The head is tag, length, name, tag, action.
        let action = bytes.len() - 1;
        let index = action - 1 - index.len()..action - 1;
        let mut random = fastrand::Rng::with_seed(records as u64);
        let records = (0..records)
            .map(|_| {
                let data = record_bytes.map(|size| product(&mut random, size));
                put_record(&mut bytes, SyncPayload { object_id: object_id(0, 0), data })
            })
            .collect();
        let length = u32::try_from(bytes.len() - PREFIX_BYTES).expect("a request is far below 4 GiB");
        bytes[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        Self { bytes, index, action, records }
    }

    /// The same request of another slot.
    pub(crate) fn of_slot(&self, slot: usize) -> Self {
        let mut template = self.clone();
        for Places { key, .. } in &self.records {
            let end = key - "-".len();
            put_digits(&mut template.bytes[end - SLOT_DIGITS..end], slot);
        }
        template
    }

    pub(crate) fn set_action(&mut self, action: Action) {
        self.bytes[self.action] = action as u8;
    }

    /// Sets the index to a name of the same length as the first.
    pub(crate) fn set_index(&mut self, index: &str) {
        self.bytes[self.index.clone()].copy_from_slice(index.as_bytes());
    }

    pub(crate) fn set_record(&mut self, record: usize, key: usize, sequence: u64) {
        let places = &self.records[record];
        put_digits(&mut self.bytes[places.key..places.key + KEY_DIGITS], key);
        if let Some(at) = places.sequence {
            let number = sequence as f64;
            self.bytes[at..at + size_of::<f64>()].copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Hands the bytes out for sending; [`Template::restore`] takes them back.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }

    /// Takes the bytes back, without a copy if nobody else holds them any more.
    pub(crate) fn restore(&mut self, bytes: Bytes) {
        self.bytes = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
    }
}

fn put_digits(digits: &mut [u8], number: usize) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a remainder of 10");
        rest /= 10;
    }
}

fn put_record(bytes: &mut BytesMut, payload: SyncPayload) -> Places {
    const PAYLOADS_TAG: u8 = 3 << 3 | 2;
    let has_data = payload.data.is_some();
    let payload_id_bytes = payload.object_id.len();
    let encoded = payload.encode_to_vec();
    bytes.put_u8(PAYLOADS_TAG);
    encode_varint(encoded.len() as u64, bytes);
    let start = bytes.len();
    bytes.extend_from_slice(&encoded);
    // The payload starts with tag, length, id; the id ends with the key's digits.
    let key = start + 2 + payload_id_bytes - KEY_DIGITS;
    let mark = SEQUENCE_MARK.to_le_bytes();
    let sequence = has_data.then(|| {
        start + memchr::memmem::find(&encoded, &mark).expect("product() puts the mark into every object")
    });
    Places { key, sequence }
}

/// A product as a shop would index it; its description fills it up to the size.
fn product(random: &mut fastrand::Rng, size: usize) -> Struct {
    const BRANDS: [&str; 6] = ["Alpenrose", "Nordlicht", "Kestrel", "Maré", "Tanuki", "Old Mill"];
    const COLOURS: [&str; 5] = ["anthracite", "olive", "sand", "bordeaux", "off-white"];
    let brand = BRANDS[random.usize(0..BRANDS.len())];
    let colour = COLOURS[random.usize(0..COLOURS.len())];
    let name = format!("{brand} trail jacket {}", random.u32(100..1000));
    let attributes = fields([
        ("colour", text(colour)),
        ("size", text(["S", "M", "L", "XL"][random.usize(0..4)])),
        ("weight_grams", number(f64::from(random.u32(200..900)))),
    ]);
    let categories = ["Outdoor", "Clothing", "Jackets"].map(text).into();
    let product = |description: String| {
        fields([
            ("name", text(&name)),
            ("brand", text(brand)),
            ("description", text(&description)),
            ("categories", kind(Kind::ListValue(ListValue { values: categories }))),
            ("attributes", kind(Kind::StructValue(attributes.clone()))),
            ("price", number(f64::from(random.u32(1000..40_000)) / 100.0)),
            ("rating", number(f64::from(random.u32(10..50)) / 10.0)),
            ("in_stock", kind(Kind::BoolValue(random.bool()))),
            ("url", text(&format!("https://shop.example/p/{}", random.u32(1_000_000..9_999_999)))),
            (SEQUENCE_ATTRIBUTE, number(SEQUENCE_MARK)),
        ])
    };
    let mut description_random = fastrand::Rng::with_seed(size as u64);
    let mut product = product(String::new());
    let missing = size.saturating_sub(product.encoded_len() + object_id(0, 0).len() + 6);
    product.fields.insert("description".to_owned(), text(&description(&mut description_random, missing)));
    product
}

/// Words, exactly so many bytes.
fn description(random: &mut fastrand::Rng, bytes: usize) -> String {
    const WORDS: [&str; 12] = [
        "waterproof",
        "with",
        "taped",
        "seams",
        "and",
        "a",
        "two-way",
        "zip",
        "for",
        "long",
        "windy",
        "days",
    ];
    let mut description = String::with_capacity(bytes + 16);
    while description.len() < bytes {
        // Writing to a String cannot fail.
        let _ = write!(description, "{} ", WORDS[random.usize(0..WORDS.len())]);
    }
    description.truncate(bytes);
    description
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Struct { fields }
}

fn kind(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: &str) -> Value {
    kind(Kind::StringValue(text.to_owned()))
}

fn number(number: f64) -> Value {
    kind(Kind::NumberValue(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(template: &mut Template) -> UpsertObjectsRequest {
        let bytes = template.take();
        assert_eq!(bytes[0], 0);
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        assert_eq!(length, bytes.len() - PREFIX_BYTES);
        let request = UpsertObjectsRequest::decode(&bytes[PREFIX_BYTES..]).unwrap();
        template.restore(bytes);
        request
    }

    /// Scenario: every changing part is overwritten, twice. Protects the truth of every history: what the generator
    /// says that it sent is what prost decodes.
    #[test]
    fn overwrites_exactly_what_changes() {
        let mut template = Template::new("products-000", 3, Some(680)).of_slot(4711);
        for (action, index, first) in
            [(Action::Save, "products-001", 99_999_990), (Action::PartialUpdate, "products-042", 5)]
        {
            template.set_action(action);
            template.set_index(index);
            (0..3).for_each(|record| template.set_record(record, first + record, 1000 + record as u64));
            let request = decoded(&mut template);
            assert_eq!(request.index_name, index);
            assert_eq!(request.action_type, action as i32);
            for (record, payload) in request.payloads.iter().enumerate() {
                assert_eq!(payload.object_id, object_id(4711, first + record));
                let value = &payload.data.as_ref().unwrap().fields[SEQUENCE_ATTRIBUTE];
                assert_eq!(value.kind, Some(Kind::NumberValue(1000.0 + record as f64)));
            }
        }
    }

    /// Protects the benchmarks' "about 680 wire bytes a record".
    #[test]
    fn a_record_has_the_wire_size_asked_for() {
        for size in [500, 680, 5000] {
            let request = decoded(&mut Template::new("products", 1, Some(size)));
            let bytes = request.payloads[0].encoded_len();
            assert!(bytes.abs_diff(size) <= 4, "{bytes} for {size}");
        }
    }

    /// A delete's payload must carry no data, or the agent refuses it.
    #[test]
    fn a_delete_carries_no_data() {
        let mut template = Template::new("products", 2, None).of_slot(1);
        template.set_action(Action::Delete);
        template.set_record(1, 12, 99);
        let request = decoded(&mut template);
        assert_eq!(request.action_type, Action::Delete as i32);
        assert_eq!(request.payloads[1], SyncPayload { object_id: object_id(1, 12), data: None });
    }
}
