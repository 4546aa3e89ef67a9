//! The reference is a tree: prost-types' Struct, encoded by prost, printed by serde_json.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind as Tree};
use serde_json::{Number, Value as Json};

use super::*;

fn rules() -> Rules {
    Rules { bytes_max: 1 << 20, allow_non_idempotent: false, sorted: false }
}

fn run(rules: Rules, data: &[u8], object_id: &str) -> Result<String, Faults> {
    let mut out = Vec::new();
    Transcoder::new(rules).transcode(data, object_id, &mut out)?;
    Ok(String::from_utf8(out).expect("the JSON is UTF-8"))
}

fn transcode(data: &[u8]) -> Result<String, Faults> {
    run(rules(), data, "id")
}

/// The faults' paths and problems, as a producer reads them.
fn faults(data: &[u8]) -> Vec<String> {
    told(transcode(data).expect_err("the data is at fault"))
}

fn told(faults: Faults) -> Vec<String> {
    faults.first.iter().map(|fault| format!("{} {}", fault.path, fault.problem)).collect()
}

fn value(kind: Tree) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: &str) -> Value {
    value(Tree::StringValue(text.into()))
}

fn number(number: f64) -> Value {
    value(Tree::NumberValue(number))
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn nested<const N: usize>(fields: [(&str, Value); N]) -> Value {
    value(Tree::StructValue(object(fields)))
}

/// A length-delimited field, for what prost would not write.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

fn entry(name: &str, value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value)].concat())
}

/// What the issue says the text must mean, from the tree.
fn reference(object: &Struct) -> Json {
    Json::Object(object.fields.iter().map(|(name, value)| (name.clone(), reference_value(value))).collect())
}

fn reference_value(value: &Value) -> Json {
    match value.kind.as_ref().expect("every value has a kind") {
        Tree::NullValue(_) => Json::Null,
        Tree::BoolValue(value) => Json::Bool(*value),
        Tree::StringValue(text) => Json::String(text.clone()),
        Tree::NumberValue(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            Json::from(*number as i64)
        }
        Tree::NumberValue(number) => Json::Number(Number::from_f64(*number).expect("finite")),
        Tree::StructValue(object) => reference(object),
        Tree::ListValue(list) => list.values.iter().map(reference_value).collect(),
    }
}

/// What prost makes of the bytes, if anything: unlike ours it also reads what a later member of its oneof replaces.
fn tree(data: &[u8]) -> Option<Struct> {
    let mut tree = Struct::decode(data).ok()?;
    tree.fields.remove("objectID");
    Some(tree)
}

/// For what may differ in order. serde_json reads some doubles one digit off, so both sides are read by it.
fn parsed(text: &str) -> Json {
    serde_json::from_str(text).expect("valid JSON")
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(f64::from),
        (-(1_i64 << 55)..(1 << 55)).prop_map(|number| number as f64),
        proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        (0..200_000_u32).prop_map(|cents| f64::from(cents) / 100.0),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(value(Tree::NullValue(0))),
        any::<bool>().prop_map(|it| value(Tree::BoolValue(it))),
        any_number().prop_map(number),
        ".{0,20}|[\\x00-\\x30]{0,12}".prop_map(|it| text(&it)),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|values| value(Tree::ListValue(ListValue { values }))),
            prop::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|fields| value(Tree::StructValue(Struct { fields }))),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Struct> {
    prop::collection::btree_map(".{0,8}", any_value(), 0..8).prop_map(|fields| Struct {
        fields: fields.into_iter().filter(|(name, _)| name != "objectID").collect(),
    })
}

/// The object's encoding with its attributes, at every depth, in the order that `random` gives, some of them preceded
/// by another value of the same name, and with fields that nobody knows strewn in.
fn shuffled(object: &Struct, random: &mut impl FnMut() -> u32) -> Vec<u8> {
    let mut entries = Vec::new();
    for (name, it) in &object.fields {
        entries.push((random(), entry(name, &shuffled_value(it, random))));
    }
    entries.sort_unstable();
    let mut out = Vec::new();
    for (draw, bytes) in entries {
        if draw.is_multiple_of(5) {
            out.extend(field(9, b"unknown"));
        }
        out.extend(bytes);
    }
    if let Some(name) = object.fields.keys().next()
        && random().is_multiple_of(2)
    {
        let replaced = entry(name, &nested([("gone", number(1.0))]).encode_to_vec());
        out = [replaced.clone(), replaced, out].concat();
    }
    out
}

fn shuffled_value(it: &Value, random: &mut impl FnMut() -> u32) -> Vec<u8> {
    match it.kind.as_ref().unwrap() {
        Tree::StructValue(object) => field(5, &shuffled(object, random)),
        Tree::ListValue(list) => {
            let items = list.values.iter().flat_map(|item| field(1, &shuffled_value(item, random)));
            field(6, &items.collect::<Vec<_>>())
        }
        _ => it.encode_to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// What prost encodes comes out byte for byte as the tree printed by serde_json.
    #[test]
    fn equals_the_tree(object in any_object()) {
        let text = transcode(&object.encode_to_vec()).unwrap();
        prop_assert_eq!(text, reference(&object).to_string());
    }

    /// In whatever order attributes come, and however often: the last of each name counts. Sorted, the text is the
    /// same for every encoding.
    #[test]
    fn order_and_repeats_do_not_matter(object in any_object(), seed in any::<u64>()) {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        let data = shuffled(&object, &mut random);
        let text = transcode(&data).unwrap();
        prop_assert_eq!(parsed(&text), parsed(&reference(&object).to_string()));
        prop_assert_eq!(text.matches("\"gone\"").count(), reference(&object).to_string().matches("\"gone\"").count());

        let sorted = Rules { sorted: true, ..rules() };
        let again = shuffled(&object, &mut random);
        prop_assert_eq!(run(sorted, &data, "id").unwrap(), run(sorted, &again, "id").unwrap());
    }

    /// Every double is read back as itself, and an integer where the rule says so.
    #[test]
    fn numbers_round_trip(it in any_number()) {
        let printed = transcode(&object([("n", number(it))]).encode_to_vec()).unwrap();
        let printed = printed.strip_prefix("{\"n\":").unwrap().strip_suffix('}').unwrap();
        prop_assert_eq!(printed.parse::<f64>().unwrap(), it);
        if it.fract() == 0.0 && it.abs() < 9_007_199_254_740_992.0 {
            prop_assert!(printed.parse::<i64>().is_ok(), "{}", printed);
        }
    }

    /// Hostile bytes: no panic, no more memory than their own times a small factor, and what is accepted is valid
    /// JSON that means what the tree means.
    #[test]
    fn hostile_bytes(object in any_object(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let mut data = object.encode_to_vec();
        if !data.is_empty() {
            for (at, byte) in flips {
                let at = at.index(data.len());
                data[at] = byte;
            }
            data.truncate(cut.index(data.len() * 4));
        }
        let mut out = Vec::new();
        let written = Transcoder::new(rules()).transcode(&data, "id", &mut out);
        // Six bytes for each control character, and a little for each value.
        prop_assert!(out.capacity() <= 64 + 16 * data.len(), "{} of {}", out.capacity(), data.len());
        if written.is_ok() {
            let text = std::str::from_utf8(&out).unwrap();
            let Some(tree) = tree(&data) else { return Ok(()) };
            prop_assert_eq!(parsed(text), parsed(&reference(&tree).to_string()));
        }
    }

    /// Random bytes, for the same.
    #[test]
    fn random_bytes(data in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..0x33], 0..60)) {
        if let Ok(text) = transcode(&data) {
            let Some(tree) = tree(&data) else { return Ok(()) };
            prop_assert_eq!(parsed(&text), parsed(&reference(&tree).to_string()));
        }
    }
}

/// The pinned forms of numbers.
#[test]
fn pinned_numbers() {
    for (it, printed) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-42.0, "-42"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (-9_007_199_254_740_991.0, "-9007199254740991"),
        (0.1, "0.1"),
        (19.99, "19.99"),
        (-1.5, "-1.5"),
    ] {
        let text = transcode(&object([("n", number(it))]).encode_to_vec()).unwrap();
        assert_eq!(text, format!("{{\"n\":{printed}}}"));
    }
    for it in [9_007_199_254_740_992.0, 1e21, 1e300, 5e-324, f64::MAX] {
        let text = transcode(&object([("n", number(it))]).encode_to_vec()).unwrap();
        assert_eq!(text, format!("{{\"n\":{}}}", Number::from_f64(it).unwrap()));
    }
}

/// An empty Struct is an object without attributes.
#[test]
fn empty_is_an_object() {
    assert_eq!(transcode(&[]).unwrap(), "{}");
}

/// Each fault is named with its path, and several at once.
#[test]
fn every_fault_is_named() {
    let data = [
        entry("fine", &text("x").encode_to_vec()),
        entry("nan", &number(f64::NAN).encode_to_vec()),
        entry(
            "inf",
            &nested([(
                "list",
                value(Tree::ListValue(ListValue { values: vec![text(""), number(f64::NEG_INFINITY)] })),
            )])
            .encode_to_vec(),
        ),
        entry("kindless", &[]),
        entry("latin", &field(3, b"caf\xe9")),
        field(1, &field(1, b"valueless")),
        entry("wrong", &[0x1d, 0, 0, 0, 0]),
        entry("cut", &[0x11, 0, 0]),
        entry("twice", &[field(5, &[]), field(5, &[])].concat()),
        field(1, &[field(1, b"parts"), field(2, &field(3, b"")), field(2, &field(3, b""))].concat()),
        entry("objectID", &text("other").encode_to_vec()),
    ]
    .concat();
    assert_eq!(
        faults(&data),
        [
            ".nan is NaN, which JSON cannot express",
            ".inf.list[1] is -inf, which JSON cannot express",
            ".kindless has no value: set one of null, number, string, bool, struct or list",
            ".latin is not valid UTF-8",
            ".valueless has no value: set one of null, number, string, bool, struct or list",
            ".wrong not valid protobuf: a field of google.protobuf.Struct has the wrong wire type",
            ".cut not valid protobuf: number is cut",
            ".twice is given twice in one message",
            ".parts is given twice in one message",
            ".objectID is \"other\", but the payload's object_id is another: leave it out, or give the same string",
        ]
    );
}

/// Of a oneof the last field counts, as protobuf has it.
#[test]
fn the_last_kind_counts() {
    let both = [text("first").encode_to_vec(), number(2.0).encode_to_vec()].concat();
    assert_eq!(transcode(&entry("a", &both)).unwrap(), r#"{"a":2}"#);
    let apart =
        [field(5, &entry("x", &text("").encode_to_vec())), number(2.0).encode_to_vec(), field(5, &[])]
            .concat();
    assert_eq!(transcode(&entry("a", &apart)).unwrap(), r#"{"a":{}}"#);
}

/// `objectID` at the top is left out where it says the same, refused where not; further down it is any attribute.
#[test]
fn object_id() {
    let same =
        object([("a", number(1.0)), ("objectID", text("id")), ("z", nested([("objectID", text("other"))]))]);
    assert_eq!(transcode(&same.encode_to_vec()).unwrap(), r#"{"a":1,"z":{"objectID":"other"}}"#);
    for other in [text("ID"), text(""), number(1.0), value(Tree::NullValue(0)), nested([])] {
        let found = faults(&object([("objectID", other)]).encode_to_vec());
        assert!(found.len() == 1 && found[0].starts_with(".objectID is "), "{found:?}");
    }
    // The last one counts.
    let [same, other] = ["id", "other"].map(|id| entry("objectID", &text(id).encode_to_vec()));
    assert_eq!(transcode(&[other.clone(), same.clone()].concat()).unwrap(), "{}");
    assert_eq!(faults(&[same, other].concat()).len(), 1);
}

/// Increment, Decrement and Add as a first-level attribute are refused with a reason, unless they are allowed; what
/// only looks like them is data.
#[test]
fn non_idempotent_operations() {
    let operation = |name: &str| nested([("_operation", text(name)), ("value", number(1.0))]);
    for name in ["Increment", "Decrement", "Add"] {
        let data = object([("views", operation(name))]).encode_to_vec();
        let found = faults(&data);
        assert!(found[0].starts_with(&format!(".views {name} is not idempotent")), "{found:?}");
        assert!(found[0].contains("limits.non_idempotent_operations"), "{found:?}");
        let allowed = Rules { allow_non_idempotent: true, ..rules() };
        assert_eq!(
            run(allowed, &data, "id").unwrap(),
            format!(r#"{{"views":{{"_operation":"{name}","value":1}}}}"#)
        );
    }
    for fine in [
        object([("views", operation("AddUnique"))]),
        object([("a", nested([("b", operation("Add"))]))]),
        object([("_operation", text("Add"))]),
        object([("a", value(Tree::ListValue(ListValue { values: vec![operation("Add")] })))]),
    ] {
        transcode(&fine.encode_to_vec()).unwrap();
    }
}

/// 64 objects and lists within each other are fine, one more is not, and a hundred thousand do not exhaust the stack.
#[test]
fn depth() {
    let deep = |levels: usize| {
        let mut data = Vec::new();
        for _ in 1..levels {
            data = entry("a", &field(5, &data));
        }
        data
    };
    transcode(&deep(DEPTH_MAX)).unwrap();
    assert!(faults(&deep(DEPTH_MAX + 1))[0].ends_with("is nested more than 64 objects and lists deep"));
    faults(&deep(20_000));
    let mut lists = Vec::new();
    for _ in 1..DEPTH_MAX {
        lists = field(6, &field(1, &lists));
    }
    let fault = faults(&entry("a", &lists));
    assert!(fault[0].contains("has no value"), "{fault:?}");
}

/// The limit is inclusive, and text beyond it is not even copied.
#[test]
fn size() {
    let data = object([("a", text("12345")), ("b", number(1.0))]).encode_to_vec();
    let size = r#"{"a":"12345","b":1}"#.len();
    let limited = |bytes_max| run(Rules { bytes_max, ..rules() }, &data, "id");
    limited(size).unwrap();
    for bytes_max in 0..size {
        let found = told(limited(bytes_max).unwrap_err());
        assert!(found[0].contains(&format!("over {bytes_max} bytes")), "{found:?}");
    }
    let long = object([("a", text(&"x".repeat(1 << 20)))]).encode_to_vec();
    let mut out = Vec::new();
    Transcoder::new(Rules { bytes_max: 1000, ..rules() }).transcode(&long, "id", &mut out).unwrap_err();
    assert!(out.capacity() < 2000);
}

/// A hostile object with 100,000 names, all of them twice, takes no more time than sorting them; nested ones in which
/// every level has repeats take no more than a pass for each level.
#[test]
fn repeats_are_not_quadratic() {
    let one = number(1.0).encode_to_vec();
    let two = number(2.0).encode_to_vec();
    let names = || (0..100_000).rev().map(|number| format!("{number:06}"));
    let data: Vec<u8> = names()
        .map(|n| (n, &one))
        .chain(names().map(|n| (n, &two)))
        .flat_map(|(n, v)| entry(&n, v))
        .collect();
    let begun = std::time::Instant::now();
    let roomy = Rules { bytes_max: 10 << 20, ..rules() };
    let text = run(roomy, &data, "id").unwrap();
    let read: BTreeMap<String, u8> = serde_json::from_str(&text).unwrap();
    assert_eq!(read.len(), 100_000);
    assert!(read.values().all(|value| *value == 2));

    let mut deep = Vec::new();
    for _ in 1..DEPTH_MAX {
        deep = [entry("a", &one), entry("a", &field(5, &deep))].concat();
    }
    assert!(run(roomy, &deep, "id").unwrap().starts_with(r#"{"a":{"a":{"#));
    // An unoptimised build needs a second; pair by pair it would be hours.
    assert!(begun.elapsed() < std::time::Duration::from_secs(30));
}
