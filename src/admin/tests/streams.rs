//! Server-sent events: the status, and how far a replay is.

use tokio::time::timeout;

use super::{
    Bench, LONG,
    double::status,
    http::{over_unix, request},
    until,
};
use crate::admin::{ClientError, LetterFilter, Replay, ReplayState, Tail, TailKind};

fn replay(destination: &str) -> Replay {
    Replay {
        destination: destination.to_owned(),
        filter: LetterFilter::default(),
        force: false,
        dry_run: false,
    }
}

/// The status comes at once and again; the stream ends with the agent, also while nobody reads it.
#[tokio::test]
async fn the_status_is_watched() {
    let bench = Bench::start();
    let mut events = bench.client().watch().await.unwrap();
    let _unread = bench.client().watch().await.unwrap();
    for _ in 0..2 {
        let event = timeout(LONG, events.next()).await.unwrap();
        assert_eq!(event.unwrap(), Some(status()));
    }
    bench.stop().await;
    let end = async { while let Ok(Some(_)) = events.next().await {} };
    timeout(LONG, end).await.expect("the stream has an end");
}

/// On the wire they are what a browser reads: a name and JSON, a line each.
#[tokio::test]
async fn events_are_server_sent_events() {
    let bench = Bench::start();
    let answer =
        over_unix(&bench, &request("POST /v1/dead-letters/replay", "", "{\"destination\": \"a\"}")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.to_lowercase().contains("content-type: text/event-stream"), "{answer:?}");
    assert_eq!(answer.body.matches("event: progress\ndata: {\"state\":").count(), 3, "{answer:?}");
    assert!(answer.body.contains("}\n\n"), "{answer:?}");
    bench.stop().await;
}

/// A replay tells how far it is, to its end or to what ended it; the audit log has the outcome.
#[tokio::test]
async fn a_replay_tells_how_far_it_is() {
    let bench = Bench::start();
    let mut events = bench.client().replay(&replay("search")).await.unwrap();
    let mut replayed = Vec::new();
    while let Some(progress) = timeout(LONG, events.next()).await.unwrap().unwrap() {
        replayed.push((progress.replayed, progress.state));
    }
    let states = [ReplayState::Waiting, ReplayState::Running, ReplayState::Done];
    assert_eq!(replayed, [(0, states[0]), (1, states[1]), (2, states[2])]);
    until("its outcome is written", || bench.audited().len() == 2).await;

    let mut events = bench.client().replay(&replay("broken")).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().replayed, 1);
    match events.next().await {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.to_string(), "the store is gone; look at the disk")
        }
        event => panic!("{event:?}"),
    }
    until("both outcomes are written", || bench.audited().len() == 4).await;
    let outcomes: Vec<_> = bench.audited().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["begun", "done", "begun", "failed"]);
    bench.stop().await;
}

/// Scenario: the operator ends the command that replays. The replay ends with it, and is safe to begin again.
#[tokio::test]
async fn a_client_that_goes_away_ends_its_replay() {
    let bench = Bench::start();
    let mut events = bench.client().replay(&replay("endless")).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().letters, 2);
    drop(events);
    timeout(LONG, bench.double.interrupted.notified()).await.expect("the replay ends");
    until("the outcome is written", || bench.audited().len() == 2).await;
    assert_eq!(bench.audited()[1]["outcome"], "interrupted");
    bench.stop().await;
}

/// A tail is a stream as the others are; whoever goes away ends it, nothing of it is written to the audit log, and what it
/// does not understand it refuses.
#[tokio::test]
async fn a_tail_ends_with_whoever_looks() {
    let bench = Bench::start();
    let asked = Tail { index: Some("p*".to_owned()), ..Tail::default() };
    let mut events = bench.client().tail(&asked).await.unwrap();
    let event = timeout(LONG, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.event, event.over_rate), (TailKind::NotShown, Some(1)));
    drop(events);
    timeout(LONG, bench.double.interrupted.notified()).await.expect("the tail ends");
    assert_eq!(bench.double.asked(), [format!("tail {asked:?}")]);
    assert!(bench.audited().is_empty());
    let answer = over_unix(&bench, &request("POST /v1/tail", "", "{\"indexes\": 1}")).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("unknown field `indexes`"), "{answer:?}");
    bench.stop().await;
}
