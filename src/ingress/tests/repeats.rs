//! Repeats of accepted requests, by their idempotency keys: always OK, whatever new requests are told. (G1, G2)

use tonic::Code;

use super::*;

/// A request of one record with a key.
fn keyed(key: &str, name: &str) -> UpsertObjectsRequest {
    let payloads = vec![payload("1", object([("name", text(name)), ("a", text("b"))]))];
    UpsertObjectsRequest { idempotency_key: key.into(), ..save(payloads) }
}

async fn accepted(client: &mut Client, request: UpsertObjectsRequest) -> (String, String) {
    let answer = client.upsert_objects(request).await.unwrap().into_inner();
    (answer.request_id, answer.message)
}

/// A repeat is answered with the first request's id while the log refuses all others, however it does.
#[tokio::test]
async fn while_the_log_refuses() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let (id, message) = accepted(&mut client, keyed("a", "one")).await;
    assert_eq!(message, "accepted 1 record");
    let retry_after = Duration::from_secs(7);
    for failure in [
        AppendError::Full { used: 2, budget: 1, retry_after },
        AppendError::BacklogFull { destination: "search".into(), backlog: 2, limit: 1, retry_after },
        AppendError::NoSpace { retry_after },
        AppendError::Poisoned { cause: "EIO".into() },
        AppendError::Closed,
    ] {
        *server.log.failure.lock().unwrap() = Some(failure);
        client.upsert_objects(keyed("b", "one")).await.unwrap_err();
        client.upsert_objects(keyed("", "one")).await.unwrap_err();
        let (again, message) = accepted(&mut client, keyed("a", "one")).await;
        assert_eq!((again, &*message), (id.clone(), "accepted 1 record before"));
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 1);
}

/// A repeat is answered also where its index is refused by now for a destination's sake.
#[tokio::test]
async fn while_its_index_is_refused() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let (id, _) = accepted(&mut client, keyed("a", "one")).await;
    server.refusals.set(&"search".into(), [("products".into(), "letters are full".to_owned())].into());
    client.upsert_objects(keyed("b", "one")).await.unwrap_err();
    assert_eq!(accepted(&mut client, keyed("a", "one")).await.0, id);
}

/// A repeat is answered also where its index is one too many by now, after a restart with a lower limit.
#[tokio::test]
async fn with_too_many_indexes() {
    let log = MemoryLog::open();
    let first = Running::start_with(limits(), Indexes::new([]), log.clone());
    let (id, _) = accepted(&mut first.client().await, keyed("a", "one")).await;
    let second =
        Running::start_with(Limits { indexes_max: 1, ..limits() }, Indexes::new(["other".into()]), log);
    let mut client = second.client().await;
    let refused = client.upsert_objects(keyed("b", "one")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(accepted(&mut client, keyed("a", "one")).await.0, id);
    let reused = client.upsert_objects(keyed("a", "two")).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists, "{reused}");
}

/// While the agent drains, a repeat of what was accepted is answered; what is new is not appended.
#[tokio::test]
async fn while_draining() {
    let server = Running::start_with(limits(), Indexes::new([]), MemoryLog::closed());
    let mut client = server.client().await;
    server.log.gate.add_permits(1);
    let (id, _) = accepted(&mut client, keyed("a", "one")).await;
    let begun = tokio::spawn({
        let mut client = client.clone();
        async move { client.upsert_objects(small()).await }
    });
    until("an append", || server.log.waiting() == 2).await;
    server.shutdown.stop_intake();
    assert_eq!(accepted(&mut client, keyed("a", "one")).await.0, id);
    for (request, code) in [(keyed("b", "one"), Code::Unavailable), (keyed("a", "two"), Code::AlreadyExists)]
    {
        let refused = client.upsert_objects(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    server.log.gate.add_permits(1);
    begun.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.serving).await.unwrap().unwrap();
    assert_eq!(server.log.appends.lock().unwrap().len(), 2);
}

/// The same key with other content: ALREADY_EXISTS, both digests in hex and the earlier request in an ErrorInfo, and
/// nothing to wait for.
#[tokio::test]
async fn other_content() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    let (id, _) = accepted(&mut client, keyed("a", "one")).await;
    let status = client.upsert_objects(keyed("a", "two")).await.unwrap_err();
    assert_eq!((status.code(), retry_after(&status)), (Code::AlreadyExists, None), "{status}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!((&*info.reason, &*info.domain), ("IDEMPOTENCY_KEY_REUSED", "sync.v1.SyncService"));
    assert_eq!(info.metadata["accepted_request_id"], id);
    let digests = [&info.metadata["accepted_digest"], &info.metadata["digest"]];
    assert!(digests.iter().all(|it| it.len() == 64 && it.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert_ne!(digests[0], digests[1]);
    for told in [&id, digests[0], digests[1]] {
        assert!(status.message().contains(told), "{status}");
    }
    // Another action and another object are other content, too.
    let partial = ActionType::PartialUpdateObject as i32;
    let mut other_object = keyed("a", "one");
    other_object.payloads[0].object_id = "2".into();
    for other in [UpsertObjectsRequest { action_type: partial, ..keyed("a", "one") }, other_object] {
        assert_eq!(client.upsert_objects(other).await.unwrap_err().code(), Code::AlreadyExists);
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 1);
}
