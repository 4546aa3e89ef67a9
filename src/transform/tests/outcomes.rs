//! What a guest returns is checked, and becomes what the feed may deliver.

use super::*;
use crate::transform::Product;

fn outcome(how: &str, record: Record) -> Outcome {
    let instance = start(&behave(how)).unwrap().with_record_bytes_max(64 << 10);
    let mut instance = instance;
    instance.call(&[record], LONG).unwrap().remove(0)
}

#[track_caller]
fn invalid(how: &str, words: &[&str]) {
    let outcome = outcome(how, record("7"));
    let (code, message) = failure(&outcome);
    assert_eq!(code, ReasonCode::TransformInvalid);
    for word in words {
        assert!(message.contains(word), "\"{word}\" is missing in: {message}");
    }
}

/// Each outcome of the contract, with actions, ids and bodies as the guest gave them.
#[test]
fn good_outcomes() {
    assert_eq!(outcome("", record("7")), Outcome::Unchanged);
    assert_eq!(outcome("skip", record("7")), Outcome::Skip);
    assert_eq!(outcome("emit_nothing", record("7")), Outcome::Skip);
    assert_eq!(outcome("identity", record("7")), Outcome::Replace(r#"{"price":1}"#.into()));
    assert_eq!(
        outcome("identity", record_of(Action::Delete, "7", "")),
        Outcome::Unchanged,
        "a delete has no data"
    );
    assert_eq!(outcome("index", record("7")), Outcome::Replace(r#"{"index":"products"}"#.into()));
    let product =
        |action, id: &str, body: &'static str| Product { action, object_id: id.into(), body: body.into() };
    assert_eq!(
        outcome("emit", record("7")),
        Outcome::Emit(vec![
            product(Action::Save, "7-a", "{}"),
            product(Action::PartialUpdate, "7", r#"{"n":1}"#),
            product(Action::PartialUpdateNoCreate, "third", "{}"),
            product(Action::Delete, "7-b", ""),
        ])
    );
}

/// `fail` carries the author's words, on one line.
#[test]
fn failing_on_purpose() {
    let failed = outcome("fail", record("7"));
    assert_eq!(failure(&failed), (ReasonCode::TransformFailed, "the price is negative\\nindeed"));
    let failed = outcome("fail_silently", record("7"));
    assert_eq!(failure(&failed), (ReasonCode::TransformFailed, "the transform gave no reason"));
}

/// What cannot be delivered is that record's failure; the words name the field and what to do.
#[test]
fn bad_outcomes() {
    invalid("bad_json", &["replace is not valid JSON at byte 12", "let a JSON library write it"]);
    invalid("not_an_object", &["replace is not a JSON object", "return the text of one object"]);
    invalid("other_object_id", &["replace has an objectID that is not", "emit an operation"]);
    invalid("large", &["replace has 100008 bytes", "the limit for a record is 65536", "emit several"]);
    invalid("empty_id", &["emit[1].object-id is empty", "name the object"]);
    invalid("long_id", &["emit[1].object-id has 513 bytes", "the limit is 512", "shorten"]);
    invalid("emit_bad_json", &["emit[1].data is not a JSON object"]);
    let failed = outcome("replace_anyway", record_of(Action::Delete, "7", ""));
    let (code, words) = failure(&failed);
    assert!(code == ReasonCode::TransformInvalid && words.contains("emit a save"), "{words}");
}

/// One bad outcome among good ones of the same call.
#[test]
fn others_go_on() {
    let mut instance = start(&behave_on("bad_json", "3")).unwrap();
    let outcomes = instance.call(&records(10), LONG).unwrap();
    for (id, outcome) in outcomes.iter().enumerate() {
        assert_eq!(*outcome == Outcome::Unchanged, id != 3, "{id}: {outcome:?}");
    }
}

/// A body that is not text, as only a damaged log could hold, is not passed on in any form.
#[test]
fn bodies_that_are_not_text() {
    let mut record = record("7");
    record.body = Bytes::from_static(b"{\"a\":\"\xff\"}");
    let error = start("{}").unwrap().call(&[record], LONG).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}
