//! Who may do what, and how much of it: decided before the log, by terms that a reload changes.

use plugin_api::operation::Action;
use tonic::Code;

use super::*;
use crate::config::Permission;

fn rule(caller: &str, indexes: &[&str], actions: &[Action]) -> Permission {
    let indexes = indexes.iter().map(|index| Arc::from(*index)).collect();
    Permission { caller: caller.into(), indexes, actions: actions.to_vec() }
}

fn terms(rules: &[Permission]) -> Terms {
    Terms { permissions: Permissions::new(rules), ..terms_of(limits()) }
}

fn in_index(index: &str) -> UpsertObjectsRequest {
    UpsertObjectsRequest { index_name: index.into(), ..small() }
}

fn keyed(key: &str) -> UpsertObjectsRequest {
    UpsertObjectsRequest { idempotency_key: key.into(), ..small() }
}

/// What no rule allows is refused with its caller, index and action, and nothing of it reaches the log.
#[tokio::test]
async fn what_no_rule_allows_is_refused() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    server.policy.change(terms(&[rule("*", &["products*"], &[Action::Save])]));
    client.upsert_objects(in_index("products_de")).await.unwrap();
    let deletes = UpsertObjectsRequest {
        action_type: ActionType::DeleteObject as i32,
        payloads: vec![SyncPayload { object_id: "1".into(), data: None }],
        ..small()
    };
    for (request, index, action) in [(in_index("orders"), "orders", "save"), (deletes, "products", "delete")]
    {
        let refused = client.upsert_objects(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert_eq!(
            refused.message(),
            format!(
                "a caller without a name may not {action} in index \"{index}\": no rule of [[permissions]] allows it"
            )
        );
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.metadata["index"]), ("NOT_PERMITTED", index));
        assert_eq!((&*info.metadata["action"], &*info.metadata["caller"]), (action, ""));
    }
    assert_eq!(server.log.appends.lock().unwrap().len(), 1);
}

/// Other rules count for the next request, on connections that are open; who may no more, may not repeat either.
#[tokio::test]
async fn rules_change_while_it_serves() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    client.upsert_objects(keyed("a")).await.unwrap();
    server.policy.change(terms(&[rule("spiffe://mesh/*", &["*"], &Action::ALL)]));
    for request in [small(), keyed("a")] {
        let refused = client.upsert_objects(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    server.policy.change(terms(&[]));
    client.upsert_objects(small()).await.unwrap();
    let again = client.upsert_objects(keyed("a")).await.unwrap().into_inner();
    assert_eq!(again.message, "accepted 1 record before");
    assert_eq!(server.log.appends.lock().unwrap().len(), 2);
}

/// Whoever sends more than a caller may is told when to try again, and is right to; a repeat of what was accepted is
/// always OK. (G2)
#[tokio::test]
async fn too_fast_is_told_when_to_try_again() {
    let server = Running::start(limits());
    let mut client = server.client().await;
    client.upsert_objects(keyed("a")).await.unwrap();
    let caller_rate_limit = CallerRateLimit { requests_per_second: Some(4), bytes_per_second: None };
    server.policy.change(terms_of(Limits { caller_rate_limit, ..limits() }));
    let mut wait = None;
    for _ in 0..100 {
        if let Err(refused) = client.upsert_objects(small()).await {
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
            assert!(refused.message().starts_with("callers without a name sent as much as"), "{refused}");
            wait = retry_after(&refused);
            break;
        }
    }
    let wait = wait.expect("a hundred requests at once are too many");
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(250), "{wait:?}");
    let again = client.upsert_objects(keyed("a")).await.unwrap().into_inner();
    assert_eq!(again.message, "accepted 1 record before");
    let refused = client.upsert_objects(keyed("b")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let before = Instant::now();
    let retried = async {
        while let Err(refused) = client.upsert_objects(small()).await {
            tokio::time::sleep(retry_after(&refused).unwrap()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), retried).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(5));
}
