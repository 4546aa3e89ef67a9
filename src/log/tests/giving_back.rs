//! How segments go that nobody needs any more: their blocks in steps, once the removal is durable.

use std::sync::Mutex;

use rustix::io::Errno;

use super::{faulty::Call, *};
use crate::log::interface::From;

const MIB: usize = 1 << 20;

/// A log whose first segment holds 18 MiB; returns the offset at which the second one begins.
async fn with_a_large_segment(bench: &mut Bench) -> (EmbeddedLog, u64) {
    bench.segment_bytes = 20 << 20;
    bench.disk_bytes_max = 128 << 20;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut end = 0;
    while bench.segments().len() < 2 {
        append(&log, end, 1, 2 * MIB).await;
        end += 1;
    }
    (log, end - 1)
}

/// What was asked of the disk for the first segment, and of the log's directory.
fn calls_for_the_first(bench: &Bench) -> Arc<Mutex<Vec<Call>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, segment, dir) = (calls.clone(), bench.segments()[0].clone(), bench.dir());
    bench.disk.set(move |call, path| {
        if call.changes() && (path == segment || path == dir) {
            seen.lock().unwrap().push(call);
        }
        Ok(())
    });
    calls
}

/// G1: whoever appends does not wait until all blocks of a segment are free: each step of 8 MiB is a transaction of its
/// own, and none begins before the removal is durable.
#[tokio::test]
async fn blocks_go_in_steps() {
    let mut bench = Bench::new();
    let (log, second) = with_a_large_segment(&mut bench).await;
    let calls = calls_for_the_first(&bench);
    log.commit("search", &progress(second)).await.unwrap();
    let step = [Call::Truncate, Call::SyncData];
    let due = [&[Call::Remove, Call::SyncDirectory][..], &step, &step, &step].concat();
    assert_eq!(*calls.lock().unwrap(), due);
    assert_eq!((bench.segments().len(), log.status().start.offset), (1, second));
}

/// A reader that is in a segment when it goes reads it to its end.
#[tokio::test]
async fn a_reader_keeps_its_segment() {
    let mut bench = Bench::new();
    let (log, second) = with_a_large_segment(&mut bench).await;
    let mut reader = log.read_from(position(0)).await.unwrap();
    let mut frames = reader.next().await.unwrap();
    let calls = calls_for_the_first(&bench);
    log.commit("search", &progress(second)).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [Call::Remove, Call::SyncDirectory]);
    while (frames.len() as u64) < second {
        frames.extend(reader.next().await.unwrap());
    }
    assert_eq!(numbers(&frames), (0..second).collect::<Vec<_>>());
}

/// The file is gone already: what cannot be given back in steps goes at once, and nobody notices.
#[tokio::test]
async fn a_step_that_fails_costs_nothing() {
    for call in [Call::Open, Call::Size, Call::Truncate, Call::SyncData] {
        let mut bench = Bench::new();
        let (log, second) = with_a_large_segment(&mut bench).await;
        let segment = bench.segments()[0].clone();
        let struck = bench.disk.fail_nth(0, Errno::IO, move |asked, path| asked == call && path == segment);
        log.commit("search", &progress(second)).await.unwrap();
        assert_eq!(struck.get().map(|(call, _)| call), Some(call));
        append(&log, second + 1, 1, 10).await;
        assert_eq!(bench.segments().len(), 1);
    }
}
