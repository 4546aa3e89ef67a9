//! Reads that fail or are short, and writes that are short.

use rustix::io::Errno;

use super::*;
use crate::log::interface::From;

/// EIO on a read is the reader's error and names the segment; the reader stands where it stood, others and the writer
/// are not touched, and it goes on once the disk does.
#[tokio::test]
async fn a_read_that_fails() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut number = 0;
    while bench.segments().len() < 3 {
        append(&log, number, 1, 3000).await;
        number += 1;
    }
    let mut reader = log.read_from(position(0)).await.unwrap();
    let first = reader.next().await.unwrap();
    let next = first.last().unwrap().position.offset + 1;
    bench.disk.fail_reads();
    for _ in 0..3 {
        let error = reader.next().await.unwrap_err();
        let ReadError::Io { path, cause } = &error else { panic!("{error}") };
        assert!(cause.contains("os error 5"), "{cause}");
        assert_eq!(*path, bench.segments()[1]);
    }
    append(&log, number, 1, 10).await;
    bench.disk.heal();
    let going_on = reader.next().await.unwrap();
    assert_eq!(going_on[0].position.offset, next, "the reader lost its place");
    assert_eq!(numbers(&read_all(&log, 0).await), (0..=number).collect::<Vec<_>>());
}

/// Whatever calls fail to look at the disk while the log is opened: it is not opened, nothing is changed, and the next
/// start finds everything.
#[tokio::test]
async fn an_opening_that_cannot_look() {
    for nth in 0..100 {
        let bench = Bench::new();
        let (log, _) = bench.open();
        log.subscribe("search", From::Oldest).await.unwrap();
        let mut number = 0;
        while bench.segments().len() < 2 {
            append(&log, number, 1, 3000).await;
            number += 1;
        }
        log.close().await;
        drop(log);
        let struck = bench.disk.fail_nth(nth, Errno::IO, |call, _| !call.changes());
        let opened = bench.try_open(bench.dir());
        let Some((call, path)) = struck.get() else {
            assert!(opened.is_ok() && nth > 15, "{nth} calls");
            return;
        };
        let error = opened.unwrap_err();
        assert!(matches!(error, LogError::Io { .. }), "{call:?} of {}: {error}", path.display());
        bench.disk.heal();
        let (log, report) = bench.open();
        assert_eq!((report.end.offset, report.alerts.len(), report.torn_bytes), (number, 0, 0));
        assert_eq!(numbers(&read_all(&log, 0).await), (0..number).collect::<Vec<_>>());
    }
    panic!("so many calls open a log");
}

/// Reads and writes may be short at any time, down to a byte: nobody notices.
#[tokio::test]
async fn short_reads_and_writes() {
    for bytes_max in [1, 7, 511, 4097] {
        let bench = Bench::new();
        bench.disk.shorten(bytes_max);
        let (log, _) = bench.open();
        log.subscribe("search", From::Oldest).await.unwrap();
        let count = 14;
        for number in 0..count {
            append(&log, number, 1, 1500).await;
        }
        log.commit("search", &progress(3)).await.unwrap();
        assert!(bench.segments().len() > 1);
        for dir in [bench.crash("killed"), bench.crash("again")] {
            let (log, report) = bench.try_open(dir).unwrap();
            assert_eq!((report.end.offset, report.torn_bytes, report.alerts.len()), (count, 0, 0));
            assert_eq!(numbers(&read_all(&log, 0).await), (0..count).collect::<Vec<_>>());
            assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress, progress(3));
        }
    }
}
