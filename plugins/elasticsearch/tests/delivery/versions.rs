//! Versions (G3, G4): what is older than what is stored is superseded, unless the stored version is nobody's of ours.

use fakes::elasticsearch::Fault;
use plugin_api::{
    identity::Version,
    operation::{
        Action::{self, Delete, PartialUpdate, Save},
        Batch,
    },
    verdict::{ReasonCode, Verdict},
};
use serde_json::{Value, json};

use crate::setup::{batch, batch_from, operation, start, version, write};

const MINUTE: u64 = 60_000_000;

/// Late duplicates of saves and deletes are superseded while the newer version is known; the same again is written.
#[tokio::test]
async fn what_is_older_is_superseded() {
    let (fake, elasticsearch) = start().await;
    let older = batch_from(10, &[(Save, "1", r#"{"n":1}"#)]);
    let newer = batch_from(11, &[(Save, "1", r#"{"n":2}"#)]);
    let delete = batch_from(12, &[(Delete, "1", "")]);
    write(&elasticsearch, &newer).await;
    assert_eq!(write(&elasticsearch, &newer).await, [Verdict::Written]);
    assert_eq!(write(&elasticsearch, &older).await, [Verdict::Superseded]);
    assert_eq!(json!(fake.objects("i")), json!({ "1": { "n": 2 } }));
    assert_eq!(write(&elasticsearch, &delete).await, [Verdict::Written]);
    assert_eq!(
        write(&elasticsearch, &newer).await,
        [Verdict::Superseded],
        "a deleted object does not come back"
    );
    assert_eq!(write(&elasticsearch, &delete).await, [Verdict::Written]);
    let older_delete = batch_from(11, &[(Delete, "1", "")]);
    assert_eq!(write(&elasticsearch, &older_delete).await, [Verdict::Superseded]);
    assert!(fake.objects("i").is_empty());
    // After `index.gc_deletes` nobody knows any more that it was deleted: the deploy notes say so.
    fake.forget_tombstones();
    assert_eq!(write(&elasticsearch, &newer).await, [Verdict::Written]);
}

/// A key several times in one batch: in its order, and in the same state when all of it is sent again.
#[tokio::test]
async fn a_key_comes_several_times() {
    let (fake, elasticsearch) = start().await;
    let batch = batch(&[
        (Save, "1", r#"{"n":1}"#),
        (Delete, "1", ""),
        (Save, "1", r#"{"n":3}"#),
        (PartialUpdate, "1", r#"{"m":4}"#),
        (Save, "2", "{}"),
        (Delete, "2", ""),
    ]);
    for _ in 0..3 {
        write(&elasticsearch, &batch).await;
        assert_eq!(json!(fake.objects("i")), json!({ "1": { "n": 3, "m": 4 } }));
    }
}

/// A transform may make several operations for one object of one record: they have one version, and yet each comes after
/// the ones before it, also when all are sent again and again.
#[tokio::test]
async fn operations_of_one_record_are_in_order() {
    let cases: [(&[(Action, &str)], Value); 6] = [
        (&[(Save, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#), (Delete, "")], Value::Null),
        (&[(Delete, ""), (Save, r#"{"a":1}"#)], json!({ "a": 1 })),
        (&[(PartialUpdate, r#"{"a":1}"#), (Save, r#"{"b":2}"#)], json!({ "b": 2 })),
        (&[(PartialUpdate, r#"{"a":1}"#), (PartialUpdate, r#"{"a":2}"#)], json!({ "a": 2 })),
        (&[(Save, "{}"), (PartialUpdate, r#"{"a":1}"#), (Save, r#"{"b":2}"#)], json!({ "b": 2 })),
        (
            &[(Delete, ""), (PartialUpdate, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#)],
            json!({ "a": 1, "b": 2 }),
        ),
    ];
    for (rows, expected) in cases {
        let (fake, elasticsearch) = start().await;
        let numbered = |(number, (action, body)): (usize, &(Action, &str))| {
            let mut operation = operation(*action, "i", "1", body, Version(1_000));
            operation.source.number = number as u32;
            operation
        };
        let batch: Batch = rows.iter().enumerate().map(numbered).collect();
        for round in 0..20 {
            write(&elasticsearch, &batch).await;
            assert_eq!(
                fake.objects("i").remove("1").unwrap_or_default(),
                expected,
                "{rows:?}, round {round}"
            );
        }
        // The next record comes after all of them.
        assert_eq!(write(&elasticsearch, &batch_from(1_001, &[(Save, "1", "{}")])).await, [Verdict::Written]);
    }
}

/// A stored version that no agent can have given by now is somebody else's: the record is dead-lettered with the version
/// in its words, and is never counted as delivered. One that another agent's clock explains is not.
#[tokio::test]
async fn a_foreign_version_is_told_from_a_newer_one() {
    let (fake, elasticsearch) = start().await;
    let one =
        |action, version| -> Batch { [operation(action, "i", "1", "{}", version)].into_iter().collect() };
    let of = |version: Version| i64::try_from(version.0).unwrap() * 1024;
    for (stored, superseded) in [
        (of(version(0)), true),
        (of(version(MINUTE / 2)), true),
        (of(version(2 * MINUTE)), false),
        (i64::MAX, false),
        (of(Version(5)) + 1, true),
    ] {
        fake.put("i", "1", stored, &json!({ "theirs": true }));
        for action in [Save, Delete, PartialUpdate] {
            let verdict = write(&elasticsearch, &one(action, Version(1))).await.remove(0);
            match verdict {
                Verdict::Superseded => assert!(superseded, "{stored} {action:?}"),
                Verdict::Reject(reason) => {
                    assert!(!superseded, "{stored} {action:?}");
                    assert_eq!(reason.code, ReasonCode::ForeignVersion);
                    assert!(reason.message.contains(&stored.to_string()), "{reason}");
                }
                other => panic!("{stored} {action:?}: {other:?}"),
            }
        }
    }
}

/// After a fast clock was set back, versions run ahead of it: they are still ours.
#[tokio::test]
async fn versions_ahead_of_the_clock_are_ours() {
    let (_fake, elasticsearch) = start().await;
    let ahead = version(3_600_000_000);
    let at = |version, id| -> Batch { [operation(Save, "i", id, "{}", version)].into_iter().collect() };
    write(&elasticsearch, &at(ahead, "1")).await;
    assert_eq!(write(&elasticsearch, &at(Version(1), "1")).await, [Verdict::Superseded]);
}

/// A conflict that does not tell the stored version leaves it open what became of the request.
#[tokio::test]
async fn a_conflict_without_a_version_is_unknown() {
    let (fake, elasticsearch) = start().await;
    let (kind, reason) = ("version_conflict_engine_exception".to_owned(), "[1]: version conflict".to_owned());
    fake.fail_next(1, Fault::Items { status: 409, kind, reason });
    let outcome =
        plugin_api::destination::Destination::write(&elasticsearch, &batch(&[(Save, "1", "{}")])).await;
    assert!(matches!(outcome, Err(plugin_api::verdict::WriteError::Unknown { .. })), "{outcome:?}");
}
