//! What every answer means. G3, G5: only a record's own fault is a rejection; whatever concerns keys, indexes or load
//! leaves the other records where they are. G6: nobody is called guilty by guess.

use std::time::Duration;

use fakes::elasticsearch::{FakeElasticsearch, Fault, FieldType, IndexState, Options, Poison};
use plugin_api::{
    destination::Destination,
    identity::Version,
    operation::{
        Action::{self, Delete, PartialUpdate, Save},
        Batch,
    },
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError},
};

use crate::setup::{batch, operation, saves, start, start_with, write};

fn rejected(verdict: &Verdict) -> &Reason {
    let Verdict::Reject(reason) = verdict else { panic!("{verdict:?}") };
    reason
}

/// One bad document is refused alone, with the cluster's words; its neighbours are written.
#[tokio::test]
async fn one_bad_document_is_refused_alone() {
    let (fake, elasticsearch) = start().await;
    fake.map_field("i", "n", FieldType::Integer);
    fake.map_field("i", "o", FieldType::Object);
    fake.map_field("i", "k", FieldType::Keyword);
    let immense = format!(r#"{{"k":"{}"}}"#, "x".repeat(40_000));
    for (body, words) in [
        (r#"{"n":"abc"}"#, "mapper_parsing_exception: failed to parse field [n] of type [integer]"),
        (r#"{"n":{"a":1}}"#, "mapper_parsing_exception: failed to parse field [n]"),
        (r#"{"o":1}"#, "mapper_parsing_exception: object mapping for [o]"),
        (r#"{"x":"#, "mapper_parsing_exception: failed to parse"),
        (&immense, "illegal_argument_exception: Document contains at least one immense term"),
    ] {
        let verdicts = write(
            &elasticsearch,
            &batch(&[(Save, "a", r#"{"n":1}"#), (Save, "bad", body), (Save, "b", r#"{"n":"2"}"#)]),
        )
        .await;
        assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Written, &Verdict::Written));
        let reason = rejected(&verdicts[1]);
        assert_eq!((reason.code, reason.status), (ReasonCode::Rejected, Some(400)), "{reason}");
        assert!(reason.message.starts_with(words), "{reason}");
    }
    fake.set_strict("strict");
    let verdicts = write(&elasticsearch, &saves("strict", 1)).await;
    assert!(rejected(&verdicts[0]).message.contains("dynamic introduction of [n]"));
    fake.limit_fields("narrow", 0);
    let verdicts = write(&elasticsearch, &saves("narrow", 1)).await;
    assert!(rejected(&verdicts[0]).message.contains("Limit of total fields [0] has been exceeded"));
}

/// A 400 about an index, however it is worded, is the index's: its records are refused as such, the other indexes' are
/// written in the same request.
#[tokio::test]
async fn a_refused_index_concerns_itself() {
    let (fake, elasticsearch) = start().await;
    for (state, status) in [
        (IndexState::Closed, 400),
        (IndexState::WriteBlocked, 403),
        (IndexState::Forbidden, 403),
        (IndexState::DataStream, 400),
        (IndexState::AliasWithoutWriteIndex, 400),
        (IndexState::PipelineMissing, 400),
        (IndexState::RoutingRequired, 400),
    ] {
        fake.set_index("odd", state);
        for action in [Save, PartialUpdate, Delete] {
            let of = |index, action| {
                let body = if action == Delete { "" } else { "{}" };
                operation(action, index, "1", body, Version(5))
            };
            let batch: Batch =
                [of("odd", action), of("good", Action::Save), of("odd", action)].into_iter().collect();
            let written = elasticsearch.write(&batch).await.unwrap();
            assert_eq!(written.verdicts[1], Verdict::Written, "{state:?}");
            for verdict in [&written.verdicts[0], &written.verdicts[2]] {
                let reason = rejected(verdict);
                let expected = (ReasonCode::IndexRefused, Some(status));
                assert_eq!((reason.code, reason.status), expected, "{state:?} {action:?} {reason}");
            }
            assert_eq!(written.confirmations.len(), 1);
        }
    }
    for (kind, reason) in [
        ("invalid_index_name_exception", "Invalid index name [UPPER], must be lowercase"),
        ("illegal_argument_exception", "cannot execute [inline] scripts"),
    ] {
        fake.fail_next(1, Fault::Items { status: 400, kind: kind.to_owned(), reason: reason.to_owned() });
        assert_eq!(rejected(&write(&elasticsearch, &saves("i", 1)).await[0]).code, ReasonCode::IndexRefused);
    }
}

/// With auto-create off, a missing index refuses saves, partial updates and deletes: a 404 of a delete is success only
/// where it carries no error.
#[tokio::test]
async fn a_missing_index_is_refused() {
    let (fake, elasticsearch) = start().await;
    fake.auto_create(false);
    let operations = [(Save, "1", "{}"), (PartialUpdate, "1", "{}"), (Delete, "1", "")];
    for verdict in write(&elasticsearch, &batch(&operations)).await {
        let reason = rejected(&verdict);
        assert_eq!((reason.code, reason.status), (ReasonCode::IndexRefused, Some(404)));
        assert_eq!(reason.message, "index_not_found_exception: no such index [i]");
    }
    fake.auto_create(true);
    assert_eq!(write(&elasticsearch, &batch(&operations[2..])).await, [Verdict::Written]);
}

/// Load and outages of a shard are waited for, item by item; the rest of the request is written.
#[tokio::test]
async fn a_busy_shard_is_waited_for() {
    let (fake, elasticsearch) = start().await;
    for (state, code, status) in [
        (IndexState::Overloaded, ReasonCode::Throttled, 429),
        (IndexState::DiskFull, ReasonCode::Throttled, 429),
        (IndexState::Unassigned, ReasonCode::Unavailable, 503),
    ] {
        fake.set_index("odd", state);
        let of = |index| operation(Save, index, "1", "{}", Version(5));
        let verdicts = write(&elasticsearch, &[of("odd"), of("good")].into_iter().collect()).await;
        let Verdict::Retry(reason) = &verdicts[0] else { panic!("{state:?}: {verdicts:?}") };
        assert_eq!((reason.code, reason.status), (code, Some(status)), "{reason}");
        assert_eq!(verdicts[1], Verdict::Written);
        fake.set_index("odd", IndexState::Open);
        assert_eq!(write(&elasticsearch, &[of("odd")].into_iter().collect()).await, [Verdict::Written]);
    }
    let items = |status| Fault::Items { status, kind: "some_exception".to_owned(), reason: String::new() };
    for (status, code) in
        [(500, ReasonCode::Unknown), (502, ReasonCode::Unavailable), (504, ReasonCode::Unavailable)]
    {
        fake.fail_next(1, items(status));
        let verdicts = write(&elasticsearch, &saves("i", 1)).await;
        assert!(matches!(&verdicts[0], Verdict::Retry(reason) if reason.code == code), "{verdicts:?}");
    }
    // Another document added the same field at that moment; it may not be so the next time.
    fake.fail_next(
        1,
        Fault::Items {
            status: 400,
            kind: "illegal_argument_exception".to_owned(),
            reason: "mapper [rating] cannot be changed from type [long] to [float]".to_owned(),
        },
    );
    let verdicts = write(&elasticsearch, &saves("i", 1)).await;
    assert!(
        matches!(&verdicts[0], Verdict::Retry(reason) if reason.code == ReasonCode::Unknown),
        "{verdicts:?}"
    );
    // Statuses that nobody has seen at an item are the record's where they say "client error".
    fake.fail_next(1, items(413));
    assert_eq!(rejected(&write(&elasticsearch, &saves("i", 1)).await[0]).code, ReasonCode::TooLarge);
    fake.fail_next(1, items(418));
    assert_eq!(rejected(&write(&elasticsearch, &saves("i", 1)).await[0]).code, ReasonCode::Rejected);
}

/// An answer without errors is written, one with errors tells which; both are read in the cluster's own short form.
#[tokio::test]
async fn both_shapes_of_an_answer_are_read() {
    let (fake, elasticsearch) = start().await;
    let two = batch(&[(Save, "1", "{}"), (Delete, "q", "")]);
    for (body, expected) in [
        (
            r#"{"errors":false,"items":[{"index":{"_id":"1","result":"updated","status":200}},{"delete":{"_id":"q","result":"not_found","status":404}}]}"#,
            [Verdict::Written, Verdict::Written],
        ),
        (
            r#"{"took":1,"errors":true,"items":[{"index":{"_index":"i","_type":"_doc","_id":"1","_version":9,"result":"updated","_shards":{},"status":200}},{"delete":{"_id":"q","status":409,"error":{"type":"version_conflict_engine_exception","reason":"[q]: version conflict, current version [1030000] is higher than the one provided [1025024]"}}}]}"#,
            [Verdict::Written, Verdict::Superseded],
        ),
    ] {
        fake.fail_next(1, Fault::Answered { status: 200, body: body.to_owned() });
        assert_eq!(write(&elasticsearch, &two).await, expected);
    }
}

/// G3: a document that went elsewhere is not written.
#[tokio::test]
async fn the_failure_store_is_no_success() {
    let (fake, elasticsearch) = start().await;
    let body = r#"{"errors":false,"items":[{"index":{"_id":"0","result":"created","status":201,"failure_store":"used"}}]}"#;
    fake.fail_next(1, Fault::Answered { status: 200, body: body.to_owned() });
    assert_eq!(rejected(&write(&elasticsearch, &saves("i", 1)).await[0]).code, ReasonCode::Rejected);
}

/// G3: an answer that is odd anywhere is believed nowhere: the outcome is unknown.
#[tokio::test]
async fn an_odd_answer_is_unknown() {
    let (fake, elasticsearch) = start().await;
    let good = r#"{"index":{"_id":"0","result":"created","status":201}}"#;
    let second = |item: &str| format!(r#"{{"errors":false,"items":[{good},{item}]}}"#);
    for body in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        r#"{"errors":false}"#.to_owned(),
        r#"{"errors":false,"items":[]}"#.to_owned(),
        format!(r#"{{"errors":false,"items":[{good}]}}"#),
        format!(r#"{{"errors":false,"items":[{good},{good},{good}]}}"#),
        format!(r#"{{"items":[{good},{{"index":{{"_id":"1","result":"created","status":201}}}}]}}"#),
        second(r#"{"index":{"_id":"2","result":"created","status":201}}"#),
        second(r#"{"delete":{"_id":"1","result":"deleted","status":200}}"#),
        second(r#"{"index":{"_id":"1","result":"created"}}"#),
        second(r#"{"index":{"_id":"1","status":201}}"#),
        second(r#"{"index":{"_id":"1","result":"noop","status":200}}"#),
        second(r#"{"index":{"_id":"1","result":"not_found","status":404}}"#),
        second(r#"{"index":{"_id":"1","result":"created","status":302}}"#),
        second(r#"{"index":{"_id":"1","status":200,"error":{"type":"x"}}}"#),
        second(r#"{"index":{"_id":"1","status":404,"error":{"type":"document_missing_exception"}}}"#),
        second(r#"{"index":{"_id":"1","status":400,"error":"words"}}"#),
        second(r#"{}"#),
    ] {
        fake.fail_next(1, Fault::Answered { status: 200, body: body.clone() });
        let outcome = elasticsearch.write(&saves("i", 2)).await;
        assert!(matches!(outcome, Err(WriteError::Unknown { .. })), "{body}: {outcome:?}");
    }
}

/// Whole requests: a 400 is bisected, a 413 split, a 429 waited for, 401, 403 and other refusals pause the destination.
#[tokio::test]
async fn whole_requests_are_refused() {
    let (fake, elasticsearch) = start().await;
    let told = async |fault: Fault| {
        fake.fail_next(1, fault);
        elasticsearch.write(&saves("i", 3)).await.unwrap_err()
    };
    let refused = |status, kind: &str, reason: &str| Fault::Refused {
        status,
        kind: kind.to_owned(),
        reason: reason.to_owned(),
    };
    let bad =
        told(refused(400, "action_request_validation_exception", "Validation Failed: 1: id is too long;"))
            .await;
    assert!(matches!(bad, WriteError::BatchRejected { culprit: None, .. }), "{bad:?}");
    assert!(bad.reason().message.contains("Validation Failed"), "{bad}");
    fake.poison("1", Poison::Anonymous);
    let bad = elasticsearch.write(&saves("i", 3)).await.unwrap_err();
    assert!(matches!(bad, WriteError::BatchRejected { culprit: None, .. }), "{bad:?}");
    fake.cure();

    let busy = told(Fault::Throttled { retry_after: None }).await;
    assert!(matches!(busy, WriteError::Throttled { retry_after: None, .. }), "{busy:?}");
    assert!(busy.reason().message.contains("max_coordinating_and_primary_bytes"), "{busy}");
    let busy = told(Fault::Throttled { retry_after: Some("7".to_owned()) }).await;
    let seven = Some(Duration::from_secs(7));
    assert!(matches!(busy, WriteError::Throttled { retry_after, .. } if retry_after == seven), "{busy:?}");
    let busy = told(Fault::Html(429)).await;
    assert!(matches!(busy, WriteError::Throttled { .. }), "{busy:?}");

    for fault in [
        refused(401, "security_exception", "missing authentication credentials"),
        refused(403, "security_exception", "no permissions for [indices:data/write/bulk]"),
        refused(404, "x", "y"),
        Fault::Answered {
            status: 406,
            body: r#"{"error":"Content-Type header [text/plain] is not supported","status":406}"#.to_owned(),
        },
        Fault::Html(403),
        Fault::Html(400),
        Fault::Answered { status: 400, body: String::new() },
        Fault::Answered { status: 400, body: r#"{"message":"Bad Request"}"#.to_owned() },
    ] {
        let error = told(fault).await;
        let WriteError::Misconfigured { scope: Scope::Destination, reason } = error else {
            panic!("{error:?}")
        };
        assert_eq!(reason.code, ReasonCode::Misconfigured);
        assert!(!reason.message.is_empty());
    }
    let open = told(refused(500, "input_coercion_exception", "out of range of long")).await;
    assert!(matches!(&open, WriteError::Unknown { reason, .. } if reason.status == Some(500)), "{open:?}");
    assert_eq!(fake.operation_count(), 0);
}

/// A request that is larger than a node takes is split, whether it came compressed or not; alone, a record that the
/// pressure never lets pass is throttled for as long as it is sent so.
#[tokio::test]
async fn a_request_may_be_too_large() {
    for gzip in [false, true] {
        let options = Options { content_bytes_max: 10_000, ..Options::default() };
        let (fake, elasticsearch) = start_with(options, |settings| settings.gzip = gzip).await;
        let error = elasticsearch.write(&saves("i", 1_000)).await.unwrap_err();
        assert!(matches!(error, WriteError::TooLarge { .. }), "{error:?}");
        assert_eq!(
            (error.reason().status, error.reason().message.as_str()),
            (Some(413), "payload too large")
        );
        assert!(elasticsearch.write(&saves("i", 10)).await.is_ok());

        fake.limit_pressure(Some(1_000));
        let error = elasticsearch.write(&saves("i", 50)).await.unwrap_err();
        assert!(matches!(error, WriteError::Throttled { .. }), "{error:?}");
        assert!(elasticsearch.write(&saves("i", 5)).await.is_ok());
    }
}

/// What others lose: of one request some items are refused for good and some are put off, and each has its own verdict.
#[tokio::test]
async fn refused_and_busy_items_share_a_request() {
    let (fake, elasticsearch) = start().await;
    fake.poison("1", Poison::unparsable());
    fake.poison("3", busy());
    let verdicts = write(&elasticsearch, &saves("i", 5)).await;
    let kinds: String = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Written => 'w',
            Verdict::Superseded => 's',
            Verdict::Retry(_) => 'r',
            Verdict::Reject(_) => 'x',
        })
        .collect();
    assert_eq!(kinds, "wxwrw");
    assert_eq!(stored(&fake), ["0", "2", "4"]);
}

fn busy() -> Poison {
    let (kind, reason) = ("es_rejected_execution_exception".to_owned(), "queue is full".to_owned());
    Poison::Item { status: 429, kind, reason }
}

fn stored(fake: &FakeElasticsearch) -> Vec<String> {
    fake.objects("i").into_keys().collect()
}
