//! What is refused before it is sent, since it could take a batch with it (G6) or count twice.

use plugin_api::{destination::Destination, operation::Action, verdict::ReasonCode};

use crate::setup::{operation, save, start, start_with};

/// Ids and index names outside the limits are refused with their length, those on the limits are not.
#[tokio::test]
async fn ids_and_names_have_limits() {
    let (_fake, algolia) = start().await;
    let cases = [
        ("i", 0, false),
        ("i", 1, true),
        ("i", 512, true),
        ("i", 513, false),
        ("", 1, false),
        (".", 1, false),
        ("..", 1, false),
        ("*", 1, false),
        ("a\u{0}", 1, false),
        ("...", 1, true),
    ];
    for (index, bytes, admitted) in cases {
        let outcome = algolia.admit(&save(index, &"x".repeat(bytes), "{}"));
        assert_eq!(outcome.is_ok(), admitted, "{index:?} {bytes}: {outcome:?}");
    }
    assert!(algolia.admit(&save(&"i".repeat(256), "1", "{}")).is_ok());
    let refused = algolia.admit(&save(&"i".repeat(257), "1", "{}")).unwrap_err();
    assert_eq!(refused.code, ReasonCode::NotAdmitted);
    assert!(refused.message.contains("257 bytes") && refused.message.contains("256"), "{refused}");
}

/// A body that is no object would make the whole request unreadable.
#[tokio::test]
async fn bodies_are_objects() {
    let (_fake, algolia) = start().await;
    for body in ["", "[]", "1", "{", "null"] {
        assert!(algolia.admit(&save("i", "1", body)).is_err(), "{body:?}");
    }
    assert!(algolia.admit(&operation(Action::Delete, "i", "1", "")).is_ok());
    assert!(algolia.admit(&save("i", "1", " {} ")).is_ok());
}

/// Operations that count twice when they are sent twice are refused unless the settings admit them, however a
/// transform spells them; anything that only resembles them is a value like any other.
#[tokio::test]
async fn non_idempotent_operations_need_leave() {
    let (_fake, strict) = start().await;
    let (_fake, lax) =
        start_with(Default::default(), |settings| settings.non_idempotent_operations = true).await;
    let refused = [
        r#"{"stock":{"_operation":"Increment","value":1}}"#,
        r#"{"stock":{"value":1,"_operation":"Decrement"}}"#,
        r#"{"a":1,"tags":{"_operation" : "Add","value":"x"},"b":2}"#,
        r#"{"stock":{"\u005foperation":"Increment","value":1}}"#,
        r#"{"stock":{"_operation":"\u0049ncrement","value":1}}"#,
        r#"{"stock":1,"stock":{"_operation":"Increment","value":1}}"#,
        r#"{"stock":{"_operation":"Increment","_operation":"Remove","value":1}}"#,
    ];
    for body in refused {
        for action in [Action::PartialUpdate, Action::PartialUpdateNoCreate, Action::Save] {
            let reason = strict.admit(&operation(action, "i", "1", body)).unwrap_err();
            assert!(reason.message.contains("non_idempotent_operations"), "{reason}");
            assert!(lax.admit(&operation(action, "i", "1", body)).is_ok(), "{body}");
        }
    }
    let admitted = [
        r#"{"tags":{"_operation":"AddUnique","value":"x"}}"#,
        r#"{"tags":{"_operation":"Remove","value":"x"}}"#,
        r#"{"stock":{"_operation":"IncrementFrom","value":1}}"#,
        r#"{"stock":{"_operation":"IncrementSet","value":1}}"#,
        r#"{"text":"_operation Increment"}"#,
        r#"{"_operation":"Increment"}"#,
        r#"{"deep":{"er":{"_operation":"Increment","value":1}}}"#,
        r#"{"odd":{"_operation":["Increment"]}}"#,
        r#"{"text":"\u0001"}"#,
    ];
    for body in admitted {
        assert_eq!(strict.admit(&operation(Action::PartialUpdate, "i", "1", body)), Ok(()), "{body}");
    }
    assert!(strict.admit(&save("i", "1", r#"{"_operation":}"#)).is_err());
}

/// A body with an id of its own would be written to another object, out of that object's order (G4).
#[tokio::test]
async fn a_body_has_no_object_id() {
    let (_fake, algolia) =
        start_with(Default::default(), |settings| settings.non_idempotent_operations = true).await;
    for body in [r#"{"objectID":"2"}"#, r#"{"a":{"_operation":"Add","value":1},"object\u0049D":"2"}"#] {
        let reason = algolia.admit(&save("i", "1", body)).unwrap_err();
        assert!(reason.message.contains("objectID"), "{reason}");
    }
    for body in [r#"{"deep":{"objectID":"2"}}"#, r#"{"text":"objectID"}"#, r#"{"objectid":"2"}"#] {
        assert_eq!(algolia.admit(&save("i", "1", body)), Ok(()), "{body}");
    }
}
