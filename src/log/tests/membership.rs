//! Destinations come, go, are forgotten and sent elsewhere while the log is open, also when the disk fails in the middle.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::{faulty::Call, *};
use crate::log::interface::{AtTime, From, GapCause, LogBounds, Rewound, WhenFull};

const ERRORS: [Errno; 2] = [Errno::IO, Errno::NOSPC];
/// More calls than any change makes.
const CALLS_MAX: usize = 60;

fn bounds(bench: &Bench, destinations: &[(&str, BacklogLimit)]) -> LogBounds {
    let named = destinations.iter().map(|(name, limit)| ((*name).to_owned(), *limit));
    LogBounds {
        disk_bytes_max: bench.disk_bytes_max,
        retention: bench.retention,
        destinations: named.collect::<BTreeMap<_, _>>(),
    }
}

const FREE: BacklogLimit = BacklogLimit::UNLIMITED;

fn detached_beyond(bytes_max: u64) -> BacklogLimit {
    BacklogLimit { bytes_max, when_full: WhenFull::Detach }
}

/// A log with so many requests of one record, in several segments; nothing of it is delivered.
async fn filled(bench: &Bench, requests: u64) -> EmbeddedLog {
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    for number in 0..requests {
        append(&log, number, 1, 3000).await;
        bench.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
    }
    log
}

/// It has been served from the oldest position, and has received nothing.
async fn mirror_comes_and_leaves(bench: &Bench, log: &EmbeddedLog) {
    log.configure(bounds(bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
    log.subscribe("mirror", From::Oldest).await.unwrap();
    log.configure(bounds(bench, &[("search", FREE)])).await.unwrap();
    log.leave("mirror").await.unwrap();
}

/// G7: a destination that is configured while the log is open holds back what it wants from then on; one that leaves
/// holds nothing back, and what it misses is a gap when it comes again.
#[tokio::test]
async fn destinations_come_and_go() {
    let bench = Bench::new();
    let log = filled(&bench, 20).await;
    log.configure(bounds(&bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
    log.commit("search", &progress(20)).await.unwrap();
    assert_eq!(log.status().start, position(0), "the new one has not said yet where it begins");
    let begun = log.subscribe("mirror", From::At(position(7))).await.unwrap();
    assert_eq!(begun.progress.next, position(7));
    let start = log.status().start.offset;
    assert!((1..=7).contains(&start), "held back for the new one from {start} on");

    log.configure(bounds(&bench, &[("search", FREE)])).await.unwrap();
    assert_eq!(log.status().start.offset, start, "it may still be delivered to");
    log.commit("mirror", &progress(9)).await.unwrap();
    log.leave("mirror").await.unwrap();
    let start = log.status().start.offset;
    assert!(start > 9 && log.status().backlogs.len() == 1, "{:?}", log.status());
    let gaps = log.gaps("mirror").await.unwrap();
    assert_eq!((gaps[0].cause, gaps[0].from, gaps[0].to), (GapCause::Removed, position(9), position(start)));

    log.configure(bounds(&bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
    let back = log.subscribe("mirror", From::Now).await.unwrap();
    assert_eq!((back.progress.next, back.progress.totals.gap), (position(start), start - 9));
}

/// Another limit counts at once.
#[tokio::test]
async fn limits_change() {
    let bench = Bench::new();
    let log = filled(&bench, 20).await;
    let tight = BacklogLimit { bytes_max: 10_000, when_full: WhenFull::Refuse };
    log.configure(bounds(&bench, &[("search", tight)])).await.unwrap();
    let refused = log.append(request(20, 1, 3000)).await;
    assert!(matches!(refused, Err(AppendError::BacklogFull { limit: 10_000, .. })), "{refused:?}");
    log.configure(bounds(&bench, &[("search", FREE)])).await.unwrap();
    append(&log, 20, 1, 3000).await;

    let small = LogBounds { disk_bytes_max: 1, ..bounds(&bench, &[("search", FREE)]) };
    log.configure(small).await.unwrap();
    let full = loop {
        if let Err(error) = log.append(request(21, 1, 3000)).await {
            break error;
        }
    };
    assert!(matches!(full, AppendError::Full { budget: 1, .. }), "{full:?}");
}

/// What is configured cannot be forgotten; what is forgotten begins anew, with neither its cursor nor its gaps.
#[tokio::test]
async fn a_forgotten_destination_begins_anew() {
    let bench = Bench::new();
    let log = filled(&bench, 20).await;
    log.configure(bounds(&bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
    log.subscribe("mirror", From::Oldest).await.unwrap();
    let in_use = log.forget("mirror").await;
    assert!(matches!(in_use, Err(LogError::InUse { .. })), "{in_use:?}");
    log.configure(bounds(&bench, &[("search", FREE)])).await.unwrap();
    log.leave("mirror").await.unwrap();
    log.commit("search", &progress(20)).await.unwrap();
    assert_eq!(log.gaps("mirror").await.unwrap().len(), 1);
    log.forget("mirror").await.unwrap();
    let unknown = log.forget("mirror").await;
    assert!(matches!(unknown, Err(LogError::Unknown { .. })), "{unknown:?}");
    let served: Vec<_> = log.served().await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(served, ["search"]);
    log.configure(bounds(&bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
    let anew = log.subscribe("mirror", From::Now).await.unwrap();
    assert_eq!((anew.progress, anew.alert), (Progress { next: position(20), ..Progress::default() }, None));
    assert_eq!(log.gaps("mirror").await.unwrap(), []);
}

/// A cursor that moves back counts anew; one that moves on leaves a gap with its cause. A dry run changes nothing.
#[tokio::test]
async fn a_cursor_is_moved() {
    let mut bench = Bench::new();
    bench.retention = Retention { age: Duration::MAX, bytes_max: u64::MAX };
    let log = filled(&bench, 20).await;
    log.commit("search", &progress(15)).await.unwrap();
    let moves = Rewound { from: position(15), to: position(4) };
    assert_eq!(log.rewind("search", From::At(position(4)), true).await.unwrap(), moves);
    assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress, progress(15));
    assert_eq!(log.rewind("search", From::At(position(4)), false).await.unwrap(), moves);
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!(found.progress, Progress { next: position(4), ..Progress::default() });

    log.commit("search", &progress(6)).await.unwrap();
    let moved = log.rewind("search", From::Now, false).await.unwrap();
    assert_eq!(moved, Rewound { from: position(6), to: position(20) });
    let gaps = log.gaps("search").await.unwrap();
    assert_eq!((gaps[0].cause, gaps[0].from, gaps[0].to), (GapCause::Reset, position(6), position(20)));
    assert_eq!(gaps[0].records, 14);
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((found.progress.next, found.progress.totals.gap), (position(20), 14));

    // What lies in the gap is there again when it is asked for.
    log.rewind("search", From::At(position(10)), false).await.unwrap();
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((found.progress.next, found.alert), (position(10), None));
    let end = log.rewind("search", From::At(position(99)), true).await.unwrap();
    assert_eq!(end.to, position(20), "beyond the end there is nothing");
    let unknown = log.rewind("nobody", From::Now, false).await;
    assert!(matches!(unknown, Err(LogError::Unknown { .. })), "{unknown:?}");
}

/// The first record of a time is found, whatever the clock did; before the log's start there is nothing.
#[tokio::test]
async fn a_time_has_its_place() {
    let bench = Bench::new();
    let log = filled(&bench, 20).await;
    let at = async |seconds: u64| log.at_time(Timestamp(seconds * 1_000_000)).await.unwrap();
    for second in 1..=20 {
        assert_eq!(at(second).await, AtTime::Found(position(second - 1)));
    }
    assert_eq!(log.at_time(Timestamp(5_000_001)).await.unwrap(), AtTime::Found(position(5)));
    assert_eq!(at(21).await, AtTime::Found(position(20)));
    assert_eq!(at(0).await, AtTime::BeforeStart(Timestamp(1_000_000)));
    let (empty, _) = Bench::new().open();
    assert_eq!(empty.at_time(Timestamp(7)).await.unwrap(), AtTime::Found(position(0)));
}

/// The disk fails at each step of moving a cursor: after a restart it stands where it was or where it was sent, with
/// nothing counted twice.
#[tokio::test]
async fn moving_a_cursor_fails_anywhere() {
    for (errno, to) in ERRORS.into_iter().flat_map(|errno| [3, 18].map(|to| (errno, to))) {
        for nth in 0..=CALLS_MAX {
            let mut bench = Bench::new();
            bench.retention = Retention { age: Duration::MAX, bytes_max: u64::MAX };
            let log = filled(&bench, 20).await;
            log.commit("search", &progress(12)).await.unwrap();
            let struck = bench.disk.fail_nth(nth, errno, |call, _| call.changes());
            let moved = log.rewind("search", From::At(position(to)), false).await;
            let Some((call, path)) = struck.get() else {
                assert!(moved.is_ok() && nth > 3, "{nth} calls");
                break;
            };
            let what = format!("{call:?} of {}: {moved:?}", path.display());
            bench.disk.heal();
            log.close().await;
            drop(log);
            let (log, report) = bench.open();
            assert_eq!(report.alerts, [""; 0], "{what}");
            let found = log.subscribe("search", From::Now).await.unwrap().progress;
            let totals = found.totals;
            match found.next.offset {
                12 => assert_eq!(found, progress(12), "{what}"),
                3 => assert_eq!((to, totals), (3, Totals::default()), "{what}"),
                18 => assert_eq!((to, totals.written, totals.gap), (18, 12, 6), "{what}"),
                other => panic!("{what}: at {other}"),
            }
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// The disk fails at each step of forgetting: after a restart the destination is known and can be forgotten, or is not.
#[tokio::test]
async fn forgetting_fails_anywhere() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let log = filled(&bench, 20).await;
            mirror_comes_and_leaves(&bench, &log).await;
            log.commit("search", &progress(20)).await.unwrap();
            let struck = bench.disk.fail_nth(nth, errno, |call, _| call.changes());
            let forgotten = log.forget("mirror").await;
            let Some((call, path)) = struck.get() else {
                assert!(forgotten.is_ok() && nth > 3, "{nth} calls");
                break;
            };
            let what = format!("{call:?} of {}: {forgotten:?}", path.display());
            bench.disk.heal();
            log.close().await;
            drop(log);
            let (log, _) = bench.open();
            let known = log.served().await.unwrap().iter().any(|(name, _)| name == "mirror");
            let again = log.forget("mirror").await;
            match known {
                true => again.unwrap(),
                false => assert!(matches!(again, Err(LogError::Unknown { .. })), "{what}: {again:?}"),
            }
            log.configure(bounds(&bench, &[("search", FREE), ("mirror", FREE)])).await.unwrap();
            let anew = log.subscribe("mirror", From::Now).await.unwrap();
            assert_eq!((anew.progress.next, anew.alert), (position(20), None), "{what}");
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// Files that an attempt has removed without making that durable are gone for good before the destination is off the
/// list: else a crash could bring back its cursor and its gaps for one of the same name.
#[tokio::test]
async fn forgetting_again_syncs_what_was_removed() {
    let bench = Bench::new();
    let log = filled(&bench, 1).await;
    mirror_comes_and_leaves(&bench, &log).await;
    let is_removed = |call: Call, path: &Path| {
        call == Call::SyncDirectory && path.ends_with("cursors") && !path.join("mirror.cursor").exists()
    };
    let struck = bench.disk.fail_nth(0, Errno::IO, is_removed);
    assert!(log.forget("mirror").await.is_err());
    assert!(struck.get().is_some());
    let struck = bench.disk.fail_nth(0, Errno::IO, is_removed);
    assert!(log.forget("mirror").await.is_err() && struck.get().is_some(), "it is taken for durable");
    bench.disk.heal();
    log.forget("mirror").await.unwrap();
}

/// A destination that has left, and its gaps are broken: what others have received stays and is durable. A start tells,
/// and once that file is gone, so does what was kept for it.
#[tokio::test]
async fn broken_gaps_of_one_that_has_left() {
    let bench = Bench::new();
    let log = filled(&bench, 1).await;
    mirror_comes_and_leaves(&bench, &log).await;
    for number in 1..60 {
        append(&log, number, 1, 2000).await;
    }
    let broken = bench.dir().join("cursors/mirror.gaps");
    fs::write(&broken, b"broken").unwrap();
    let segments = bench.segments().len();
    log.commit("search", &progress(60)).await.unwrap();
    assert!(matches!(log.give_back().await, Err(LogError::Halted { path, .. }) if path == broken));
    assert_eq!(log.subscribe("search", From::Oldest).await.unwrap().progress.next, position(60));
    assert_eq!(bench.segments().len(), segments);
    log.close().await;
    drop(log);
    let halted = bench.try_open(bench.dir());
    assert!(matches!(halted, Err(LogError::Halted { path, .. }) if path == broken));
    fs::remove_file(&broken).unwrap();
    let (log, _) = bench.open();
    assert_eq!(log.subscribe("search", From::Oldest).await.unwrap().progress.next, position(60));
    assert_eq!(bench.segments().len(), 1);
}

/// One that was too far behind is let go on while it is no longer configured: nothing waits for it to come.
#[tokio::test]
async fn resume_of_one_that_is_going() {
    let mut bench = Bench::new();
    bench.destinations.push("mirror".to_owned());
    bench.limits.insert("mirror".to_owned(), detached_beyond(20 << 10));
    let log = filled(&bench, 1).await;
    log.subscribe("mirror", From::Oldest).await.unwrap();
    for number in 1..60 {
        append(&log, number, 1, 2000).await;
    }
    log.configure(bounds(&bench, &[("search", FREE)])).await.unwrap();
    log.resume("mirror", From::Now).await.unwrap();
    log.leave("mirror").await.unwrap();
    log.commit("search", &progress(60)).await.unwrap();
    assert_eq!(bench.segments().len(), 1);
}

/// It is not certain that its gap has ended, but it is let go on: it receives what comes.
#[tokio::test]
async fn resume_that_may_not_be_durable() {
    let mut bench = Bench::new();
    bench.limits.insert("search".to_owned(), detached_beyond(20 << 10));
    let log = filled(&bench, 60).await;
    let of_cursors = |call: Call, path: &Path| call == Call::SyncDirectory && path.ends_with("cursors");
    let struck = bench.disk.fail_nth(0, Errno::IO, of_cursors);
    assert!(log.resume("search", From::Now).await.is_err() && struck.get().is_some());
    bench.disk.heal();
    let going_on = log.subscribe("search", From::Oldest).await.unwrap();
    assert_eq!((going_on.progress.next, *going_on.detached.borrow()), (position(60), false));
}
