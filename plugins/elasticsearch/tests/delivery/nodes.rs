//! Which node is asked, and what is known of a request that was not answered.

use std::time::Duration;

use fakes::elasticsearch::{Auth as FakeAuth, FakeElasticsearch, Fault, HostState, Options, Poison};
use plugin_api::{destination::Destination, verdict::WriteError};
use plugin_elasticsearch::{Auth, Elasticsearch};
use plugin_http::secret::Secret;

use crate::setup::{saves, start, start_with};

async fn start_nodes(hosts: usize) -> (FakeElasticsearch, Elasticsearch) {
    start_with(Options { hosts, ..Options::default() }, |_| {}).await
}

/// The same with little patience, for what never answers.
async fn start_impatient(hosts: usize) -> (FakeElasticsearch, Elasticsearch) {
    let options = Options { hosts, ..Options::default() };
    start_with(options, |settings| settings.timeout = Duration::from_millis(500)).await
}

fn asked(fake: &FakeElasticsearch) -> Vec<usize> {
    fake.seen().iter().map(|seen| seen.host).collect()
}

/// G5: nodes take turns; one that is down is passed over within the same call, and left out afterwards.
#[tokio::test]
async fn nodes_take_turns() {
    let (fake, elasticsearch) = start_nodes(3).await;
    for _ in 0..4 {
        elasticsearch.write(&saves("i", 1)).await.unwrap();
    }
    assert_eq!(asked(&fake), [0, 1, 2, 0]);
    for state in [HostState::Refusing, HostState::Failing(503), HostState::Failing(500)] {
        let (fake, elasticsearch) = start_nodes(3).await;
        fake.set_host(0, state).await.unwrap();
        for _ in 0..3 {
            elasticsearch.write(&saves("i", 1)).await.unwrap();
        }
        let served: Vec<_> = asked(&fake).into_iter().filter(|host| *host != 0).collect();
        assert_eq!((served.len(), asked(&fake).len() - served.len() <= 1), (3, true), "{state:?}");
    }
}

/// G5: while every node is down nothing is rejected, and all are tried again at once when they are back.
#[tokio::test]
async fn all_nodes_down_is_unavailable_until_one_is_back() {
    let (fake, elasticsearch) = start_nodes(3).await;
    for (state, status) in [
        (HostState::Refusing, None),
        (HostState::Failing(502), Some(502)),
        (HostState::Failing(503), Some(503)),
        (HostState::Failing(504), Some(504)),
    ] {
        fake.set_hosts(state).await.unwrap();
        for error in
            [elasticsearch.write(&saves("i", 1)).await.unwrap_err(), elasticsearch.probe().await.unwrap_err()]
        {
            assert!(matches!(error, WriteError::Unavailable { .. }), "{state:?}: {error:?}");
            assert_eq!(error.reason().status, status);
        }
    }
    fake.set_host(2, HostState::Serving).await.unwrap();
    assert_eq!(elasticsearch.probe().await, Ok(()));
    elasticsearch.write(&saves("i", 1)).await.unwrap();
    assert_eq!(fake.operation_count(), 1);
}

/// G4, G6: a 500 may have been applied, so its outcome is unknown, even if other nodes were not reachable at all.
#[tokio::test]
async fn a_server_error_is_unknown() {
    let (fake, elasticsearch) = start_nodes(2).await;
    fake.poison("0", Poison::ServerError);
    fake.set_host(1, HostState::Refusing).await.unwrap();
    let error = elasticsearch.write(&saves("i", 2)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    assert_eq!(error.reason().status, Some(500));
}

/// G4: a time-out leaves the outcome open and ends the call; the next write asks another node.
#[tokio::test]
async fn a_timeout_is_unknown() {
    let (fake, elasticsearch) = start_impatient(2).await;
    fake.fail_next(1, Fault::Hang);
    let error = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    elasticsearch.write(&saves("i", 1)).await.unwrap();
    elasticsearch.write(&saves("i", 1)).await.unwrap();
    assert_eq!(asked(&fake), [0, 1, 1]);
}

/// G4: a connection that is cut after sending leaves the outcome open, applied or not.
#[tokio::test]
async fn a_cut_connection_is_unknown() {
    let (fake, elasticsearch) = start().await;
    for (fault, applied) in [(Fault::Cut, 0), (Fault::CutAfterApplying, 1)] {
        fake.fail_next(1, fault);
        let error = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
        assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
        assert_eq!(fake.operation_count(), applied);
    }
    let (fake, elasticsearch) = start_nodes(2).await;
    fake.fail_next(1, Fault::CutAfterApplying);
    elasticsearch.write(&saves("i", 1)).await.unwrap();
    assert_eq!((asked(&fake), fake.operation_count()), (vec![0, 1], 2), "the same operations, sent twice");
}

/// A write may be dropped at any moment; what was sent may be applied later, and does no harm to what is newer.
#[tokio::test]
async fn a_dropped_write_may_be_applied_later() {
    let (fake, elasticsearch) = start().await;
    fake.fail_next(1, Fault::Hold);
    let batch = saves("i", 1);
    tokio::select! {
        outcome = elasticsearch.write(&batch) => panic!("{outcome:?}"),
        () = fake.wait_for_requests(1) => {}
    }
    let newer =
        crate::setup::batch_from(2_000, &[(plugin_api::operation::Action::Save, "0", r#"{"newer":1}"#)]);
    elasticsearch.write(&newer).await.unwrap();
    // The request is held as soon as it has been read, which may be after it was counted.
    while fake.apply_held().await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.objects("i")["0"], serde_json::json!({ "newer": 1 }));
}

/// G10: a redirect is not followed, and the key goes to nobody else.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (fake, elasticsearch) = start().await;
    let (other, _) = start().await;
    fake.fail_all(Fault::Redirect(format!("{}/_bulk", other.url())));
    let error = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unavailable { .. }), "{error:?}");
    assert_eq!((error.reason().status, other.request_count()), (Some(307), 0));
}

/// G10: nothing that is said of a failure carries the secret, not even where the answer repeats it.
#[tokio::test]
async fn errors_do_not_show_the_secret() {
    let header = "Basic YWdlbnQ6aHVudGVyMg==";
    let options = Options { auth: FakeAuth::Header(header.to_owned()), ..Options::default() };
    let basic = Auth::Basic { user: "agent".to_owned(), password: Secret::new("hunter2") };
    let (fake, elasticsearch) = start_with(options, |settings| {
        settings.auth = basic;
        settings.timeout = Duration::from_millis(500);
    })
    .await;
    let mut shown = String::new();
    for fault in [
        Fault::Hang,
        Fault::Answered { status: 403, body: format!(r#"{{"error":"no {header} hunter2"}}"#) },
        Fault::Answered { status: 503, body: format!("no {header} hunter2") },
    ] {
        fake.fail_next(1, fault);
        let error = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
        shown.push_str(&format!("{error} {error:?}"));
    }
    fake.set_hosts(HostState::Refusing).await.unwrap();
    let error = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
    shown.push_str(&format!("{error} {error:?}"));
    assert!(shown.contains("127.0.0.1") && shown.contains("(hidden)"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("YWdlbnQ6"), "{shown}");
}
