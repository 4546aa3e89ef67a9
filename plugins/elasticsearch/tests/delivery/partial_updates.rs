//! Partial updates (G4): first-level attributes are replaced, missing objects are created where that is wanted, in order
//! with what surrounds them, and none of it is undone when it comes late or twice.

use std::time::Duration;

use fakes::elasticsearch::{FakeElasticsearch, Fault, FieldType, IndexState, Options};
use plugin_api::{
    destination::Destination,
    operation::Action::{self, Delete, PartialUpdate, PartialUpdateNoCreate, Save},
    verdict::{ReasonCode, Verdict, WriteError},
};
use plugin_elasticsearch::{Elasticsearch, PartialUpdates};
use serde_json::{Value, json};

use crate::setup::{batch, batch_from, start, start_with, write};

fn objects(fake: &FakeElasticsearch) -> Value {
    json!(fake.objects("i"))
}

async fn start_merging() -> (FakeElasticsearch, Elasticsearch) {
    start_with(Options::default(), |settings| settings.partial_updates = PartialUpdates::DeepMerge).await
}

#[tokio::test]
async fn first_level_attributes_are_replaced() {
    let (fake, elasticsearch) = start().await;
    let operations =
        [(Save, "1", r#"{"a":{"x":1},"b":1}"#), (PartialUpdate, "1", r#"{"a":{"y":2},"c":[3]}"#)];
    write(&elasticsearch, &batch(&operations)).await;
    assert_eq!(objects(&fake), json!({ "1": { "a": { "y": 2 }, "b": 1, "c": [3] } }));

    let (fake, elasticsearch) = start_merging().await;
    write(&elasticsearch, &batch(&operations)).await;
    assert_eq!(objects(&fake), json!({ "1": { "a": { "x": 1, "y": 2 }, "b": 1, "c": [3] } }));
}

/// Each list of operations on one key, which is missing at first, with what it comes to: whatever precedes or follows a
/// creating partial update is applied in order with it, in both modes.
#[tokio::test]
async fn a_missing_object_is_created_in_order() {
    type Row = (&'static [(Action, &'static str)], Value, u64);
    let rows: [Row; 10] = [
        (&[(PartialUpdate, r#"{"a":1}"#)], json!({ "a": 1 }), 2),
        (&[(PartialUpdateNoCreate, r#"{"a":1}"#)], Value::Null, 1),
        (&[(PartialUpdate, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#)], json!({ "a": 1, "b": 2 }), 2),
        (&[(PartialUpdateNoCreate, r#"{"a":1}"#), (PartialUpdate, r#"{"b":2}"#)], json!({ "b": 2 }), 2),
        (
            &[(PartialUpdate, r#"{"a":1}"#), (PartialUpdateNoCreate, r#"{"b":2}"#)],
            json!({ "a": 1, "b": 2 }),
            2,
        ),
        (&[(PartialUpdate, r#"{"a":1}"#), (Save, r#"{"b":2}"#)], json!({ "b": 2 }), 1),
        (&[(PartialUpdate, r#"{"a":1}"#), (Delete, "")], Value::Null, 1),
        (&[(Save, r#"{"z":0}"#), (Delete, ""), (PartialUpdate, r#"{"a":1}"#)], json!({ "a": 1 }), 2),
        (&[(PartialUpdate, r#"{"a":1}"#), (Delete, ""), (PartialUpdate, r#"{"b":2}"#)], json!({ "b": 2 }), 2),
        (
            &[(PartialUpdate, r#"{"a":1}"#), (Save, r#"{"b":2}"#), (PartialUpdate, r#"{"c":3}"#)],
            json!({ "b": 2, "c": 3 }),
            1,
        ),
    ];
    for (operations, expected, requests) in rows {
        for merging in [false, true] {
            let (fake, elasticsearch) = if merging { start_merging().await } else { start().await };
            let on_key: Vec<_> = operations.iter().map(|(action, body)| (*action, "1", *body)).collect();
            for verdict in write(&elasticsearch, &batch(&on_key)).await {
                assert!(
                    matches!(verdict, Verdict::Written | Verdict::Superseded),
                    "{operations:?}: {verdict:?}"
                );
            }
            assert_eq!(fake.objects("i").remove("1").unwrap_or_default(), expected, "{operations:?}");
            assert_eq!(fake.violations(), [""; 0]);

            // Everything once more, as after a lost answer: the same state. Merged updates have no guard and cannot tell
            // what comes late.
            if merging {
                continue;
            }
            assert_eq!(fake.request_count(), requests, "{operations:?}");
            let applied = fake.journal();
            assert!(
                applied
                    .iter()
                    .enumerate()
                    .all(|(at, one)| !applied[..at].iter().any(|before| before.body == one.body)),
                "{operations:?} goes back: {applied:?}"
            );
            write(&elasticsearch, &batch(&on_key)).await;
            assert_eq!(fake.objects("i").remove("1").unwrap_or_default(), expected, "{operations:?} twice");
        }
    }
}

/// Other keys of the batch are sent once, however many rounds one key takes: here each of many updates, which come late,
/// finds that the object is deleted. What is not settled after many rounds is left to the agent, with all that follows.
#[tokio::test]
async fn only_what_is_concerned_goes_again() {
    let (fake, elasticsearch) = start().await;
    write(&elasticsearch, &batch_from(9_000, &[(Delete, "1", "")])).await;
    let mut operations = vec![(Save, "other", "{}")];
    operations.extend([(PartialUpdate, "1", r#"{"a":1}"#); 20]);
    let verdicts = write(&elasticsearch, &batch(&operations)).await;
    assert_eq!(fake.write_count(), 1 + 8);
    assert_eq!(fake.journal().iter().filter(|applied| applied.object_id == "other").count(), 1);
    let unsettled = verdicts.iter().position(|verdict| matches!(verdict, Verdict::Retry(_))).unwrap();
    let superseded = &verdicts[1..unsettled];
    assert!(superseded.len() == 7 && superseded.iter().all(|verdict| *verdict == Verdict::Superseded));
    assert!(verdicts[unsettled..].iter().all(|verdict| matches!(verdict, Verdict::Retry(_))), "{verdicts:?}");
    assert!(fake.objects("i").keys().eq(["other"]));
}

/// A partial update that is sent again, or comes late, touches nothing that a later save or delete wrote, and lifts no
/// version so far that a later one is lost.
#[tokio::test]
async fn what_comes_late_or_twice_does_no_harm() {
    let (fake, elasticsearch) = start().await;
    let first = batch_from(100, &[(Save, "1", r#"{"a":0,"b":0}"#), (PartialUpdate, "1", r#"{"a":1}"#)]);
    for _ in 0..300 {
        write(&elasticsearch, &first).await;
    }
    let save = batch_from(102, &[(Save, "1", r#"{"a":2}"#)]);
    assert_eq!(write(&elasticsearch, &save).await, [Verdict::Written], "no number of repeats hides a save");
    let again = write(&elasticsearch, &first).await;
    assert_eq!(again, [Verdict::Superseded, Verdict::Superseded]);
    assert_eq!(objects(&fake), json!({ "1": { "a": 2 } }));
    assert_eq!(fake.version("i", "1"), Some(102 * 1024));

    write(&elasticsearch, &batch_from(103, &[(Delete, "1", "")])).await;
    assert_eq!(write(&elasticsearch, &first).await, [Verdict::Superseded, Verdict::Superseded]);
    assert_eq!(objects(&fake), json!({}));
}

/// With `deep_merge` a save writes over what a late partial update did to it, though that lifted the version.
#[tokio::test]
async fn a_merged_update_that_comes_late_is_written_over() {
    let (fake, elasticsearch) = start_merging().await;
    let save = batch_from(102, &[(Save, "1", r#"{"a":2}"#)]);
    write(&elasticsearch, &save).await;
    // What was sent before the save, and arrives after it.
    write(&elasticsearch, &batch_from(101, &[(PartialUpdate, "1", r#"{"late":true}"#)])).await;
    assert_eq!(fake.version("i", "1"), Some(102 * 1024 + 1));
    assert_eq!(write(&elasticsearch, &save).await, [Verdict::Written]);
    assert_eq!(objects(&fake), json!({ "1": { "a": 2 } }));
    // What is newer is not written over.
    write(&elasticsearch, &batch_from(103, &[(Save, "1", r#"{"a":3}"#)])).await;
    assert_eq!(write(&elasticsearch, &save).await, [Verdict::Superseded]);
    assert_eq!(objects(&fake), json!({ "1": { "a": 3 } }));
}

/// Nothing overtakes an operation of its key that must be retried: else what creates the object would come before it.
#[tokio::test]
async fn nothing_overtakes_what_is_retried() {
    let (fake, elasticsearch) = start().await;
    let operations =
        [(Save, "1", r#"{"a":1}"#), (PartialUpdate, "1", r#"{"b":2}"#), (PartialUpdate, "2", "{}")];
    // As no cluster was seen to do: of one key the first is put off and the second is looked at.
    let item =
        |action, status, error| format!(r#"{{"{action}":{{"_id":"1","status":{status},"error":{error}}}}}"#);
    let busy = item("index", 429, r#"{"type":"rejected_execution_exception","reason":"full"}"#);
    let missing =
        item("update", 404, r#"{"type":"document_missing_exception","reason":"[1]: document missing"}"#);
    let other = r#"{"update":{"_id":"2","result":"updated","status":200}}"#;
    let body = format!(r#"{{"errors":true,"items":[{busy},{missing},{other}]}}"#);
    fake.fail_next(1, Fault::Answered { status: 200, body });
    let verdicts = write(&elasticsearch, &batch(&operations)).await;
    assert!(matches!(verdicts[..], [Verdict::Retry(_), Verdict::Retry(_), Verdict::Written]), "{verdicts:?}");
    assert_eq!(fake.request_count(), 1);
}

/// The mapping and the index's state refuse a partial update like any other operation.
#[tokio::test]
async fn a_partial_update_may_be_refused() {
    let (fake, elasticsearch) = start().await;
    fake.map_field("i", "n", FieldType::Integer);
    let code = |verdict: &Verdict| match verdict {
        Verdict::Reject(reason) => reason.code,
        other => panic!("{other:?}"),
    };
    let on_missing = write(&elasticsearch, &batch(&[(PartialUpdate, "1", r#"{"n":"x"}"#)])).await;
    assert_eq!(code(&on_missing[0]), ReasonCode::Rejected);
    write(&elasticsearch, &batch(&[(Save, "1", r#"{"n":1}"#)])).await;
    let on_stored =
        batch_from(2_000, &[(PartialUpdate, "1", r#"{"n":"x"}"#), (PartialUpdate, "1", r#"{"n":2}"#)]);
    let verdicts = write(&elasticsearch, &on_stored).await;
    assert_eq!((code(&verdicts[0]), &verdicts[1]), (ReasonCode::Rejected, &Verdict::Written));
    fake.set_index("i", IndexState::Closed);
    assert_eq!(code(&write(&elasticsearch, &on_stored).await[0]), ReasonCode::IndexRefused);
}

/// Another writer's update in between is none of ours to lose: it is sent again.
#[tokio::test]
async fn an_update_that_met_another_is_sent_again() {
    let (fake, elasticsearch) = start().await;
    let reason = "[1]: version conflict, required seqNo [5], primary term [1]. current document has seqNo [6] and primary \
                  term [1]";
    let (kind, reason) = ("version_conflict_engine_exception".to_owned(), reason.to_owned());
    fake.fail_next(1, Fault::Items { status: 409, kind, reason });
    let verdicts = write(&elasticsearch, &batch(&[(PartialUpdate, "1", "{}")])).await;
    assert!(matches!(&verdicts[0], Verdict::Retry(reason) if reason.status == Some(409)), "{verdicts:?}");
}

/// Where a later round fails, what the first one settled stands: only the rest is sent again, or refused.
#[tokio::test]
async fn a_later_round_may_fail() {
    let refused = |status| Fault::Refused { status, kind: "x".to_owned(), reason: "y".to_owned() };
    for (fault, kind) in [
        (Fault::Throttled { retry_after: None }, "retry Throttled"),
        (refused(503), "retry Unavailable"),
        (refused(500), "retry Unknown"),
        (refused(401), "retry Misconfigured"),
        (Fault::Cut, "retry Unknown"),
        (refused(400), "reject Rejected"),
        (Fault::Answered { status: 413, body: String::new() }, "reject TooLarge"),
    ] {
        let (fake, elasticsearch) = start().await;
        // The first round is applied, after which the fault is met by the second.
        let held = Fault::Delay(Duration::ZERO);
        fake.fail_next(1, held);
        fake.fail_next(1, fault.clone());
        let operations = [(Save, "1", "{}"), (PartialUpdate, "2", "{}")];
        let verdicts = write(&elasticsearch, &batch(&operations)).await;
        let shown = match &verdicts[1] {
            Verdict::Retry(reason) => format!("retry {:?}", reason.code),
            Verdict::Reject(reason) => format!("reject {:?}", reason.code),
            other => format!("{other:?}"),
        };
        assert_eq!((&verdicts[0], shown.as_str()), (&Verdict::Written, kind), "{fault:?}");
        assert_eq!(write(&elasticsearch, &batch(&operations[1..])).await, [Verdict::Written]);
    }
    // Of several, nobody knows which one it is.
    let (fake, elasticsearch) = start().await;
    fake.fail_next(1, Fault::Delay(Duration::ZERO));
    fake.fail_next(1, refused(400));
    let operations = [(PartialUpdate, "1", "{}"), (PartialUpdate, "2", "{}")];
    let error = elasticsearch.write(&batch(&operations)).await.unwrap_err();
    assert!(matches!(error, WriteError::BatchRejected { culprit: None, .. }), "{error:?}");
}
