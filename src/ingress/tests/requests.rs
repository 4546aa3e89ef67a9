//! What is accepted and how it lies in the log; what is refused and how it is told.

use plugin_api::operation::Action;
use tonic::Code;

use super::*;

fn string_of(bytes: usize) -> String {
    "x".repeat(bytes)
}

async fn refused(request: UpsertObjectsRequest) -> Vec<String> {
    let server = Running::start(limits());
    let status = server.client().await.upsert_objects(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(server.log.appends.lock().unwrap().is_empty());
    violations(&status)
}

/// A save's records lie in the log in order, without `objectID`, and the answer names the request. (G1)
#[tokio::test]
async fn saves_are_appended() {
    let server = Running::start(limits());
    let request = save(vec![
        payload("1", object([("name", text("Lämpchen \"S\"")), ("objectID", text("1"))])),
        payload("two", Struct::default()),
    ]);
    let answer = server.client().await.upsert_objects(request).await.unwrap().into_inner();
    assert_eq!(answer.message, "accepted 2 records");
    Uuid::parse_str(&answer.request_id).unwrap();
    let records = server.records();
    let seen: Vec<_> =
        records.iter().map(|it| (&*it.object_id, std::str::from_utf8(&it.body).unwrap())).collect();
    assert_eq!(seen, [("1", r#"{"name":"Lämpchen \"S\""}"#), ("two", "{}")]);
    assert!(records.iter().all(|it| it.action == Action::Save && &*it.index == "products"));
}

/// Each action of the contract becomes ours, and a delete has no body.
#[tokio::test]
async fn every_action() {
    for (theirs, ours) in [
        (ActionType::PartialUpdateObject, Action::PartialUpdate),
        (ActionType::PartialUpdateObjectNoCreate, Action::PartialUpdateNoCreate),
        (ActionType::DeleteObject, Action::Delete),
    ] {
        let server = Running::start(limits());
        let mut request = UpsertObjectsRequest { action_type: theirs as i32, ..small() };
        if ours == Action::Delete {
            request.payloads[0].data = None;
        }
        server.client().await.upsert_objects(request).await.unwrap();
        let records = server.records();
        assert_eq!(records[0].action, ours);
        assert_eq!(records[0].body.is_empty(), ours == Action::Delete);
    }
}

/// The index name's rules, each by itself.
#[tokio::test]
async fn index_names() {
    for (name, told) in [
        (String::new(), "index_name is empty"),
        (
            string_of(257),
            "index_name \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" has 257 bytes, the limit is 256",
        ),
        ("a\nb".into(), "index_name \"a\\nb\" has control characters"),
        (".".into(), "index_name \".\" cannot be the name of an index"),
        ("..".into(), "index_name \"..\" cannot be the name of an index"),
        ("*".into(), "index_name \"*\" cannot be the name of an index"),
    ] {
        assert_eq!(refused(UpsertObjectsRequest { index_name: name, ..small() }).await, [told]);
    }
    let server = Running::start(limits());
    for name in [string_of(256), "pro*".into(), "...".into(), "a b/ü".into()] {
        let request = UpsertObjectsRequest { index_name: name, ..small() };
        server.client().await.upsert_objects(request).await.unwrap();
    }
}

/// The rules of the other fields of a request and of a payload, each by itself.
#[tokio::test]
async fn other_fields() {
    let with = |change: fn(&mut UpsertObjectsRequest)| {
        let mut request = small();
        change(&mut request);
        request
    };
    for (request, told) in [
        (with(|it| it.action_type = 0), "action_type is not specified"),
        (with(|it| it.action_type = 9), "action_type 9 is not known"),
        (with(|it| it.payloads.clear()), "payloads is empty: give at least one"),
        (
            with(|it| it.idempotency_key = string_of(257)),
            "idempotency_key \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" has 257 bytes, the limit is 256",
        ),
        (with(|it| it.payloads[0].object_id.clear()), "payloads[0].object_id is empty"),
        (
            with(|it| it.payloads[0].object_id = string_of(513)),
            "payloads[0].object_id \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" has 513 bytes, the limit is 512",
        ),
        (
            with(|it| it.payloads[0].data = None),
            "payloads[0].data is missing: an object without attributes is an empty Struct",
        ),
        (
            with(|it| it.action_type = ActionType::DeleteObject as i32),
            "payloads[0].data must be absent for DELETE_OBJECT",
        ),
        (
            with(|it| {
                it.payloads[0] =
                    payload("1", object([("n", Value { kind: Some(Kind::NumberValue(f64::NAN)) })]))
            }),
            "payloads[0].data.n is NaN, which JSON cannot express",
        ),
        (
            with(|it| it.payloads[0] = payload("1", object([("n", Value { kind: None })]))),
            "payloads[0].data.n has no value: set one of null, number, string, bool, struct or list",
        ),
        (
            with(|it| it.payloads[0] = payload("1", object([("n", text(string_of(1 << 20)))]))),
            "payloads[0].data.n is over 1048576 bytes as JSON (limits.record_bytes_max)",
        ),
    ] {
        assert_eq!(refused(request).await, [told]);
    }
    refused_not(with(|it| it.payloads[0].object_id = string_of(512))).await;
    refused_not(with(|it| it.idempotency_key = string_of(256))).await;
}

async fn refused_not(request: UpsertObjectsRequest) {
    Running::start(limits()).client().await.upsert_objects(request).await.unwrap();
}

/// Every violating field is named at once, and one bad payload keeps the good ones out, too. (G1)
#[tokio::test]
async fn everything_at_once() {
    let request = UpsertObjectsRequest {
        index_name: "..".into(),
        action_type: ActionType::PartialUpdateObject as i32,
        payloads: vec![
            payload("fine", Struct::default()),
            payload("", object([("a", Value { kind: None }), ("b", Value { kind: None })])),
            SyncPayload { object_id: "3".into(), data: None },
            payload("4", object([("objectID", text("5"))])),
        ],
        idempotency_key: string_of(300),
    };
    let told = refused(request).await;
    let fields: Vec<_> = told.iter().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "index_name",
            "idempotency_key",
            "payloads[1].object_id",
            "payloads[1].data.a",
            "payloads[1].data.b",
            "payloads[2].data",
            "payloads[3].data.objectID"
        ]
    );
}

/// Ten thousand violations are counted, and the answer still fits the 8 KiB of headers that some clients take.
#[tokio::test]
async fn many_violations_are_counted() {
    let server = Running::start(limits());
    let payloads = vec![SyncPayload::default(); 5000];
    let status = server.client().await.upsert_objects(save(payloads)).await.unwrap_err();
    let told = violations(&status);
    assert!(told.len() > 20 && told.len() <= 101, "{}", told.len());
    assert_eq!(told.last().unwrap().trim(), format!("and {} more violations", 10_000 - (told.len() - 1)));
    assert!(status.message().starts_with("10000 violations, the first: payloads[0].object_id"));
    assert!(status.details().len() * 4 / 3 + status.message().len() < 7 * 1024);
}

/// What waiting does not lift has no RetryInfo and names the limit: bytes, records, indexes.
#[tokio::test]
async fn limits_that_waiting_does_not_lift() {
    let server = Running::start(Limits {
        indexes_max: 2,
        request_records_max: 3,
        request_bytes_max: 100_000,
        ..limits()
    });
    let mut client = server.client().await;
    let named = |name: &str| UpsertObjectsRequest { index_name: name.into(), ..small() };
    client.upsert_objects(named("a")).await.unwrap();
    client.upsert_objects(named("b")).await.unwrap();
    client.upsert_objects(named("a")).await.unwrap();
    let four = small().payloads[0].clone();
    for (request, limit) in [
        (named("c"), "limits.indexes_max"),
        (save(vec![four; 4]), "limits.request_records_max"),
        (save(vec![payload("1", object([("a", text(string_of(100_000)))]))]), "limits.request_bytes_max"),
    ] {
        let status = client.upsert_objects(request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().ends_with(&format!("({limit})")), "{status}");
        assert_eq!(retry_after(&status), None);
        assert_eq!(status.get_error_details().quota_failure().unwrap().violations[0].subject, limit);
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 3);
}

/// An index that the log knew before the restart stays accepted, a new one beside it does not. (G9)
#[tokio::test]
async fn known_indexes_survive() {
    let limits = Limits { indexes_max: 1, ..limits() };
    let server = Running::start_with(limits, Indexes::new(["products".into()]), MemoryLog::open());
    let mut client = server.client().await;
    client.upsert_objects(small()).await.unwrap();
    let other = UpsertObjectsRequest { index_name: "other".into(), ..small() };
    assert_eq!(client.upsert_objects(other).await.unwrap_err().code(), Code::ResourceExhausted);
}

/// The key, a digest of the content and the trace are carried into the frame. The digest is the same for the same
/// content and for no other.
#[tokio::test]
async fn attributes() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let keyed = UpsertObjectsRequest { idempotency_key: "order-1".into(), ..small() };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut traced = tonic::Request::new(keyed.clone());
    traced.metadata_mut().insert("traceparent", trace.parse().unwrap());
    client.upsert_objects(traced).await.unwrap();
    let again = UpsertObjectsRequest { idempotency_key: "order-2".into(), ..keyed.clone() };
    client.upsert_objects(again).await.unwrap();
    let other =
        UpsertObjectsRequest { index_name: "other".into(), idempotency_key: "order-3".into(), ..keyed };
    let mut malformed = tonic::Request::new(other);
    malformed.metadata_mut().insert("traceparent", trace.to_uppercase().parse().unwrap());
    client.upsert_objects(malformed).await.unwrap();
    client.upsert_objects(small()).await.unwrap();

    let appends = server.log.appends.lock().unwrap();
    let [first, again, other, keyless] = &appends[..] else { panic!("{} appends", appends.len()) };
    assert_eq!(first.attributes.traceparent.as_deref(), Some(trace));
    let idempotency = first.attributes.idempotency.as_ref().unwrap();
    assert_eq!(idempotency.key, "order-1");
    assert_eq!(again.attributes.idempotency.as_ref().unwrap().digest, idempotency.digest);
    assert_eq!(again.attributes.traceparent, None);
    assert_ne!(other.attributes.idempotency.as_ref().unwrap().digest, idempotency.digest);
    assert_eq!(other.attributes.traceparent, None);
    assert_eq!(keyless.attributes, Default::default());
}

/// What the log refuses reaches the producer: with RetryInfo exactly where waiting helps. (G2)
#[tokio::test]
async fn the_log_refuses() {
    let after = Duration::from_secs(7);
    for (failure, code, retry) in [
        (AppendError::Full { used: 2, budget: 1, retry_after: after }, Code::ResourceExhausted, true),
        (AppendError::NoSpace { retry_after: after }, Code::ResourceExhausted, true),
        (AppendError::TooLarge { bytes: 2, limit: 1 }, Code::ResourceExhausted, false),
        (AppendError::Poisoned { cause: "/secret/path".into() }, Code::Unavailable, true),
        (AppendError::Closed, Code::Unavailable, true),
    ] {
        let server = Running::start(limits());
        *server.log.failure.lock().unwrap() = Some(failure);
        let status = server.client().await.upsert_objects(small()).await.unwrap_err();
        assert_eq!((status.code(), retry_after(&status).is_some()), (code, retry), "{status}");
        assert!(!status.message().contains("secret"));
    }
}

/// Bytes that are no request are told apart from faults of the agent.
#[tokio::test]
async fn not_protobuf() {
    let server = Running::start(limits());
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/sync.v1.SyncService/UpsertObjects");
    let codec = original::RawClientCodec;
    let garbage = bytes::Bytes::from_static(b"\xff\xff\xff");
    let status = grpc.unary(tonic::Request::new(garbage), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

/// A destination that cannot take more of one index has that index refused, with its name, the reason and when to try
/// again; other indexes are accepted, and so is this one once the destination can (G2, G5).
#[tokio::test]
async fn one_index_is_refused_for_a_destination() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let refuse = |destination: &str, index: &str| {
        let reason = "its dead letters take 600 bytes there".to_owned();
        server.refusals.set(&destination.into(), [(index.into(), reason)].into());
    };
    refuse("archive", "other");
    refuse("search", "products");
    let status = client.upsert_objects(small()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "destination \"search\" takes no more of index \"products\": its dead letters take 600 bytes there"
    );
    assert_eq!(retry_after(&status), Some(Duration::from_secs(30)));
    let good = UpsertObjectsRequest { index_name: "good".into(), ..small() };
    client.upsert_objects(good).await.unwrap();
    // What is wrong with a request is told all the same: it is not worth a retry.
    let wrong = UpsertObjectsRequest { action_type: 0, ..small() };
    assert_eq!(client.upsert_objects(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    server.refusals.set(&"search".into(), [].into());
    client.upsert_objects(small()).await.unwrap();
    assert_eq!(server.log.appends.lock().unwrap().len(), 2);
}
