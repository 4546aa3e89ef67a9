//! Messages that no encoder writes, and some that one does: `ingress::fuzz` says what must hold of each. Longer:
//! `PROPTEST_CASES=1000000`, and `.ci/long fuzz`.

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

use crate::{
    contract::client::{SyncPayload, UpsertObjectsRequest},
    ingress::fuzz,
};

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        any::<f64>().prop_map(Kind::NumberValue),
        ".{0,12}".prop_map(Kind::StringValue),
    ];
    leaf.prop_map(|kind| Value { kind: Some(kind) }).prop_recursive(3, 12, 4, |inner| {
        vec((".{0,6}", inner), 0..4).prop_map(|fields| Value {
            kind: Some(Kind::StructValue(Struct { fields: fields.into_iter().collect() })),
        })
    })
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let data = vec(("[a-z]{1,6}|objectID|_operation", values()), 0..4);
    let data = proptest::option::of(data.prop_map(|fields| Struct { fields: fields.into_iter().collect() }));
    let payload =
        ("[a-z0-9]{0,8}|.{0,600}", data).prop_map(|(object_id, data)| SyncPayload { object_id, data });
    let key = "(|[a-z]{1,8}|.{0,300})";
    ("[a-z]{0,8}|.{0,300}", -1..6_i32, vec(payload, 0..5), key).prop_map(
        |(index_name, action_type, payloads, idempotency_key)| {
            UpsertObjectsRequest { index_name, action_type, payloads, idempotency_key }.encode_to_vec()
        },
    )
}

proptest! {
    /// G1: what is accepted is what was sent, whole; everything else is refused with words, and nothing panics.
    #[test]
    fn requests(message in messages()) {
        fuzz::request(&message);
    }

    #[test]
    fn changed_requests(
        message in messages(),
        changes in vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut message = message;
        for (at, byte, what) in changes {
            let at = at.index(message.len() + 1);
            match what {
                0 => message.insert(at, byte),
                1 => message.truncate(at),
                // A part of it comes twice.
                2 => message.extend_from_within(at..),
                _ => message.iter_mut().skip(at).take(1).for_each(|changed| *changed ^= byte),
            }
        }
        fuzz::request(&message);
    }

    #[test]
    fn any_bytes(message in vec(any::<u8>(), 0..200)) {
        fuzz::request(&message);
        fuzz::caller(&message);
    }
}
