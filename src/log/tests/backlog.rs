//! Bounds on what the log keeps: how far a destination may be behind, who is left behind and what it has missed, and
//! how long delivered segments stay.

use std::fs;

use plugin_api::operation::Action;

use super::*;
use crate::{
    log::interface::{From, Gap, GapCause, WhenFull},
    record::PayloadWriter,
};

const KIB: u64 = 1024;

fn limited(when_full: WhenFull, bytes_max: u64) -> Bench {
    let mut bench = Bench::new();
    bench.limits.insert("search".to_owned(), BacklogLimit { bytes_max, when_full });
    bench
}

/// A request of 3 KiB for this index, with so many records.
async fn save(log: &EmbeddedLog, index: &str, records: u32) -> Result<Appended, AppendError> {
    let mut payload = PayloadWriter::new(Action::Save, index, 3 << 10);
    for number in 0..records {
        let body = format!(r#"{{"text":"{}"}}"#, "x".repeat((3 << 10) / records as usize));
        payload
            .record(&number.to_string(), |out| {
                out.extend_from_slice(body.as_bytes());
                Ok::<_, ()>(())
            })
            .unwrap();
    }
    log.append(Append { records, payload: payload.into_bytes(), attributes: Attributes::default() }).await
}

async fn save_until(log: &EmbeddedLog, condition: impl Fn() -> bool) -> u64 {
    for _ in 0..200 {
        let end = save(log, "products", 2).await.unwrap().position.offset + 2;
        if condition() {
            return end;
        }
    }
    panic!("not within 200 requests");
}

fn counts(gap: &Gap) -> Vec<(&str, u64)> {
    gap.by_index.iter().map(|(index, count)| (&**index, *count)).collect()
}

/// G2: a destination that must not be left behind holds ingest back once it is behind by its limit, long before the
/// disk budget is used up, by name and with a time to come back; as it catches up appends are taken again.
#[tokio::test]
async fn refuses_at_the_limit() {
    let bench = limited(WhenFull::Refuse, 100 * KIB);
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let refused = loop {
        if let Err(error) = save(&log, "products", 2).await {
            break error;
        }
    };
    let AppendError::BacklogFull { destination, backlog, limit, retry_after } = refused else {
        panic!("{refused}")
    };
    assert_eq!((&*destination, limit, retry_after), ("search", 100 * KIB, Duration::from_secs(1)));
    assert!((100 * KIB..104 * KIB).contains(&backlog), "{backlog}");
    let status = log.status();
    assert_eq!(status.backlogs[0].bytes, backlog);
    log.commit("search", &progress(status.end.offset / 2)).await.unwrap();
    save(&log, "products", 2).await.unwrap();
    assert!(log.status().backlogs[0].bytes < 60 * KIB, "{:?}", log.status());
    // After a restart the same holds, from the cursor on disk.
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut taken = 0;
    while save(&log, "products", 2).await.is_ok() {
        taken += 1;
    }
    assert!((12..18).contains(&taken), "{taken} requests of 3 KiB until the limit");
}

/// A limit that is smaller than a request does not refuse for ever: only who is behind is.
#[tokio::test]
async fn a_small_limit_takes_one_request() {
    let bench = limited(WhenFull::Refuse, KIB);
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    for _ in 0..20 {
        let end = save(&log, "products", 2).await.unwrap().position.offset + 2;
        assert!(matches!(save(&log, "products", 2).await, Err(AppendError::BacklogFull { .. })));
        log.commit("search", &progress(end)).await.unwrap();
    }
}

/// G3, G5: a destination that may be left behind is, once it is behind by its limit: appends go on, its segments go,
/// what it misses is counted by index and durable, and it stays left behind over a restart. Resumed at the oldest
/// position it goes on there, with the gap in its totals and nothing counted twice.
#[tokio::test]
async fn detaches_at_the_limit_and_resumes_at_the_oldest() {
    let mut bench = limited(WhenFull::Detach, 40 * KIB);
    bench.destinations.push("archive".to_owned());
    let (log, _) = bench.open();
    log.subscribe("archive", From::Oldest).await.unwrap();
    let subscription = log.subscribe("search", From::Oldest).await.unwrap();
    for index in ["products", "prices", "products"] {
        save(&log, index, 2).await.unwrap();
    }
    // Two are settled, and one more beyond them.
    let totals = Totals { written: 3, ..Totals::default() };
    let reached = Progress { completed: vec![(4, 5)], totals, ..progress(2) };
    log.commit("search", &reached).await.unwrap();
    save_until(&log, || *subscription.detached.borrow()).await;
    assert!(log.status().backlogs.iter().any(|backlog| backlog.destination == "search" && backlog.detached));
    // Its cursor is frozen.
    log.commit("search", &progress(7)).await.unwrap();
    let end = save_until(&log, || bench.segments().len() >= 8).await;
    log.commit("archive", &progress(end)).await.unwrap();
    let start = log.status().start.offset;
    assert!(start > 20 && bench.segments().len() < 3, "{start}");
    let gaps = log.gaps("search").await.unwrap();
    let missed = start - 3;
    assert_eq!(counts(&gaps[0]), [("prices", 2), ("products", missed - 2)]);
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].records), (position(2), position(start), missed));
    assert_eq!((gaps[0].cause, gaps[0].closed_at), (GapCause::BacklogFull, None));

    let (log, report) = bench.try_open(bench.crash("killed")).unwrap();
    assert_eq!(report.alerts, [""; 0]);
    log.subscribe("archive", From::Oldest).await.unwrap();
    let found = log.subscribe("search", From::Oldest).await.unwrap();
    assert!(
        *found.detached.borrow() && found.alert.unwrap().contains("sync-agent destination resume search")
    );
    assert_eq!((found.progress, log.gaps("search").await.unwrap()), (reached, gaps.clone()));

    let gap = log.resume("search", From::Oldest).await.unwrap();
    assert_eq!(Gap { closed_at: None, ..gap.clone() }, gaps[0]);
    assert!(gap.closed_at.is_some());
    assert!(matches!(log.resume("search", From::Oldest).await, Err(LogError::NotDetached { .. })));
    let found = log.subscribe("search", From::Oldest).await.unwrap();
    assert!(!*found.detached.borrow() && found.alert.is_none());
    let expected = Totals { written: 3, gap: missed, ..Totals::default() };
    assert_eq!((found.progress.next, found.progress.totals), (position(start), expected));
    assert_eq!(found.progress.totals.settled(), start);
    let frames = read_all(&log, start).await;
    assert_eq!(frames.first().map(|frame| frame.position), Some(position(start)));
}

/// Resumed at the head, what is still in the log is part of the gap, too; a crash before the cursor follows changes
/// nothing.
#[tokio::test]
async fn resumes_at_the_head() {
    let mut bench = limited(WhenFull::Detach, 20 * KIB);
    bench.destinations.push("archive".to_owned());
    let (log, _) = bench.open();
    log.subscribe("archive", From::Oldest).await.unwrap();
    let subscription = log.subscribe("search", From::Oldest).await.unwrap();
    save_until(&log, || *subscription.detached.borrow()).await;
    save(&log, "prices", 3).await.unwrap();
    let end = log.status().end;
    let cursor = bench.dir().join("cursors/search.cursor");
    let before = fs::read(&cursor).unwrap();
    let gap = log.resume("search", From::Now).await.unwrap();
    assert_eq!((gap.from, gap.to, gap.records), (position(0), end, end.offset));
    assert_eq!(counts(&gap), [("prices", 3), ("products", end.offset - 3)]);
    let dir = bench.crash("killed");
    fs::write(dir.join("cursors/search.cursor"), before).unwrap();
    let (crashed, _) = bench.try_open(dir).unwrap();
    for log in [&log, &crashed] {
        let found = log.subscribe("search", From::Oldest).await.unwrap();
        let totals = Totals { gap: end.offset, ..Totals::default() };
        assert_eq!((found.progress.next, found.progress.totals), (end, totals));
        assert_eq!(log.gaps("search").await.unwrap(), std::slice::from_ref(&gap));
    }
}

/// G2: at the disk budget whoever may be left behind is, before anything is refused; a destination that must not be
/// makes ingest wait.
#[tokio::test]
async fn the_disk_budget_detaches_before_it_refuses() {
    let mut bench = limited(WhenFull::Detach, u64::MAX);
    bench.disk_bytes_max = 128 * KIB;
    bench.destinations.push("archive".to_owned());
    let (log, _) = bench.open();
    log.subscribe("archive", From::Oldest).await.unwrap();
    let subscription = log.subscribe("search", From::Oldest).await.unwrap();
    let mut written = 0;
    while !*subscription.detached.borrow() {
        let end = save(&log, "products", 2).await.unwrap().position.offset + 2;
        log.commit("archive", &progress(end)).await.unwrap();
        written += 1;
        assert!(written < 100);
    }
    assert!(log.status().disk_bytes <= 128 * KIB);
    let refused = loop {
        if let Err(error) = save(&log, "products", 2).await {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::Full { .. }), "archive must not be left behind: {refused}");
}

/// Rule 9: what a destination misses while it is not configured becomes its gap record, before the segments go.
#[tokio::test]
async fn a_removed_destination_has_a_gap_record() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    log.subscribe("old", From::Oldest).await.unwrap();
    save(&log, "prices", 2).await.unwrap();
    log.commit("old", &progress(1)).await.unwrap();
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    log.subscribe("search", From::Now).await.unwrap();
    let mut start = 0;
    for segments in [3, 5] {
        let end = save_until(&log, || bench.segments().len() >= segments).await;
        log.commit("search", &progress(end)).await.unwrap();
        start = log.status().start.offset;
        let gaps = log.gaps("old").await.unwrap();
        assert_eq!((gaps.len(), gaps[0].cause, gaps[0].closed_at), (1, GapCause::Removed, None));
        assert_eq!((gaps[0].from, gaps[0].to), (position(1), position(start)));
        assert_eq!(counts(&gaps[0]), [("prices", 1), ("products", start - 2)]);
    }
    let found = log.subscribe("old", From::Oldest).await.unwrap();
    assert_eq!((found.progress.next, found.progress.totals.gap), (position(start), start - 1));
    let gaps = log.gaps("old").await.unwrap();
    assert!(gaps.len() == 1 && gaps[0].closed_at.is_some() && gaps[0].records == start - 1, "{gaps:?}");
}

/// Delivered segments stay for as long and as many bytes as retention says, and go first when space is needed.
#[tokio::test]
async fn retention_keeps_and_gives_way() {
    let mut bench = Bench::new();
    bench.retention = Retention { age: Duration::from_secs(60), bytes_max: 64 * KIB };
    bench.disk_bytes_max = 160 * KIB;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut end = 0;
    for _ in 0..100 {
        end = save(&log, "products", 2).await.unwrap().position.offset + 2;
        log.commit("search", &progress(end)).await.unwrap();
    }
    let status = log.status();
    let kept = status.disk_bytes - status.held_bytes;
    assert!((48 * KIB..=64 * KIB).contains(&kept), "{status:?}");
    assert_eq!(numbers(&read_all(&log, status.start.offset).await).len(), {
        let frames = (end - status.start.offset) / 2;
        usize::try_from(frames).unwrap()
    });
    // A new destination is filled from what is kept.
    assert_eq!(log.subscribe("new", From::Oldest).await.unwrap().progress.next, status.start);
    // The new one holds everything: the budget is used up, and what search has received is not given up for it.
    while save(&log, "products", 2).await.is_ok() {}
    assert_eq!(log.status().start, status.start);
    let end = log.status().end.offset;
    log.commit("search", &progress(end)).await.unwrap();
    log.commit("new", &progress(end)).await.unwrap();
    assert!(log.status().disk_bytes - log.status().held_bytes <= 64 * KIB);
    // Under pressure retention gives way, as far as is needed.
    for _ in 0..100 {
        let end = save(&log, "products", 2).await.unwrap().position.offset + 2;
        log.commit("search", &progress(end)).await.unwrap();
        log.commit("new", &progress(end)).await.unwrap();
    }
    bench.clock.0.fetch_add(59_000_000, Ordering::SeqCst);
    log.give_back().await.unwrap();
    assert!(log.status().held_bytes < log.status().disk_bytes, "too young");
    bench.clock.0.fetch_add(2_000_000, Ordering::SeqCst);
    log.give_back().await.unwrap();
    assert_eq!((log.status().held_bytes, bench.segments().len()), (log.status().disk_bytes, 1));
}

/// The budget counts what is kept for retention only as long as nobody else wants the space.
#[tokio::test]
async fn retention_never_refuses() {
    let mut bench = Bench::new();
    bench.retention = Retention { age: Duration::from_secs(60), bytes_max: u64::MAX };
    bench.disk_bytes_max = 64 * KIB;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    for _ in 0..100 {
        let end = save(&log, "products", 2).await.unwrap().position.offset + 2;
        log.commit("search", &progress(end)).await.unwrap();
    }
    assert!(bench.segments().len() >= 3, "kept as long as there is room");
}
