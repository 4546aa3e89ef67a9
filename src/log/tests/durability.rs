//! Rules 1 and 2: an answer comes after the fdatasync that covers it, and never after one that failed.

use std::task::Poll;

use rustix::io::Errno;

use super::{faulty::Call, gate::Gate, *};
use crate::log::interface::{From, WhenFull};

/// Polls once.
async fn is_ready<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|ctx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(ctx).is_ready())).await
}

/// G1: while the fdatasync has not returned, the request is written but neither answered nor shown to a reader, and a
/// request that comes meanwhile is not either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_after_the_sync() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 0, 1, 100).await;
    let gate = Gate::hold(&bench.disk);
    let mut first = Box::pin(log.append(request(1, 1, 100)));
    assert!(!is_ready(&mut first).await);
    tokio::task::block_in_place(|| gate.reached());
    let mut second = Box::pin(log.append(request(2, 1, 100)));
    let mut reader = log.read_from(position(1)).await.unwrap();
    let mut next = reader.next();
    assert!(!is_ready(&mut first).await, "answered before it was synced");
    assert!(!is_ready(&mut second).await, "answered before it was written");
    assert!(!is_ready(&mut next).await, "read before it was synced");
    assert_eq!(log.status().end, position(1));
    gate.release();
    assert_eq!((first.await.unwrap().position, second.await.unwrap().position), (position(1), position(2)));
    drop(next);
    assert_eq!(numbers(&read_all(&log, 0).await), [0, 1, 2]);
}

/// G1: after a failed fdatasync nobody is answered OK, nothing more is accepted, and no sync is tried again; after the
/// restart the log goes on with what it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_poisons() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 0, 1, 100).await;
    let gate = Gate::hold(&bench.disk);
    let mut first = Box::pin(log.append(request(1, 1, 100)));
    assert!(!is_ready(&mut first).await);
    tokio::task::block_in_place(|| gate.reached());
    let mut second = Box::pin(log.append(request(2, 1, 100)));
    assert!(!is_ready(&mut second).await);
    gate.fail();
    for result in [first.await, second.await, log.append(request(3, 1, 100)).await] {
        assert!(matches!(result, Err(AppendError::Poisoned { .. })), "{result:?}");
    }
    assert_eq!(log.status().end, position(1));
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    assert_eq!(numbers(&read_all(&log, 0).await)[0], 0);
    append(&log, 4, 1, 100).await;
    assert_eq!(numbers(&read_all(&log, 0).await).last(), Some(&4));
}

/// G1: a sync that fails where somebody was to be left behind poisons, too: nobody is left behind, and the request that
/// came after those that were synced is not accepted on top of what is lost.
#[tokio::test]
async fn a_failed_sync_leaves_nobody_behind() {
    let mut bench = Bench::new();
    let limit = BacklogLimit { bytes_max: 4000, when_full: WhenFull::Detach };
    bench.limits.insert("search".to_owned(), limit);
    let files = Arc::new(bench.disk.clone());
    let (log, mut writer, _) =
        EmbeddedLog::open_unattended(files, bench.settings(bench.dir()), bench.clock.clone()).unwrap();
    let subscription = log.subscribe("search", From::Oldest).await.unwrap();
    let (mut first, mut second) = (log.append(request(0, 1, 5000)), log.append(request(1, 1, 10)));
    assert!(!is_ready(&mut first).await && !is_ready(&mut second).await);
    let struck = bench.disk.fail_nth(0, Errno::IO, |call, _| call == Call::SyncData);
    assert!(writer.turn());
    assert!(struck.get().is_some());
    for append in [first, second] {
        let answer = append.await;
        assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
    }
    assert!(!*subscription.detached.borrow() && log.gaps("search").await.unwrap().is_empty());
    drop((log, writer));
    let (log, report) = bench.open();
    assert_eq!(numbers(&read_all(&log, 0).await), (0..report.end.offset).collect::<Vec<_>>());
}
