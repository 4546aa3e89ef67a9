//! What is refused before it is sent, since it could take a request with it (G6) or mean something else.

use plugin_api::{
    destination::Destination,
    identity::Version,
    operation::{Action, Operation},
    verdict::ReasonCode,
};

use crate::setup::{operation, start};

fn save(index: &str, object_id: &str, body: &str) -> Operation {
    operation(Action::Save, index, object_id, body, Version(1))
}

#[tokio::test]
async fn ids_have_limits() {
    let (_fake, elasticsearch) = start().await;
    for (bytes, admitted) in [(0, false), (1, true), (512, true), (513, false)] {
        let outcome = elasticsearch.admit(&save("i", &"x".repeat(bytes), "{}"));
        assert_eq!(outcome.is_ok(), admitted, "{bytes}: {outcome:?}");
    }
    // Bytes count, not characters.
    let refused = elasticsearch.admit(&save("i", &"ü".repeat(257), "{}")).unwrap_err();
    assert_eq!(refused.code, ReasonCode::NotAdmitted);
    assert!(refused.message.contains("514 bytes") && refused.message.contains("512"), "{refused}");
}

/// The rules of Elasticsearch's documentation on index names.
#[tokio::test]
async fn index_names_follow_the_rules() {
    let (_fake, elasticsearch) = start().await;
    let long = ["x".repeat(255), "x".repeat(256)];
    for name in ["i", "products_v2", "a-b+c", "über", "日本", ".hidden", "...", "1", "a;b", "%2f", &long[0]]
    {
        assert_eq!(elasticsearch.admit(&save(name, "1", "{}")), Ok(()), "{name:?}");
    }
    for name in [
        "", ".", "..", "_all", "-a", "+a", "Products", "ÜBER", "a b", "a,b", "a#b", "a:b", "a/b", "a\\b",
        "a*", "a?", "a\"b", "<a>", "a|b", "a\nb", "a\0", &long[1],
    ] {
        let refused = elasticsearch.admit(&save(name, "1", "{}")).expect_err(name);
        assert_eq!(refused.code, ReasonCode::NotAdmitted, "{name:?}");
    }
    let refused = elasticsearch.admit(&save("Products", "1", "{}")).unwrap_err();
    assert_eq!(refused.message, "the index name \"Products\" is not in lowercase");
}

/// A body that is no object would end up as another line of the request.
#[tokio::test]
async fn bodies_are_objects() {
    let (_fake, elasticsearch) = start().await;
    for body in ["", "[]", "1", "{", "null"] {
        assert!(elasticsearch.admit(&save("i", "1", body)).is_err(), "{body:?}");
    }
    assert!(elasticsearch.admit(&operation(Action::Delete, "i", "1", "", Version(1))).is_ok());
    assert!(elasticsearch.admit(&save("i", "1", " {} ")).is_ok());
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100 << 20));
    assert_eq!(elasticsearch.admit(&save("i", "1", &large)).unwrap_err().code, ReasonCode::TooLarge);
}

/// Algolia's operations would be stored as they are: refused, however they are spelt; what only resembles them is a
/// value like any other.
#[tokio::test]
async fn algolias_operations_are_refused() {
    let (_fake, elasticsearch) = start().await;
    for name in ["Increment", "Decrement", "Add", "Remove", "AddUnique", "IncrementFrom", "IncrementSet"] {
        for action in [Action::PartialUpdate, Action::PartialUpdateNoCreate, Action::Save] {
            let body = format!(r#"{{"a":1,"stock":{{"_operation":"{name}","value":1}}}}"#);
            let reason = elasticsearch.admit(&operation(action, "i", "1", &body, Version(1))).unwrap_err();
            assert!(reason.message.contains(name) && reason.message.contains("\"stock\""), "{reason}");
        }
    }
    for body in [
        r#"{"stock":{"\u005foperation":"Increment","value":1}}"#,
        r#"{"stock":{"_operation":"\u0049ncrement","value":1}}"#,
        r#"{"stock":1,"stock":{"_operation":"Increment","value":1}}"#,
        r#"{"_operation":}"#,
    ] {
        assert!(elasticsearch.admit(&save("i", "1", body)).is_err(), "{body}");
    }
    for body in [
        r#"{"text":"_operation Increment"}"#,
        r#"{"_operation":"Increment"}"#,
        r#"{"deep":{"er":{"_operation":"Increment","value":1}}}"#,
        r#"{"odd":{"_operation":["Increment"]}}"#,
        r#"{"odd":{"_operation":"Multiply"}}"#,
        r#"{"text":"\u0001","objectID":"2"}"#,
    ] {
        assert_eq!(elasticsearch.admit(&save("i", "1", body)), Ok(()), "{body}");
    }
}

/// A version beyond 2^63 is answered with a 500 for ever; one that is admitted leaves room for the next.
#[tokio::test]
async fn versions_fit() {
    let (fake, elasticsearch) = start().await;
    let of = |version| operation(Action::PartialUpdate, "i", "1", "{}", Version(version));
    let max = (1_u64 << 53) - 2;
    for (version, admitted) in [(0, true), (max, true), (max + 1, false), (u64::MAX, false)] {
        assert_eq!(elasticsearch.admit(&of(version)).is_ok(), admitted, "{version}");
    }
    let batch = [of(max), of(max)].into_iter().collect();
    elasticsearch.write(&batch).await.unwrap();
    assert_eq!(fake.version("i", "1"), Some(i64::try_from(max * 1024).unwrap() + 1));
}
