//! Who sees what, how much of it, and what it costs those who have something to tell.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Key, Operation, Source},
};
use tokio::task::unconstrained;
use uuid::Uuid;
use wildmatch::WildMatch;

use super::{listener::Listener, *};
use crate::runtime::SystemClock;

fn operation(index: &str, id: usize, body: &'static str) -> Operation {
    let source = Source {
        log_id: LogId(Uuid::nil()),
        position: Position { partition: 0, offset: id as u64 },
        number: 0,
        request_id: RequestId(Uuid::nil()),
        accepted_at: Timestamp(1),
        caller: None,
    };
    Operation {
        action: Action::Save,
        key: Key { index: index.into(), object_id: id.to_string().into() },
        body: Bytes::from_static(body.as_bytes()),
        version: Version(1),
        record_index: index.into(),
        origin: None,
        source,
    }
}

fn tap() -> Arc<Tap> {
    Tap::new(Arc::new(SystemClock))
}

fn settled(tap: &Tap, destination: &str, operation: &Operation) {
    if let Some(open) = tap.open() {
        open.settled(Kind::Delivered, &destination.into(), operation);
    }
}

/// What is there to be seen now.
async fn seen(listening: &mut Listening) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let mut next = pin!(listening.next());
        match poll_once(pin!(unconstrained(next.as_mut()))) {
            Some(event) => {
                let of = &event.record.change.key;
                let destination = event.destination.as_deref().unwrap_or("-").to_owned();
                seen.push(format!("{destination} {} {}", of.index, of.object_id));
            }
            None => return seen,
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match future.poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn each_sees_what_it_wants_to_see() {
    let tap = tap();
    let mut all = tap.listen(Filter::default(), 50).unwrap();
    let index = Some(WildMatch::new("prod*"));
    let mut products = tap.listen(Filter { index, destination: None }, 50).unwrap();
    let destination = Some("mirror".into());
    let mut mirror = tap.listen(Filter { index: None, destination }, 50).unwrap();
    settled(&tap, "search", &operation("products", 1, "{}"));
    settled(&tap, "mirror", &operation("users", 2, "{}"));
    // By the name that the destination has for it, too.
    let renamed = Operation { record_index: "goods".into(), ..operation("products", 3, "{}") };
    settled(&tap, "search", &renamed);
    assert_eq!(seen(&mut all).await, ["search products 1", "mirror users 2", "search goods 3"]);
    assert_eq!(seen(&mut products).await, ["search products 1", "search goods 3"]);
    assert_eq!(seen(&mut mirror).await, ["mirror users 2"]);
}

/// G9: nobody looks, nobody is told; only so many may look, and whoever is gone makes room.
#[tokio::test]
async fn so_many_look_and_no_more() {
    let tap = tap();
    assert!(tap.open().is_none() && !tap.is_open());
    let mut looking: Vec<_> = (0..LISTENERS_MAX).map(|_| tap.listen(Filter::default(), 1).unwrap()).collect();
    assert_eq!(tap.listen(Filter::default(), 1).unwrap_err(), TooMany);
    looking.pop();
    looking.push(tap.listen(Filter::default(), 1).unwrap());
    assert!(tap.is_open());
    looking.clear();
    assert!(tap.open().is_none() && !tap.is_open());
}

/// So many a second of each kind; the others are counted.
#[test]
fn the_rate_holds() {
    let (listener, _events) = Listener::new(Filter::default(), 3);
    let mut now = Instant::now();
    for second in 0..3 {
        assert_eq!(listener.admit(Kind::Delivered, 2, now), 2, "second {second}");
        assert_eq!(listener.admit(Kind::Delivered, 5, now), 1);
        assert_eq!(listener.admit(Kind::Delivered, 1, now), 0);
        assert_eq!(listener.admit(Kind::DeadLettered, 1, now), 1, "what is rare is not hidden");
        assert_eq!(listener.not_shown(), NotShown { over_rate: 5, too_slow: 0 });
        assert_eq!(listener.not_shown(), NotShown::default(), "it is told once");
        now += Duration::from_secs(1);
    }
}

/// What is beyond the rate is neither copied nor kept.
#[tokio::test]
async fn only_what_is_shown_is_made() {
    let tap = tap();
    let mut listening = tap.listen(Filter::default(), 3).unwrap();
    (0..10).for_each(|id| settled(&tap, "search", &operation("products", id, "{}")));
    let expected = ["search products 0", "search products 1", "search products 2"];
    assert_eq!(seen(&mut listening).await, expected);
    assert_eq!(listening.not_shown(), NotShown { over_rate: 7, too_slow: 0 });
}

/// G5, G9: nobody waits for somebody who does not read, and what is kept for him is bounded.
#[tokio::test]
async fn whoever_does_not_read_misses_events() {
    let tap = tap();
    let mut listening = tap.listen(Filter::default(), u32::MAX).unwrap();
    for id in 0..50_000 {
        settled(&tap, "search", &operation("products", id, "{}"));
    }
    let seen = seen(&mut listening).await;
    let NotShown { over_rate, too_slow } = listening.not_shown();
    assert!(seen.len() <= 1_000 && seen[0] == "search products 0", "{}", seen.len());
    assert_eq!((over_rate, too_slow), (0, 50_000 - seen.len() as u64));
}

/// G9: an event keeps neither a whole body nor the block that it was read from.
#[tokio::test]
async fn bodies_are_cut_and_copied() {
    const LONG: &str = long_text();
    let tap = tap();
    let mut listening = tap.listen(Filter::default(), 50).unwrap();
    let long = operation("products", 1, LONG);
    settled(&tap, "search", &long);
    let event = listening.next().await;
    let shown = &event.record;
    assert_eq!((shown.change.body.len(), shown.body_bytes), (Event::BODY_BYTES_MAX, LONG.len()));
    assert!(shown.is_cut() && event.operation.is_none());
    assert_ne!(shown.change.body.as_ptr(), long.body.as_ptr());
}

/// More than an event keeps.
const fn long_text() -> &'static str {
    const BYTES: [u8; Event::BODY_BYTES_MAX + 100] = [b'x'; Event::BODY_BYTES_MAX + 100];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
}
