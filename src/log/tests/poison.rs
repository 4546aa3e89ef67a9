//! Rule 2: what the log does when the disk refuses, with what real files can be made to refuse; `durability` has the
//! syncs.

use std::fs;

use super::*;
use crate::log::interface::From;

fn assert_poisoned(result: Result<Appended, AppendError>) {
    assert!(matches!(result, Err(AppendError::Poisoned { .. })), "{result:?}");
}

/// G1: once a segment could not be made nothing is accepted any more, also not what would fit; what was acknowledged
/// is still read, and is there after the restart.
#[tokio::test]
async fn a_segment_that_cannot_be_made() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    for number in 0..3 {
        append(&log, number, 1, 3000).await;
    }
    let in_the_way = bench.dir().join("00000000000000000003.seg.tmp");
    fs::create_dir(&in_the_way).unwrap();
    // The second one would fit, and waits already.
    let (large, small) = tokio::join!(log.append(request(3, 1, 3000)), log.append(request(7, 1, 10)));
    assert_poisoned(large);
    assert_poisoned(small);
    fs::remove_dir(&in_the_way).unwrap();
    assert_poisoned(log.append(request(4, 1, 3000)).await);
    assert_poisoned(log.append(request(5, 1, 10)).await);
    assert_eq!(numbers(&read_all(&log, 0).await), [0, 1, 2]);
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    append(&log, 6, 1, 3000).await;
    assert_eq!(numbers(&read_all(&log, 0).await), [0, 1, 2, 6]);
}

/// A cursor that could not be renamed leaves in doubt what the disk holds: the commit fails, nothing is given back
/// for it, and nothing more is accepted.
#[tokio::test]
async fn a_cursor_in_doubt() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    while bench.segments().len() < 3 {
        append(&log, 0, 1, 3000).await;
    }
    let end = log.status().end.offset;
    let path = bench.dir().join("cursors/search.cursor");
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("in the way")).unwrap();
    assert!(matches!(log.commit("search", &progress(end)).await, Err(LogError::Io { .. })));
    assert_eq!(bench.segments().len(), 3);
    assert_poisoned(log.append(request(1, 1, 10)).await);
    log.close().await;
    drop(log);
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, before).unwrap();
    let (log, _) = bench.open();
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((found.progress.next, found.alert), (position(0), None));
    append(&log, 1, 1, 10).await;
}

/// A cursor that could not even be begun is an error of that commit alone: the earlier one is whole, and the next
/// attempt counts.
#[tokio::test]
async fn a_cursor_that_cannot_be_written() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    append(&log, 0, 4, 10).await;
    let in_the_way = bench.dir().join("cursors/search.cursor.tmp");
    fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(log.commit("search", &progress(2)).await, Err(LogError::Io { .. })));
    append(&log, 1, 1, 10).await;
    fs::remove_dir(&in_the_way).unwrap();
    log.commit("search", &progress(3)).await.unwrap();
    let (log, _) = bench.try_open(bench.crash("killed")).unwrap();
    assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress, progress(3));
}
