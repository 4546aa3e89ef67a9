//! What every answer means. G3, G5: only a record's own fault is a rejection; whatever concerns keys, plans or load
//! leaves the records where they are. G6: nobody is called guilty by guess.

use std::time::Duration;

use fakes::algolia::{Fault, Forbidden, Options, Poison};
use plugin_api::{
    destination::Destination,
    operation::Batch,
    verdict::{ReasonCode, Scope, WriteError},
};
use plugin_http::endpoint::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::setup::{batch, save, saves, start, start_with};

fn culprit(error: &WriteError) -> Option<usize> {
    let WriteError::BatchRejected { culprit, .. } = error else { panic!("{error:?}") };
    *culprit
}

fn scope(error: &WriteError) -> &Scope {
    let WriteError::Misconfigured { scope, .. } = error else { panic!("{error:?}") };
    scope
}

/// A 400 that names one record, in each wording that Algolia has, leads to it, and nothing was applied.
#[tokio::test]
async fn a_bad_record_is_found_by_what_is_said_of_it() {
    let (fake, algolia) = start().await;
    for poison in [Poison::Named, Poison::Positioned, Poison::InWords, Poison::Column] {
        fake.cure();
        fake.poison("7", poison);
        let error = algolia.write(&saves("i", 20)).await.unwrap_err();
        assert_eq!(culprit(&error), Some(7), "{poison:?}");
        assert_eq!(error.reason().status, Some(400));
        let too_big = !matches!(poison, Poison::Column);
        let code = if too_big { ReasonCode::TooLarge } else { ReasonCode::Rejected };
        assert_eq!(error.reason().code, code, "{poison:?}");
    }
    assert_eq!(fake.operation_count(), 0);
}

/// The plan's limit on a record is the service's to know; its refusal carries its words.
#[tokio::test]
async fn a_record_that_is_too_big_is_named() {
    let options = Options { record_bytes_max: 100, ..Options::default() };
    let (_fake, algolia) = start_with(options, |_| {}).await;
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100));
    let error = algolia.write(&batch([save("i", "a", "{}"), save("i", "b", &large)])).await.unwrap_err();
    assert_eq!(culprit(&error), Some(1));
    assert!(error.reason().message.contains("objectID=b is too big"), "{error}");
}

/// A 400 that names nobody leaves the batch to be bisected; alone, the record is the one.
#[tokio::test]
async fn a_bad_batch_without_a_name_has_no_culprit() {
    let (fake, algolia) = start().await;
    fake.poison("7", Poison::Anonymous);
    assert_eq!(culprit(&algolia.write(&saves("i", 20)).await.unwrap_err()), None);
    assert_eq!(culprit(&algolia.write(&batch([save("i", "7", "{}")])).await.unwrap_err()), Some(0));
}

/// A column leads to a record only where bytes and characters agree, and never between two records.
#[tokio::test]
async fn a_doubtful_column_names_nobody() {
    let (fake, algolia) = start().await;
    let message = |column: usize| format!("Invalid value near line:1 column:{column}");
    let answered = async |batch: &Batch, column| {
        fake.fail_next(1, Fault::Refused { status: 400, message: message(column) });
        culprit(&algolia.write(batch).await.unwrap_err())
    };
    let plain = saves("i", 3);
    // {"requests":[{"action":"updateObject","body":{"objectID":"0","n":0}},{"action":...
    let first = r#"{"requests":[{"action":"updateObject","body":"#.len() + 1;
    let record = r#"{"objectID":"0","n":0}"#.len();
    assert_eq!(answered(&plain, first - 1).await, None);
    assert_eq!(answered(&plain, first).await, Some(0));
    assert_eq!(answered(&plain, first + record).await, Some(0));
    assert_eq!(answered(&plain, first + record + 1).await, Some(0));
    assert_eq!(answered(&plain, first + record + 2).await, None);
    assert_eq!(answered(&plain, 0).await, None);
    assert_eq!(answered(&plain, 100_000).await, None);

    let wide = format!(r#"{{"text":"{}"}}"#, "☃".repeat(200));
    let wide = batch([save("i", "0", &wide), save("i", "1", "{}"), save("i", "2", &wide)]);
    assert_eq!(answered(&wide, first + 10).await, Some(0));
    assert_eq!(answered(&wide, first + 300).await, None, "by bytes the first, by characters the third");
}

/// A position that contradicts the id beside it convicts nobody; an id that only one operation has does.
#[tokio::test]
async fn contradictions_convict_nobody() {
    let (fake, algolia) = start().await;
    let answered = async |batch: &Batch, message: &str| {
        fake.fail_next(1, Fault::Refused { status: 400, message: message.into() });
        culprit(&algolia.write(batch).await.unwrap_err())
    };
    let one = saves("i", 12);
    assert_eq!(answered(&one, "Record at the position 1 objectID=1 is too big").await, Some(1));
    assert_eq!(answered(&one, "Record at the position 1 objectID=10 is too big").await, None);
    assert_eq!(answered(&one, "Record at the position 10 objectID=1 is too big").await, None);
    assert_eq!(answered(&one, "Record at the position 99 objectID=99 is too big").await, None);
    assert_eq!(answered(&one, "Record at the position 99999999999999999999999 is too big").await, None);
    let several = batch([save("a", "1", "{}"), save("b", "1", "{}")]);
    assert_eq!(answered(&several, "Record at the position 1 is too big").await, None);

    let named = async |batch: &Batch, position, object_id: &str| {
        let body =
            format!(r#"{{"message":"no","position":{position},"objectID":"{object_id}","status":400}}"#);
        fake.fail_next(1, Fault::Answered { status: 400, body });
        culprit(&algolia.write(batch).await.unwrap_err())
    };
    let repeated = batch([save("i", "a", "{}"), save("i", "b", "{}"), save("i", "a", "{}")]);
    assert_eq!(named(&repeated, 2, "a").await, Some(2));
    assert_eq!(named(&repeated, 0, "b").await, Some(1), "the id is that of one operation");
    assert_eq!(named(&repeated, 1, "a").await, None, "the id is that of two");
    assert_eq!(named(&repeated, 1, "c").await, None);
    assert_eq!(named(&repeated, -1, "a").await, None);
}

/// In a batch of several indexes, position and id together still name one record.
#[tokio::test]
async fn a_bad_record_among_several_indexes_is_found() {
    let (fake, algolia) = start().await;
    fake.poison("x", Poison::Named);
    let several = batch([save("a", "1", "{}"), save("b", "x", "{}"), save("a", "2", "{}")]);
    assert_eq!(culprit(&algolia.write(&several).await.unwrap_err()), Some(1));
    fake.cure();
    fake.poison("x", Poison::Positioned);
    assert_eq!(culprit(&algolia.write(&several).await.unwrap_err()), None);
}

/// Keys and plans concern the destination: it pauses with the service's words, and no record is rejected.
#[tokio::test]
async fn keys_and_plans_concern_the_destination() {
    let (fake, algolia) = start().await;
    let plan = |status| Fault::Refused { status, message: "This feature is not enabled on your plan".into() };
    let cases = [
        (Fault::Forbidden(Forbidden::Credentials), "Invalid Application-ID"),
        (Fault::Forbidden(Forbidden::Method), "Method not allowed"),
        (Fault::Forbidden(Forbidden::RecordQuota), "exceeded your Record quota"),
        (Fault::Forbidden(Forbidden::OperationsQuota), "Operations quota exceeded"),
        (plan(401), "not enabled"),
        (plan(402), "not enabled"),
        (plan(405), "not enabled"),
        (plan(422), "not enabled"),
        (Fault::Html(400), "<h1>400</h1>"),
        (Fault::Html(403), "<h1>403</h1>"),
        (Fault::Html(404), "<h1>404</h1>"),
    ];
    for indexes in [&["a"][..], &["a", "b"]] {
        let batch: Batch = indexes.iter().map(|index| save(index, "1", "{}")).collect();
        for (fault, words) in &cases {
            fake.fail_all(fault.clone());
            let error = algolia.write(&batch).await.unwrap_err();
            assert_eq!(scope(&error), &Scope::Destination, "{fault:?}");
            assert!(error.reason().message.contains(words), "{error}");
            assert_eq!(error.reason().code, ReasonCode::Misconfigured);
        }
    }
    // Wrong credentials are wrong for every index: nobody tries them one by one.
    let requests = fake.request_count();
    fake.fail_all(Fault::Forbidden(Forbidden::Credentials));
    assert!(algolia.write(&batch([save("a", "1", "{}"), save("b", "1", "{}")])).await.is_err());
    assert_eq!(fake.request_count(), requests + 1);
}

/// G5: an index that alone is refused concerns that index.
#[tokio::test]
async fn one_refused_index_concerns_itself() {
    let (fake, algolia) = start().await;
    fake.restrict_key(Some(&["open"]));
    let error = algolia.write(&saves("closed", 2)).await.unwrap_err();
    assert_eq!(
        (scope(&error), error.reason().code),
        (&Scope::Index("closed".into()), ReasonCode::IndexRefused)
    );
    assert_eq!(error.reason().message, "Index not allowed with this API key");
    fake.restrict_key(None);
    fake.remove_index("gone");
    let error = algolia.write(&saves("gone", 2)).await.unwrap_err();
    assert_eq!((scope(&error), error.reason().status), (&Scope::Index("gone".into()), Some(404)));
}

/// G5: when several indexes are refused together, each is tried alone: the refused one is named, and if none passes it
/// is the destination.
#[tokio::test]
async fn among_several_indexes_the_refused_one_is_found() {
    let (fake, algolia) = start().await;
    let several =
        batch([save("a", "1", "{}"), save("b", "1", "{}"), save("c", "1", "{}"), save("b", "2", "{}")]);
    fake.restrict_key(Some(&["a", "c"]));
    assert_eq!(scope(&algolia.write(&several).await.unwrap_err()), &Scope::Index("b".into()));
    fake.restrict_key(Some(&["elsewhere"]));
    assert_eq!(scope(&algolia.write(&several).await.unwrap_err()), &Scope::Destination);
    fake.restrict_key(None);
    fake.remove_index("c");
    assert_eq!(scope(&algolia.write(&several).await.unwrap_err()), &Scope::Index("c".into()));

    // A page of a proxy says nothing about an index, though the others pass.
    fake.restore_indexes();
    fake.fail_next(1, Fault::Forbidden(Forbidden::Index));
    fake.fail_next(1, Fault::Html(400));
    assert_eq!(scope(&algolia.write(&several).await.unwrap_err()), &Scope::Destination);

    // A throttled attempt says nothing about an index.
    fake.fail_next(1, Fault::Forbidden(Forbidden::Index));
    fake.fail_next(1, Fault::Throttled { retry_after: None });
    assert!(matches!(algolia.write(&several).await, Err(WriteError::Throttled { .. })));
}

/// A key that may write each index but not several at once costs one refusal, and then more requests, but no record.
#[tokio::test]
async fn a_key_for_single_indexes_writes_them_one_by_one() {
    let (fake, algolia) = start().await;
    fake.allow_several_indexes(false);
    let several = || batch([save("a", "1", "{}"), save("b", "1", "{}"), save("a", "2", "{}")]);
    for requests in [3, 5] {
        let written = algolia.write(&several()).await.unwrap();
        assert_eq!((written.verdicts.len(), written.confirmations.len()), (3, 2));
        assert_eq!(fake.request_count(), requests);
    }
    fake.poison("2", Poison::Named);
    assert_eq!(
        culprit(&algolia.write(&several()).await.unwrap_err()),
        Some(2),
        "its place in the whole batch"
    );
}

/// 429 and its kin wait as long as they ask, whatever their status and form.
#[tokio::test]
async fn load_is_throttling() {
    let (fake, algolia) = start().await;
    let refused = |status, message: &str| Fault::Refused { status, message: message.into() };
    let cases = [
        (Fault::Throttled { retry_after: None }, None),
        (Fault::Throttled { retry_after: Some("7".into()) }, Some(7)),
        (Fault::Throttled { retry_after: Some("99999".into()) }, Some(3600)),
        (Fault::Throttled { retry_after: Some("later".into()) }, None),
        (Fault::Html(429), None),
        (refused(400, "Too many jobs for this application"), None),
        (refused(403, "Job queue too large"), None),
    ];
    for (fault, seconds) in cases {
        fake.fail_next(1, fault.clone());
        let error = algolia.write(&saves("i", 2)).await.unwrap_err();
        let WriteError::Throttled { retry_after, .. } = error else { panic!("{fault:?}: {error:?}") };
        assert_eq!(retry_after, seconds.map(Duration::from_secs), "{fault:?}");
    }
    assert_eq!(fake.write_count(), 7, "a throttled write is not tried anew within its call");
}

/// A request that is too large as a whole is split by the agent.
#[tokio::test]
async fn a_request_too_large_is_split() {
    let (fake, algolia) = start().await;
    fake.fail_next(1, Fault::Html(413));
    assert!(matches!(algolia.write(&saves("i", 2)).await, Err(WriteError::TooLarge { .. })));
}

/// G5: a proxy's page is no answer to a probe either, though Algolia's own 400 is one: it looked at the question.
#[tokio::test]
async fn a_page_is_no_answer_to_a_probe() {
    for (content_type, body, passes) in [
        ("text/html", "<html><h1>400</h1></html>", false),
        ("application/json", r#"{"message":"Invalid task id","status":400}"#, true),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap()), false).unwrap();
        let (_fake, algolia) =
            start_with(Options::default(), |settings| settings.hosts = Some(vec![host])).await;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let answered = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 4096];
            assert!(stream.read(&mut question).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (outcome, _stream) = tokio::join!(algolia.probe(), answered);
        match passes {
            true => assert_eq!(outcome, Ok(())),
            false => assert_eq!(scope(&outcome.unwrap_err()), &Scope::Destination),
        }
    }
}

/// A 2xx that Algolia did not write, as a captive portal's, is no success.
#[tokio::test]
async fn a_strange_success_is_unknown() {
    let (fake, algolia) = start().await;
    for fault in [Fault::Html(200), Fault::Refused { status: 202, message: "fine".into() }] {
        fake.fail_next(1, fault);
        assert!(matches!(algolia.write(&saves("i", 2)).await, Err(WriteError::Unknown { .. })));
    }
}
