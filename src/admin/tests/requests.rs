//! What a request must say, how large it may be, and that every command arrives as it was meant.

use plugin_api::{
    identity::{RequestId, Timestamp},
    verdict::ReasonCode,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Bench,
    double::{Double, status},
    http::{over_unix, request},
};
use crate::admin::{
    ClientError, Drain, DropLetters, Find, Forget, Kind, LetterFilter, Pause, Reload, ResetCursor, Resume,
    StartAt, Time,
};
use crate::dead_letter::{Filter, LetterId, Stage};

/// Every command that the client knows reaches the agent with its arguments, and its report comes back whole.
#[tokio::test]
async fn every_command_arrives() {
    let bench = Bench::start();
    let client = bench.client();
    assert!(client.finds_agent().await);
    assert_eq!(client.status().await.unwrap(), status());
    assert_eq!(client.reload(&Reload { dry_run: true }).await.unwrap().generation, 2);
    assert!(client.drain(&Drain { on: true }).await.unwrap().draining);
    let why = Some("the cluster is \"full\"\nté".to_owned());
    assert_eq!(client.pause("search", &Pause { why }).await.unwrap().pending, 7);
    assert!(client.probe("mirror").await.unwrap().healthy);
    let asked = ResetCursor { from: StartAt::Time(Time(Timestamp(1))), allow_rewind: true, dry_run: false };
    assert_eq!(client.reset_cursor("search", &asked).await.unwrap().from.offset, 9);
    assert_eq!(client.resume_transform("redact").await.unwrap().indexes, ["products"]);
    let filter = LetterFilter { reason: Some("rejected".to_owned()), ..LetterFilter::default() };
    let asked = DropLetters { destination: "search".to_owned(), filter, dry_run: true };
    assert!(client.drop_letters(&asked).await.unwrap().dry_run);

    let refused = |error| match error {
        ClientError::Refused(error) => (error.kind, error.to_string()),
        error => panic!("{error}"),
    };
    let asked = Resume { from: Some(StartAt::Oldest) };
    let (kind, text) = refused(client.resume("search", &asked).await.unwrap_err());
    assert_eq!(
        (kind, text.as_str()),
        (Kind::Conflict, "destination search is not paused; there is nothing to resume")
    );
    let (kind, text) = refused(client.forget("a/../b", &Forget::default()).await.unwrap_err());
    assert_eq!(kind, Kind::NotFound);
    assert_eq!(text, "there is no destination \"a/../b\"; choose one of: search, mirror");
    let asked = Find { index: "products".to_owned(), object_id: "1".to_owned() };
    assert_eq!(refused(client.find(&asked).await.unwrap_err()).0, Kind::Failed);

    let expected = [
        "reload Reload { dry_run: true }",
        "drain Drain { on: true }",
        "pause search Pause { why: Some(\"the cluster is \\\"full\\\"\\nté\") }",
        "probe mirror",
        "reset_cursor search ResetCursor { from: Time(Time(Timestamp(1))), allow_rewind: true, dry_run: false }",
        "resume_transform redact",
        "drop_letters DropLetters { destination: \"search\", filter: LetterFilter { index: None, object: None, \
         reason: Some(\"rejected\"), stage: None, request: None, since: None, until: None, ids: [], first: None, last: None, \
         stale: None }, dry_run: true }",
        "resume search Resume { from: Some(Oldest) }",
        "forget a/../b Forget { dry_run: false }",
        "find Find { index: \"products\", object_id: \"1\" }",
    ];
    assert_eq!(bench.double.asked(), expected);
    bench.stop().await;
}

/// A refused config is told with every error, for programs and for people.
#[tokio::test]
async fn a_refused_config_comes_whole() {
    let bench = Bench::with(Double { refuses: true, ..Double::default() });
    match bench.client().reload(&Reload::default()).await {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.kind, Kind::Refused);
            let config = error.config.unwrap();
            assert_eq!((config.errors[0].line, config.errors[0].key.as_str()), (Some(3), "listen.grpc"));
        }
        answer => panic!("{answer:?}"),
    }
    bench.stop().await;
}

/// A body that is too large, no JSON, or not what the command takes is refused before anything is done, in words that say
/// what is wrong.
#[tokio::test]
async fn bodies_are_bounded_and_checked() {
    let bench = Bench::start();
    let large = format!("{{\"why\": \"{}\"}}", "x".repeat(64 * 1024));
    let cases = [
        ("/v1/destinations/search/pause", large.as_str(), 413, "larger than 65536 bytes"),
        ("/v1/reload", "dry_run", 400, "no JSON object"),
        ("/v1/reload", "[true]", 400, "no JSON object"),
        ("/v1/reload", "{\"dryrun\": true}", 400, "unknown field `dryrun`"),
        ("/v1/reload", "{\"dry_run\": 1}", 400, "expected a boolean"),
        ("/v1/drain", "", 400, "missing field `on`"),
        ("/v1/destinations/search/probe", "{\"why\": \"\"}", 400, "unknown field `why`"),
        ("/v1/destinations/search/reset-cursor", "{}", 400, "missing field `from`"),
        ("/v1/destinations/search/resume", "{\"from\": \"today\"}", 400, "none of: now, oldest, a time"),
        ("/v1/destinations/%ff/pause", "{}", 400, "path"),
        ("/v1/dead-letters/replay", "{}", 400, "missing field `destination`"),
        (
            "/v1/dead-letters/drop",
            "{\"destination\": \"a\", \"filter\": {\"id\": 7}}",
            400,
            "unknown field `id`",
        ),
        ("/v1/find", "{\"index\": \"products\"}", 400, "missing field `object_id`"),
    ];
    for (path, body, status, words) in cases {
        let answer = over_unix(&bench, &request(&format!("POST {path}"), "", body)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains(words), "{path}: {answer:?}");
    }
    let chunked = format!(
        "POST /v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(over_unix(&bench, &chunked).await.status, 413);
    let head = request("GET /v1/status", &format!("X: {}\r\n", "x".repeat(32 * 1024)), "");
    assert_eq!(over_unix(&bench, &head).await.status, 431, "heads are bounded, too");
    assert_eq!(bench.double.asked(), [""; 0]);
    assert!(!bench.audit().exists(), "what is no command is not in the audit log");
    bench.stop().await;
}

/// An absent body is an empty one, and what is absent has its default.
#[tokio::test]
async fn a_body_may_be_absent() {
    let bench = Bench::start();
    let answer = over_unix(&bench, &request("POST /v1/destinations/search/pause", "", "")).await;
    assert_eq!(answer.json(), json!({ "destination": "search", "was_paused": false, "pending": 7 }));
    assert_eq!(bench.double.asked(), ["pause search Pause { why: None }"]);
    bench.stop().await;
}

/// On the wire, on the command line and in the audit log a start is one word.
#[test]
fn a_start_is_one_word() {
    for text in ["now", "oldest", "2026-11-23T15:00:00.000000Z"] {
        assert_eq!(text.parse::<StartAt>().unwrap().to_string(), text);
        let json = serde_json::to_value(text.parse::<StartAt>().unwrap()).unwrap();
        assert_eq!(
            (json.clone(), serde_json::from_value(json).unwrap()),
            (text.into(), text.parse::<StartAt>().unwrap())
        );
    }
    assert_eq!("2026-11-23T16:00:00+01:00".parse::<StartAt>(), "2026-11-23T15:00:00Z".parse());
    for text in ["", "Now", "yesterday", "2026-11-23"] {
        assert!(text.parse::<StartAt>().is_err(), "{text}");
    }
}

/// Which letters are meant comes over the wire as it was said; a reason that is none is told with those that are.
#[test]
fn a_filter_arrives_as_it_was_said() {
    let filter = Filter {
        index: Some("products".into()),
        object: Some("42".into()),
        reason: Some(ReasonCode::TooLarge),
        stage: Some(Stage::Delivery),
        request: Some(RequestId(Uuid::from_u128(7))),
        since: Some(Timestamp(1_000_000)),
        until: Some(Timestamp(2_000_001)),
        ids: vec![LetterId(3), LetterId(4)],
        first: Some(LetterId(1)),
        last: Some(LetterId(9)),
        stale: Some(false),
        limit: None,
    };
    let json = serde_json::to_string(&LetterFilter::of(&filter)).unwrap();
    let arrived = serde_json::from_str::<LetterFilter>(&json).unwrap().to_filter().unwrap();
    assert_eq!(format!("{arrived:?}"), format!("{filter:?}"));
    assert_eq!(serde_json::to_string(&LetterFilter::default()).unwrap(), "{}");
    let wrong = LetterFilter { reason: Some("bad".to_owned()), ..LetterFilter::default() };
    let error = wrong.to_filter().unwrap_err().to_string();
    assert!(error.starts_with("there is no reason \"bad\"; choose one of: transform_failed, "), "{error}");
}
