//! Whole lanes: a real log, real dead letters and a fake Algolia behind real sockets, started as the agent starts them.
//!
//! A crash is a copy of the data directory, which is what kill -9 leaves at that moment. Every snapshot that a test
//! sees is checked: the counts of settled records never run ahead of what was accepted, nor behind the watermark.

mod bench;
mod callers;
mod told;

mod replay;
mod rerouting;
mod stale;
mod tap;
mod transforms;

use std::time::{Duration, Instant};

use fakes::algolia::{Fault, Forbidden, HostState, Poison, Publish};
use plugin_api::verdict::ReasonCode;
use tokio::time::timeout;

use super::{BreakerState, LaneState, Snapshot};
use crate::{
    dead_letter::{Bounds, Cause, IndexFull, Range, Stage},
    log::interface::{BacklogLimit, From, Log, Totals, WhenFull},
};
use bench::{Bench, DEADLINE, at};

/// G4: whatever fails in between, each object's operations are applied in log order, and a resend starts over without
/// anything newer having been sent before.
#[tokio::test]
async fn order_holds_through_failures() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 7).await;
    let unavailable = Fault::Refused { status: 503, message: "overloaded".to_owned() };
    let throttled = Fault::Throttled { retry_after: None };
    for _ in 0..6 {
        for fault in
            [&unavailable, &Fault::CutAfterApplying, &throttled, &Fault::Cut, &Fault::CutAfterApplying]
        {
            bench.fake.fail_next(1, fault.clone());
            let next = lane.log.status().end.offset;
            // Nothing takes the place of these.
            lane.update("products", (next..next + 20).map(|offset| offset % 9)).await;
        }
    }
    let end = lane.log.status().end;
    lane.until("all is delivered", |snapshot| snapshot.delivered == end).await;
    let mut repeats = 0;
    for key in 0..9 {
        let applied = bench.applied("products", key);
        let mut first_times: Vec<u64> = Vec::new();
        for sequence in &applied {
            match first_times.last() {
                Some(newest) if sequence <= newest => repeats += 1,
                _ => first_times.push(*sequence),
            }
        }
        let sent: Vec<u64> = (0..end.offset).filter(|offset| offset % 9 == key).collect();
        assert_eq!(first_times, sent, "{applied:?}");
        assert_eq!(applied.last(), sent.last());
    }
    assert!(repeats > 0, "nothing was ever sent again: the test tells nothing");
    assert_eq!(bench.letters().len(), 0);
}

/// G5: a destination that asks for a pause gets it, even if it is far longer than the longest backoff.
#[tokio::test]
async fn retry_after_is_honoured() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.fail_next(1, Fault::Throttled { retry_after: Some("1".to_owned()) });
    let start = Instant::now();
    lane.save("products", [1]).await;
    bench.fake.wait_for_requests(2).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "asked again after {:?}", start.elapsed());
    lane.until("it is delivered", |snapshot| snapshot.delivered == at(1)).await;
}

/// G5: a destination that asked for a pause is not asked meanwhile whether earlier writes are visible.
#[tokio::test]
async fn nothing_is_confirmed_during_a_pause() {
    let bench = Bench::new().await;
    bench.fake.set_publish(Publish::Never);
    let mut lane = bench.start().await;
    lane.save("products", [1]).await;
    lane.until("it is delivered", |snapshot| snapshot.delivered == at(1)).await;
    bench.fake.fail_next(1, Fault::Throttled { retry_after: Some("1".to_owned()) });
    lane.save("products", [2]).await;
    lane.until("both are delivered", |snapshot| snapshot.delivered == at(2)).await;
    let methods: Vec<String> = bench.fake.seen().into_iter().map(|seen| seen.method).collect();
    let last = methods.iter().rposition(|method| method == "POST").unwrap();
    assert_eq!(methods[last - 1], "POST", "{methods:?}");
    // It goes on afterwards.
    bench.fake.set_publish(Publish::AtOnce);
    lane.until("both are visible", |snapshot| snapshot.visible == at(2)).await;
}

/// G5: an outage opens the breaker; from then on only probes go out, the first that succeeds lets one request go, and
/// its success closes the breaker. Nothing is dead-lettered.
#[tokio::test]
async fn breaker_opens_probes_and_closes() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.set_hosts(HostState::Failing(503)).await.unwrap();
    lane.save("products", [1]).await;
    let open = lane.until("the breaker opens", |snapshot| snapshot.breaker == BreakerState::Open).await;
    assert_eq!(open.state, LaneState::BackingOff);
    let (requests, writes) = (bench.fake.request_count(), bench.fake.write_count());
    bench.fake.wait_for_requests(requests + 3).await;
    assert_eq!(bench.fake.write_count(), writes, "a batch was sent though the breaker is open");
    // Records that come in meanwhile do not make it look well.
    lane.save("elsewhere", [1]).await;
    let seen = lane.until("the record is taken in", |snapshot| snapshot.totals.skipped == 1).await;
    assert_ne!((seen.state, seen.breaker), (LaneState::Running, BreakerState::Closed));

    bench.fake.fail_next(1, Fault::Delay(Duration::from_millis(300)));
    bench.fake.set_hosts(HostState::Serving).await.unwrap();
    lane.until("one request goes", |now| now.breaker == BreakerState::HalfOpen && now.in_flight == 1).await;
    let closed = lane.until("the breaker closes", |snapshot| snapshot.breaker == BreakerState::Closed).await;
    assert_eq!((closed.state, closed.totals.written, closed.last_error), (LaneState::Running, 1, None));
    assert_eq!(bench.letters().len(), 0);
}

/// G5: while probes succeed and writes fail, every write waits for its probe: the breaker does not flap.
#[tokio::test]
async fn failing_writes_wait_for_probes() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.fail_all(Fault::Refused { status: 503, message: "overloaded".to_owned() });
    lane.save("products", [1]).await;
    lane.until("the breaker opens", |snapshot| snapshot.breaker == BreakerState::Open).await;
    bench.fake.wait_for_requests(5 + 6).await;
    bench.fake.recover();
    lane.until("it is delivered", |snapshot| snapshot.delivered == at(1)).await;
    let methods: Vec<String> = bench.fake.seen().into_iter().map(|seen| seen.method).skip(4).collect();
    assert!(methods.chunks(2).take(4).all(|pair| pair == ["POST", "GET"]), "{methods:?}");
}

/// G3 and G5: a destination that refuses the key is paused and probed, keeps its records out of the dead letters, and
/// goes on by itself once the key is right.
#[tokio::test]
async fn refusing_destination_pauses_and_resumes() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.probe_interval = Duration::from_millis(50)).await;
    bench.fake.set_api_key("another");
    lane.save("products", [1, 2]).await;
    let paused = |breaker: &BreakerState| matches!(breaker, BreakerState::Paused(_));
    lane.until("it is paused", |snapshot| paused(&snapshot.breaker)).await;
    bench.fake.wait_for_requests(4).await;
    assert_eq!(bench.fake.write_count(), 1, "only probes may go out");
    bench.fake.set_api_key(bench.api_key());
    let resumed = lane.until("it is delivered", |snapshot| snapshot.delivered == at(2)).await;
    assert_eq!((resumed.totals.written, bench.letters().len()), (2, 0));

    // A probe that succeeds does not help where the plan refuses every write.
    bench.fake.fail_all(Fault::Forbidden(Forbidden::OperationsQuota));
    lane.save("products", [3]).await;
    lane.until("it is paused again", |snapshot| paused(&snapshot.breaker)).await;
    let writes = bench.fake.write_count();
    let start = Instant::now();
    lane.until_true("writes are tried again", || bench.fake.write_count() >= writes + 2).await;
    assert!(start.elapsed() >= Duration::from_millis(50), "tried again after {:?}", start.elapsed());
    bench.fake.recover();
    lane.until("it is delivered", |snapshot| snapshot.delivered == at(3)).await;
}

/// G5: an index that the key may not write goes to the dead letters, and the other indexes go on.
#[tokio::test]
async fn refused_index_leaves_the_others_alone() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.restrict_key(Some(&["good", "sync-agent"]));
    for index in ["good", "bad", "good", "bad"] {
        lane.save(index, [1, 2, 3]).await;
    }
    let done = lane.until("all is settled", |snapshot| snapshot.delivered == at(12)).await;
    assert_eq!((done.totals.written, done.totals.dead_lettered), (6, 6));
    assert_eq!(bench.applied("good", 1).into_iter().max(), Some(6));
    let letters = bench.letters();
    assert!(letters.iter().all(|letter| *letter.record.key.index == *"bad"), "{letters:?}");
    assert!(letters.iter().all(|letter| letter.reason.code == ReasonCode::IndexRefused), "{letters:?}");
}

/// G6: what the destination's rules exclude is never sent, and is dead-lettered without holding up the others.
#[tokio::test]
async fn what_is_not_admitted_is_never_sent() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    lane.append("products", &[("1", r#"{"objectID":"2"}"#), ("3", "{}")]).await;
    let done = lane.until("both are settled", |snapshot| snapshot.delivered == at(2)).await;
    assert_eq!((done.totals.written, done.totals.dead_lettered), (1, 1));
    let letters = bench.letters();
    let told: Vec<_> = letters.iter().map(|l| (&*l.record.key.object_id, l.stage, l.attempts)).collect();
    assert_eq!(told, [("1", Stage::Admit, 0)]);
    assert_eq!(bench.fake.operation_count(), 1);
}

/// G3: a letter that cannot be written holds the cursor and the lane says why; it goes on by itself once it can.
#[tokio::test]
async fn letters_that_cannot_be_written_hold_the_cursor() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.break_letters();
    lane.save("products", [1]).await;
    lane.append("products", &[("1", r#"{"objectID":"2"}"#)]).await;
    let is_halted = |state: &LaneState| matches!(state, LaneState::Halted(_));
    let halted = lane.until("it halts", |snapshot| is_halted(&snapshot.state)).await;
    assert!(halted.delivered <= at(1) && halted.totals.dead_lettered == 0, "{halted:?}");
    bench.until_cursor(|progress| progress.next <= at(1)).await;
    bench.mend_letters();
    let done = lane.until("both are settled", |snapshot| snapshot.delivered == at(2)).await;
    assert_eq!((done.totals.written, done.totals.dead_lettered), (1, 1));
    assert_eq!(bench.letters().len(), 1);
}

/// G3 and G9: once the letters take all of their budget, the destination pauses and says what to do; it goes on by itself
/// once an operator has deleted some, and nothing is lost.
#[tokio::test]
async fn full_letters_pause_the_destination() {
    let mut bench = Bench::new().await;
    bench.bounds = Bounds { bytes_max: 4_000, ..Bounds::default() };
    let mut lane = bench.start().await;
    let refused = [("1", r#"{"objectID":"2"}"#)];
    for index in ["a", "b"].repeat(10) {
        lane.append(index, &refused).await;
    }
    lane.save("products", [1]).await;
    let is_halted = |state: &LaneState| matches!(state, LaneState::Halted(_));
    let halted = lane.until("it pauses", |snapshot| is_halted(&snapshot.state)).await;
    let LaneState::Halted(reason) = &halted.state else { panic!("{halted:?}") };
    assert!(reason.contains("of their budget of 4000 bytes") && reason.contains("bytes_max"), "{reason}");
    let letters = bench.letters().len() as u64;
    assert!(letters > 8 && halted.totals.dead_lettered == letters, "{halted:?}, {letters} letters");

    bench.delete_letters("record_index = 'a'");
    let on = lane.until("it goes on", |snapshot| snapshot.totals.dead_lettered > letters).await;
    assert!(on.totals.dead_lettered < 20, "{on:?}");
    let pauses_again = |now: &Snapshot| is_halted(&now.state) && now.totals.dead_lettered > letters;
    lane.until("it pauses again", pauses_again).await;
    bench.delete_letters("true");
    let done = lane.until("all is settled", |snapshot| snapshot.delivered == at(21)).await;
    assert_eq!(done.totals, Totals { written: 1, dead_lettered: 20, ..Totals::default() });
}

/// G3 and G5: where an index that fills half of the letters' budget is left behind, its further rejected records are a
/// gap on disk and in the totals, whatever crashes; its good ones are delivered, and other indexes' letters are kept.
#[tokio::test]
async fn an_index_that_fills_half_is_left_behind_alone() {
    let mut bench = Bench::new().await;
    bench.bounds = Bounds { bytes_max: 4_000, index_full: IndexFull::Gap, ..Bounds::default() };
    let mut lane = bench.start().await;
    bench.fake.poison("13", Poison::Named);
    let refused = [("13", "{}")];
    for _ in 0..20 {
        lane.append("bad", &refused).await;
        lane.save("bad", [7]).await;
    }
    for _ in 0..3 {
        lane.append("good", &refused).await;
    }
    let done = lane.until("all is settled", |snapshot| snapshot.delivered == at(43)).await;
    let Totals { written, superseded, dead_lettered, gap, .. } = done.totals;
    assert_eq!((written + superseded, dead_lettered + gap, done.state), (20, 23, LaneState::Running));
    let letters = bench.letters();
    let of = |index: &str| letters.iter().filter(|letter| *letter.record.key.index == *index).count() as u64;
    assert_eq!((of("good"), of("bad") + 3), (3, dead_lettered));
    assert!(of("bad") < 10, "{} letters in 4,000 bytes", of("bad"));
    let told = |bench: &Bench| {
        let ranges = bench.ranges();
        let whose =
            |range: &Range| range.index.as_deref() == Some("bad") && range.cause == Cause::DeadLettersFull;
        assert!(ranges.iter().all(whose), "{ranges:?}");
        ranges.iter().map(|range| range.records).sum::<u64>()
    };
    assert_eq!(told(&bench), gap);

    // What has not reached the cursor is settled once more, and still counted once.
    let crashed = bench.crash();
    lane.stop().await;
    let mut lane = crashed.start().await;
    let again = lane.until("all is settled again", |snapshot| snapshot.delivered == at(43)).await;
    // Which of its good records took the place of which may differ.
    let counts = |totals: Totals| (totals.written + totals.superseded, totals.dead_lettered, totals.gap);
    assert_eq!((counts(again.totals), told(&crashed)), (counts(done.totals), gap));
    // Records of two indexes alternate, so that no two of a range are neighbours: below the cursor they become one.
    lane.append("bad", &refused).await;
    let start = Instant::now();
    while crashed.ranges().len() > 1 {
        assert!(start.elapsed() < DEADLINE, "{:?}", crashed.ranges());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told(&crashed), gap + 1);
}

/// G3: an agent that is told to stop while letters cannot be written ends, and files them after its restart.
#[tokio::test]
async fn stopping_without_letters_loses_nothing() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.break_letters();
    bench.fake.poison("1", Poison::Named);
    lane.save("products", [1, 2]).await;
    lane.until("it halts", |snapshot| matches!(snapshot.state, LaneState::Halted(_))).await;
    lane.stop().await;
    bench.mend_letters();
    let mut lane = bench.start().await;
    let done = lane.until("both are settled", |snapshot| snapshot.delivered == at(2)).await;
    assert_eq!((done.totals.written, done.totals.dead_lettered, bench.letters().len()), (1, 1, 1));
}

/// G3: the cursor never passes what was sent and not answered: after a crash it is sent again.
#[tokio::test]
async fn cursor_waits_for_the_answer() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    lane.save("products", [1, 2]).await;
    lane.until("the first are delivered", |snapshot| snapshot.delivered == at(2)).await;
    bench.fake.fail_all(Fault::Hang);
    lane.save("products", [3, 4]).await;
    lane.until("the others are in flight", |snapshot| snapshot.in_flight == 2).await;
    bench.until_cursor(|progress| progress.next > at(0)).await;
    let crashed = bench.crash();
    bench.fake.recover();
    let mut lane = crashed.start().await;
    let done = lane.until("all is delivered", |snapshot| snapshot.delivered == at(4)).await;
    assert_eq!(done.totals, Totals { written: 4, ..Totals::default() });
    assert_eq!((bench.applied("products", 3), bench.applied("products", 4)), (vec![2], vec![3]));
}

/// G3 and G6: records that were delivered past one that keeps failing are not sent again after a restart.
#[tokio::test]
async fn completed_ranges_survive_a_restart() {
    let bench = Bench::new().await;
    let mut lane = bench.start_with(|settings| settings.operations_max = 1).await;
    bench.fake.poison("0", Poison::ServerError);
    lane.save("products", 0..8).await;
    let ahead = lane.until("the others are delivered", |snapshot| snapshot.totals.written == 7).await;
    assert_eq!(ahead.delivered, at(0));
    lane.stop().await;
    bench.until_cursor(|progress| progress.completed == [(1, 8)]).await;
    bench.fake.cure();
    let mut lane = bench.start().await;
    let done = lane.until("all is delivered", |snapshot| snapshot.delivered == at(8)).await;
    assert_eq!(done.totals, Totals { written: 8, ..Totals::default() });
    for key in 0..8 {
        assert_eq!(bench.applied("products", key), [key], "sent once");
    }
}

/// G3: records that are gone from the log before they were delivered count as a gap, and the rest is delivered.
#[tokio::test]
async fn what_is_gone_is_a_gap() {
    let bench = Bench::new().await;
    let (start, end) = bench.lose_the_beginning().await;
    let mut lane = bench.start_at(at(0)).await;
    let done = lane.until("the rest is delivered", |snapshot| snapshot.delivered == end).await;
    let written = end.offset - start.offset;
    assert_eq!(done.totals, Totals { written, gap: start.offset, ..Totals::default() });
    assert_eq!(bench.fake.operation_count(), written);
}

/// G3: rot halts the lane; once an operator has given it up, its records count as dead-lettered, the range is in the
/// dead letters, and everything else is delivered, once.
#[tokio::test]
async fn given_up_rot_is_dead_lettered() {
    let bench = Bench::new().await;
    let end = bench.let_rot().await;
    let mut lane = bench.start().await;
    let halted =
        |snapshot: &Snapshot| matches!(&snapshot.state, LaneState::Halted(why) if why.contains("rotten"));
    let at_rot = lane.until("it halts at the rot", |now| halted(now) && now.totals.written > 0).await;
    assert_eq!(at_rot.totals.settled(), at_rot.delivered.offset);
    lane.stop().await;
    let lost = bench.give_up();
    assert!(lost > 0);

    let mut lane = bench.start().await;
    let done = lane.until("the rest is delivered", |snapshot| snapshot.delivered == end).await;
    let expected = Totals { written: end.offset - lost, dead_lettered: lost, ..Totals::default() };
    assert_eq!((done.totals, done.pending(end)), (expected, 0));
    assert_eq!(bench.fake.operation_count(), end.offset - lost);
    let ranges = bench.ranges();
    assert_eq!(ranges.iter().map(|range| range.records).sum::<u64>(), lost);
    assert!(
        ranges.iter().all(|range| range.cause == Cause::Rotten && range.message.contains("given up")),
        "{ranges:?}"
    );
    lane.stop().await;
    let mut lane = bench.start().await;
    let again = lane.until("it is up", |_| true).await;
    assert_eq!((again.totals, bench.ranges()), (expected, ranges));
}

/// G3: what was given up counts only once it is in the dead letters; an agent that stops before goes on there.
#[tokio::test]
async fn given_up_rot_waits_for_the_dead_letters() {
    let bench = Bench::new().await;
    let end = bench.let_rot().await;
    let lost = bench.give_up();
    let mut lane = bench.start().await;
    bench.break_ranges();
    let halted =
        |now: &Snapshot| matches!(&now.state, LaneState::Halted(why) if why.contains("dead letters"));
    let waiting = lane.until("it waits", halted).await;
    assert_eq!(waiting.totals.dead_lettered, 0);
    lane.stop().await;
    bench.mend_letters();
    let mut lane = bench.start().await;
    let done = lane.until("all is settled", |snapshot| snapshot.delivered == end).await;
    assert_eq!((done.totals.dead_lettered, done.totals.settled()), (lost, end.offset));
}

/// The visible watermark waits for the destination's word, also across a restart, and nothing is sent again for it.
#[tokio::test]
async fn visible_waits_across_a_restart() {
    let bench = Bench::new().await;
    bench.fake.set_publish(Publish::Never);
    let mut lane = bench.start().await;
    lane.save("products", [1, 2]).await;
    let delivered = lane.until("both are delivered", |snapshot| snapshot.delivered == at(2)).await;
    assert_eq!(delivered.visible, at(0));
    lane.stop().await;
    let mut lane = bench.start().await;
    let resumed = lane.until("it is up", |_| true).await;
    assert_eq!((resumed.delivered, resumed.visible), (at(2), at(0)));
    bench.fake.set_publish(Publish::AtOnce);
    lane.until("both are visible", |snapshot| snapshot.visible == at(2)).await;
    assert_eq!(bench.fake.operation_count(), 2);
}

/// A stop lets the request in flight end, and its outcome is in the cursor: nothing is sent twice.
#[tokio::test]
async fn stop_waits_for_the_request_in_flight() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.fail_next(1, Fault::Delay(Duration::from_millis(300)));
    lane.save("products", [1]).await;
    lane.until("it is in flight", |snapshot| snapshot.in_flight == 1).await;
    lane.stop().await;
    let mut lane = bench.start().await;
    let resumed = lane.until("it is up", |_| true).await;
    assert_eq!((resumed.delivered, resumed.totals.written), (at(1), 1));
    assert_eq!(bench.fake.write_count(), 1);
}

/// A stop does not wait for a delay: neither for a long Retry-After nor for the next probe.
#[tokio::test]
async fn stop_does_not_wait_for_a_delay() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.fail_next(1, Fault::Throttled { retry_after: Some("3600".to_owned()) });
    lane.save("products", [1]).await;
    lane.until("it backs off", |snapshot| snapshot.state == LaneState::BackingOff).await;
    lane.stop().await;
}

/// G3: a destination that receives none of the records settles them all the same, and says so.
#[tokio::test]
async fn skipped_records_move_the_watermark() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    lane.save("elsewhere", [1, 2, 3]).await;
    let done = lane.until("all are settled", |snapshot| snapshot.delivered == at(3)).await;
    assert_eq!((done.totals.skipped, done.visible, bench.fake.request_count()), (3, at(3), 0));
}

/// G3: a lane that is told to stop waits for a destination that hangs, until its request ends; what became of it is not
/// known, so the cursor stays before it. (How long to wait is the agent's to say.)
#[tokio::test]
async fn stop_keeps_what_hangs() {
    let bench = Bench::new().await;
    let mut lane = bench.start().await;
    bench.fake.fail_all(Fault::Hang);
    lane.save("products", [1]).await;
    lane.until("it is in flight", |snapshot| snapshot.in_flight == 1).await;
    lane.stop.cancel();
    let joined = timeout(Duration::from_millis(200), lane.tasks.join()).await;
    assert!(joined.is_err(), "the request in flight was dropped");
    bench.fake.set_hosts(HostState::Refusing).await.unwrap();
    timeout(DEADLINE, lane.tasks.join()).await.expect("it ends with its request");
    bench.until_cursor(|progress| progress.next == at(0)).await;
}

/// G3, G5: a destination that the log leaves behind gets nothing more, not even the answer that it still owes; nothing
/// of what it received counts as missed, nor the other way round.
#[tokio::test]
async fn a_detached_destination_is_left_alone() {
    let mut bench = Bench::new().await;
    bench.limit = BacklogLimit { bytes_max: 16 << 10, when_full: WhenFull::Detach };
    let mut lane = bench.start().await;
    lane.save("products", [1]).await;
    lane.until("the first is delivered", |snapshot| snapshot.delivered == at(1)).await;
    bench.until_cursor(|progress| progress.next == at(1)).await;
    bench.fake.fail_all(Fault::Hang);
    while lane.log.status().end < at(1_000) {
        lane.save("products", 0..10).await;
    }
    let detached = lane.until("it is detached", |snapshot| snapshot.state == LaneState::Detached).await;
    assert_eq!((detached.totals.written, detached.in_flight > 0), (1, true));
    let requests = bench.fake.request_count();
    bench.fake.recover();
    lane.save("products", 0..10).await;
    lane.stop().await;
    assert_eq!((bench.fake.operation_count(), bench.fake.request_count()), (1, requests));

    let log = bench.open_log().await;
    let gap = log.resume("search", From::Oldest).await.unwrap();
    assert_eq!(gap.from, at(1));
    log.close().await;
    drop(log);
    let mut lane = bench.start().await;
    let end = lane.log.status().end;
    let done = lane.until("it has caught up", |snapshot| snapshot.delivered == end).await;
    let Totals { written, superseded, .. } = done.totals;
    assert_eq!((written + superseded, done.totals.gap), (end.offset - gap.records, gap.records));
}
