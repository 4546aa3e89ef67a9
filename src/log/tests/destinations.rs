//! Cursors, the list of served destinations, the budget and what is given back (rules 8, 9, 11 and 14).

use std::fs;

use plugin_api::verdict::Confirmation;

use super::*;
use crate::log::{cursor, interface::From};

const KIB: usize = 1024;

/// Appends until there are so many segments; returns the offset after the last record.
async fn fill(bench: &Bench, log: &EmbeddedLog, segments: usize) -> u64 {
    loop {
        let appended = append(log, 0, 1, 3 * KIB).await;
        if bench.segments().len() >= segments {
            return appended.position.offset + 1;
        }
    }
}

/// The base of each segment on disk.
fn bases(bench: &Bench) -> Vec<u64> {
    bench.segments().iter().map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

/// Rule 8: a destination that was never served starts where its `from` says; one that was goes on where it was, with
/// its completed ranges, totals and confirmations.
#[tokio::test]
async fn where_a_destination_starts() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 0, 10, 100).await;
    let now = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((now.progress, now.alert), (Progress { next: position(10), ..Progress::default() }, None));
    let oldest = log.subscribe("mirror", From::Oldest).await.unwrap();
    assert_eq!((oldest.progress, oldest.alert), (Progress::default(), None));
    let reached = Progress {
        completed: vec![(6, 7), (8, 10)],
        confirmations: vec![Confirmation { index: "products".into(), handle: "42".to_owned() }],
        ..progress(4)
    };
    log.commit("mirror", &reached).await.unwrap();
    for dir in [bench.crash("killed"), bench.crash("killed again")] {
        let (log, _) = bench.try_open(dir).unwrap();
        let mirror = log.subscribe("mirror", From::Now).await.unwrap();
        assert_eq!((mirror.progress, mirror.alert), (reached.clone(), None));
        assert_eq!(log.subscribe("search", From::Oldest).await.unwrap().progress.next, position(10));
    }
}

/// Rule 8: a served destination whose cursor is missing, damaged, another log's or another destination's restarts at
/// the oldest position with an alert, never at the newest.
#[tokio::test]
async fn bad_cursors_restart_at_the_oldest() {
    let (bench, other) = (Bench::new(), Bench::new());
    for bench in [&bench, &other] {
        let (log, _) = bench.open();
        append(&log, 0, 10, 100).await;
        for destination in ["search", "mirror"] {
            log.subscribe(destination, From::Now).await.unwrap();
        }
        log.close().await;
    }
    let name = "cursors/search.cursor";
    let sound = fs::read(bench.dir().join(name)).unwrap();
    let mut damaged = sound.clone();
    damaged[40] ^= 1;
    let foreign = fs::read(other.dir().join(name)).unwrap();
    let neighbour = fs::read(bench.dir().join("cursors/mirror.cursor")).unwrap();
    for bad in [None, Some(damaged), Some(sound[..20].to_vec()), Some(vec![]), Some(foreign), Some(neighbour)]
    {
        let dir = bench.crash("bad");
        match &bad {
            Some(bytes) => fs::write(dir.join(name), bytes).unwrap(),
            None => fs::remove_file(dir.join(name)).unwrap(),
        }
        let (log, _) = bench.try_open(dir).unwrap();
        let found = log.subscribe("search", From::Now).await.unwrap();
        assert_eq!(found.progress, Progress::default(), "{bad:?}");
        assert!(found.alert.unwrap().contains("search.cursor"));
        let again = log.subscribe("search", From::Now).await.unwrap();
        assert_eq!((again.progress, again.alert), (Progress::default(), None), "said once");
        assert_eq!(log.subscribe("mirror", From::Now).await.unwrap().progress.next, position(10));
    }
}

/// Rule 8: without the list of served destinations every configured one and each with a cursor counts as served: a
/// cursor goes on, a missing one means the oldest position.
#[tokio::test]
async fn a_lost_list_loses_nothing() {
    let mut bench = Bench::new();
    bench.destinations = vec!["search".to_owned(), "mirror".to_owned()];
    let (log, _) = bench.open();
    append(&log, 0, 10, 100).await;
    for destination in ["search", "mirror", "removed"] {
        log.subscribe(destination, From::Now).await.unwrap();
    }
    append(&log, 1, 1, 100).await;
    log.close().await;
    for damaged in [false, true] {
        let dir = bench.crash("list");
        fs::remove_file(dir.join("cursors/mirror.cursor")).unwrap();
        if damaged {
            fs::write(dir.join("destinations"), b"SYNCDST\n").unwrap();
        } else {
            fs::remove_file(dir.join("destinations")).unwrap();
        }
        let (log, report) = bench.try_open(dir).unwrap();
        // One alert for the list, one for the destination that nobody delivers to any more.
        assert_eq!(report.alerts.len(), 2, "{report:?}");
        assert!(report.alerts[1].contains("\"removed\" is not configured any more"), "{report:?}");
        assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress.next, position(10));
        let mirror = log.subscribe("mirror", From::Now).await.unwrap();
        assert!(mirror.progress.next == position(0) && mirror.alert.is_some());
        assert_eq!(log.subscribe("removed", From::Now).await.unwrap().progress.next, position(10));
    }
}

/// Rule 14: a cursor, or a completed range, beyond the log's end means that acknowledged data is gone: the agent does
/// not start, and says how to go on.
#[tokio::test]
async fn cursor_beyond_the_end_halts() {
    let bench = Bench::new();
    let (log, report) = bench.open();
    append(&log, 0, 10, 100).await;
    log.subscribe("search", From::Now).await.unwrap();
    log.close().await;
    for beyond in [progress(11), Progress { completed: vec![(5, 11)], ..progress(4) }] {
        let dir = bench.crash("beyond");
        let path = dir.join("cursors/search.cursor");
        fs::write(&path, cursor::encode(report.log_id, "search", &beyond)).unwrap();
        let error = bench.try_open(dir.clone()).unwrap_err();
        assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("is gone")), "{error}");
        fs::remove_file(&path).unwrap();
        let (log, _) = bench.try_open(dir).unwrap();
        assert!(log.subscribe("search", From::Now).await.unwrap().alert.is_some());
    }
}

/// Rules 7 and 14: bytes that look torn although a destination is past them were acknowledged: they are not cut.
#[tokio::test]
async fn acknowledged_bytes_are_not_cut() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    append(&log, 1, 1, 100).await;
    append(&log, 2, 1, 100).await;
    log.commit("search", &progress(2)).await.unwrap();
    let dir = bench.crash("rotten");
    let path = segments_in(&dir).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = bench.try_open(dir.clone()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("is gone")), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(bench.try_open(dir).unwrap().1.end.offset, 2);
}

/// The same when the log lost its newest segment, with nothing else wrong.
#[tokio::test]
async fn lost_newest_segment_halts() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Now).await.unwrap();
    let end = fill(&bench, &log, 3).await;
    log.commit("search", &progress(end)).await.unwrap();
    log.close().await;
    drop(log);
    fs::remove_file(bench.segments().pop().unwrap()).unwrap();
    // What is left was given back already, so that the log looks empty.
    let error = bench.try_open(bench.dir()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("is gone")), "{error}");
}

/// Rule 9: a segment goes once the persisted cursor of every subscribed destination is past it, and not before every
/// configured one has subscribed; the newest stays.
#[tokio::test]
async fn segments_go_behind_persisted_cursors() {
    let mut bench = Bench::new();
    bench.destinations.push("mirror".to_owned());
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let end = fill(&bench, &log, 4).await;
    let all = bases(&bench);
    log.commit("search", &progress(end)).await.unwrap();
    assert_eq!(bases(&bench), all, "mirror is configured and has not subscribed");
    let mirror = log.subscribe("mirror", From::Oldest).await.unwrap();
    assert_eq!((mirror.progress.next, bases(&bench)), (position(0), all.clone()));
    let before = log.status();
    log.commit("mirror", &progress(all[2] - 1)).await.unwrap();
    assert_eq!(bases(&bench), all[1..]);
    assert_eq!(log.status().start, position(all[1]));
    assert!(log.status().disk_bytes < before.disk_bytes);
    log.commit("mirror", &progress(all[2])).await.unwrap();
    assert_eq!(bases(&bench), all[2..]);
    log.commit("mirror", &progress(end)).await.unwrap();
    assert_eq!(bases(&bench), all[3..], "the newest stays");
}

/// Rule 9: destinations that are no longer configured hold nothing back. What went while nobody held it for them is a
/// gap, said and counted, and the equation of settled records holds.
#[tokio::test]
async fn a_removed_destination_finds_a_gap() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    log.subscribe("old", From::Oldest).await.unwrap();
    let end = fill(&bench, &log, 4).await;
    let old = Progress {
        completed: vec![(3, 4)],
        totals: Totals { written: 3, ..Totals::default() },
        ..progress(2)
    };
    log.commit("old", &old).await.unwrap();
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    log.subscribe("search", From::Now).await.unwrap();
    log.commit("search", &progress(end)).await.unwrap();
    let start = log.status().start;
    assert!(start.offset > 4);
    let found = log.subscribe("old", From::Oldest).await.unwrap();
    assert_eq!(found.progress.next, start);
    assert_eq!(found.progress.totals, Totals { written: 3, gap: start.offset - 3, ..Totals::default() });
    assert_eq!(found.progress.totals.settled(), start.offset);
    assert!(found.progress.completed.is_empty() && found.alert.unwrap().contains("gap"));
}

/// A range that was settled across the new start keeps counting.
#[tokio::test]
async fn a_gap_ends_within_a_completed_range() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    log.subscribe("old", From::Oldest).await.unwrap();
    let end = fill(&bench, &log, 4).await;
    let start = bases(&bench)[3];
    let old = Progress {
        completed: vec![(start - 2, start + 1)],
        totals: Totals { written: 5, ..Totals::default() },
        ..progress(2)
    };
    // The last segment has to hold a second record.
    let end = end.max(append(&log, 0, 1, 10).await.position.offset + 1);
    log.commit("old", &old).await.unwrap();
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    log.subscribe("search", From::Now).await.unwrap();
    log.commit("search", &progress(end)).await.unwrap();
    assert_eq!(log.status().start, position(start));
    let found = log.subscribe("old", From::Oldest).await.unwrap();
    assert_eq!(found.progress.next, position(start + 1));
    assert_eq!(found.progress.totals.settled(), start + 1);
}

/// G2, rule 11: at the budget appends are refused with a time to come back, nothing of them stays, and the log takes
/// more once the destinations have caught up. Bytes on disk never exceed the budget.
#[tokio::test]
async fn budget_refuses_and_frees() {
    let mut bench = Bench::new();
    bench.disk_bytes_max = 64 << 10;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut number = 0;
    let refused = loop {
        match log.append(request(number, 1, 3 * KIB)).await {
            Ok(appended) => assert_eq!(appended.position.offset, number),
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 100);
    };
    let AppendError::Full { used, budget, retry_after } = refused else { panic!("{refused}") };
    assert!(used <= budget && budget == 64 << 10 && retry_after == Duration::from_secs(1));
    let on_disk: u64 = bench.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk <= budget && log.status().disk_bytes <= budget);
    let end = log.status().end.offset;
    assert_eq!(end, number, "nothing of the refused request is there");
    log.commit("search", &progress(end / 2)).await.unwrap();
    assert_eq!(append(&log, number, 1, 3 * KIB).await.position.offset, number);
    log.commit("search", &progress(end)).await.unwrap();
    for more in 1..100 {
        let appended = append(&log, number + more, 1, 3 * KIB).await;
        log.commit("search", &progress(appended.position.offset + 1)).await.unwrap();
    }
    log.close().await;
    drop(log);
    let (log, report) = bench.open();
    assert_eq!(report.end.offset, number + 100);
    assert_eq!(log.status().disk_bytes_max, 64 << 10);
}

/// Small budgets make small segments, so that at least four fit; a frame that fits into none is refused for good.
#[tokio::test]
async fn small_budgets_and_large_frames() {
    let mut bench = Bench::new();
    bench.segment_bytes = 128 << 20;
    bench.disk_bytes_max = 80 << 10;
    let (log, _) = bench.open();
    let error = log.append(request(0, 1, 20 * KIB)).await.unwrap_err();
    let AppendError::TooLarge { bytes, limit } = error else { panic!("{error}") };
    assert!(bytes > limit && limit > 15 * KIB, "{bytes} {limit}");
    let largest = limit - crate::log::frame::size_of(&request(1, 1, 0)) + 8;
    append(&log, 1, 1, largest).await;
    append(&log, 4, 1, largest).await;
    assert_eq!(numbers(&read_all(&log, 0).await), [1, 4]);
    assert_eq!(log.status().disk_bytes, 40 << 10);
    log.close().await;
    drop(log);
    bench.disk_bytes_max = 60 << 10;
    assert!(matches!(bench.try_open(bench.dir()), Err(LogError::Halted { .. })));
}

/// A cursor never moves back, whatever order commits arrive in; one beyond the end, or with impossible ranges, or of
/// nobody who has subscribed, is refused.
#[tokio::test]
async fn commits_that_are_refused() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 0, 10, 10).await;
    log.subscribe("search", From::Oldest).await.unwrap();
    log.commit("search", &progress(7)).await.unwrap();
    log.commit("search", &progress(5)).await.unwrap();
    for (destination, refused) in [
        ("search", progress(11)),
        ("search", Progress { completed: vec![(8, 12)], ..progress(7) }),
        ("search", Progress { completed: vec![(7, 8)], ..progress(7) }),
        ("nobody", progress(1)),
    ] {
        assert!(log.commit(destination, &refused).await.is_err(), "{refused:?}");
    }
    let (log, _) = bench.try_open(bench.crash("killed")).unwrap();
    assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress, progress(7));
}
