//! Which host is asked, and what is known of a request that was not answered.

use std::time::Duration;

use fakes::algolia::{FakeAlgolia, Fault, HostState, Options, Poison};
use plugin_algolia::Algolia;
use plugin_api::{destination::Destination, verdict::WriteError};

use crate::setup::{saves, start, start_with};

async fn start_hosts(hosts: usize) -> (FakeAlgolia, Algolia) {
    start_with(Options { hosts, ..Options::default() }, |_| {}).await
}

/// The same with little patience, for what never answers.
async fn start_impatient(hosts: usize) -> (FakeAlgolia, Algolia) {
    let options = Options { hosts, ..Options::default() };
    start_with(options, |settings| settings.timeout = Duration::from_millis(500)).await
}

fn asked(fake: &FakeAlgolia) -> Vec<usize> {
    fake.seen().iter().map(|seen| seen.host).collect()
}

/// G5: with the first host down a write is delivered within the same call, and later ones do not knock there again.
#[tokio::test]
async fn another_host_takes_over() {
    for state in [HostState::Refusing, HostState::Failing(503), HostState::Failing(500)] {
        let (fake, algolia) = start_hosts(3).await;
        fake.set_host(0, state).await.unwrap();
        algolia.write(&saves("i", 1)).await.unwrap();
        algolia.write(&saves("i", 1)).await.unwrap();
        let expected: &[usize] = if state == HostState::Refusing { &[1, 1] } else { &[0, 1, 1] };
        assert_eq!(asked(&fake), expected, "{state:?}");
    }
}

/// G5: while every host is down nothing is rejected, and all are tried again at once when they are back.
#[tokio::test]
async fn all_hosts_down_is_unavailable_until_one_is_back() {
    let (fake, algolia) = start_hosts(3).await;
    for (state, status) in [
        (HostState::Refusing, None),
        (HostState::Failing(502), Some(502)),
        (HostState::Failing(503), Some(503)),
        (HostState::Failing(504), Some(504)),
    ] {
        fake.set_hosts(state).await.unwrap();
        for error in [algolia.write(&saves("i", 1)).await.unwrap_err(), algolia.probe().await.unwrap_err()] {
            assert!(matches!(error, WriteError::Unavailable { .. }), "{state:?}: {error:?}");
            assert_eq!(error.reason().status, status);
        }
    }
    fake.set_host(2, HostState::Serving).await.unwrap();
    assert_eq!(algolia.probe().await, Ok(()));
    algolia.write(&saves("i", 1)).await.unwrap();
    assert_eq!(fake.operation_count(), 1);
}

/// G4, G6: a 500 may have been applied, so its outcome is unknown, even if other hosts were not reachable at all.
#[tokio::test]
async fn a_server_error_is_unknown() {
    let (fake, algolia) = start_hosts(2).await;
    fake.poison("0", Poison::ServerError);
    fake.set_host(1, HostState::Refusing).await.unwrap();
    let error = algolia.write(&saves("i", 2)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    assert_eq!(error.reason().status, Some(500));
}

/// G4: a time-out leaves the outcome open and ends the call; the next write asks another host.
#[tokio::test]
async fn a_timeout_is_unknown() {
    let (fake, algolia) = start_impatient(2).await;
    fake.fail_next(1, Fault::Hang);
    let error = algolia.write(&saves("i", 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
    assert_eq!(asked(&fake), [0]);
    algolia.write(&saves("i", 1)).await.unwrap();
    assert_eq!(asked(&fake), [0, 1]);
}

/// A host that timed out is not down: it is asked before one that is.
#[tokio::test]
async fn a_slow_host_is_asked_before_one_that_is_down() {
    let (fake, algolia) = start_impatient(3).await;
    fake.set_host(0, HostState::Failing(503)).await.unwrap();
    fake.fail_next(1, Fault::Hang);
    algolia.write(&saves("i", 1)).await.unwrap_err();
    fake.set_host(0, HostState::Serving).await.unwrap();
    fake.set_host(2, HostState::Failing(503)).await.unwrap();
    algolia.write(&saves("i", 1)).await.unwrap();
    assert_eq!(asked(&fake), [0, 1, 2, 1]);
}

/// G4: a connection that is cut after sending leaves the outcome open, applied or not.
#[tokio::test]
async fn a_cut_connection_is_unknown() {
    let (fake, algolia) = start().await;
    for (fault, applied) in [(Fault::Cut, 0), (Fault::CutAfterApplying, 1)] {
        fake.fail_next(1, fault);
        let error = algolia.write(&saves("i", 1)).await.unwrap_err();
        assert!(matches!(error, WriteError::Unknown { .. }), "{error:?}");
        assert_eq!(fake.operation_count(), applied);
    }
    let (fake, algolia) = start_hosts(2).await;
    fake.fail_next(1, Fault::CutAfterApplying);
    algolia.write(&saves("i", 1)).await.unwrap();
    assert_eq!((asked(&fake), fake.operation_count()), (vec![0, 1], 2), "the same operations, sent twice");
    algolia.write(&saves("i", 1)).await.unwrap();
    assert_eq!(asked(&fake), [0, 1, 1], "the host that cut is passed over");
}

/// A write may be dropped at any moment; what was sent may be applied later, and the next write is none the worse.
#[tokio::test]
async fn a_dropped_write_may_be_applied_later() {
    let (fake, algolia) = start().await;
    fake.fail_next(1, Fault::Hold);
    let batch = saves("i", 1);
    tokio::select! {
        outcome = algolia.write(&batch) => panic!("{outcome:?}"),
        () = fake.wait_for_requests(1) => {}
    }
    algolia.write(&saves("i", 3)).await.unwrap();
    // The request is held as soon as it has been read, which may be after it was counted.
    while fake.apply_held() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.operation_count(), 4);
}

/// G10: a redirect is not followed, and the key goes to nobody else.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (fake, algolia) = start().await;
    let (other, _) = start().await;
    fake.fail_all(Fault::Redirect(format!("{}/1/indexes/i/batch", other.url())));
    let error = algolia.write(&saves("i", 1)).await.unwrap_err();
    assert!(matches!(error, WriteError::Unavailable { .. }), "{error:?}");
    assert_eq!(error.reason().status, Some(307));
    assert_eq!(other.request_count(), 0);
}

/// G10: nothing that is said of a failure carries the key.
#[tokio::test]
async fn errors_do_not_show_the_key() {
    let (fake, algolia) = start_impatient(1).await;
    fake.fail_next(1, Fault::Hang);
    let timed_out = algolia.write(&saves("i", 1)).await.unwrap_err();
    fake.set_hosts(HostState::Refusing).await.unwrap();
    let refused = algolia.write(&saves("i", 1)).await.unwrap_err();
    for error in [timed_out, refused] {
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("127.0.0.1"), "{shown}");
        assert!(!shown.contains(&Options::default().api_key), "{shown}");
    }
}
