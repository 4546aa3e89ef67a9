//! A crash in the middle of every change to the directory: opening recovers by itself.

use std::fs::{self, OpenOptions};

use super::*;
use crate::log::interface::From;

/// A log whose newest segment is sealed: the crash came before the next one had its name. Returns the numbers in it
/// and the size of its last segment without the footer.
async fn sealed_at_the_end(bench: &Bench) -> (Vec<u64>, u64) {
    let (log, _) = bench.open();
    let mut number = 0;
    while bench.segments().len() < 3 {
        append(&log, number, 1, 3000).await;
        number += 1;
    }
    log.close().await;
    drop(log);
    let newest = bench.segments().pop().unwrap();
    let end: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(newest).unwrap();
    let sealed = fs::read(bench.segments().pop().unwrap()).unwrap();
    let trailer = &sealed[sealed.len() - 24..];
    ((0..end).collect(), u64::from_le_bytes(trailer[..8].try_into().unwrap()))
}

async fn opens_and_goes_on(bench: &Bench, dir: PathBuf, expected: &[u64]) -> OpenReport {
    let (log, report) = bench.try_open(dir.clone()).unwrap();
    assert_eq!(report.alerts, [""; 0]);
    assert_eq!(report.end.offset, expected.len() as u64);
    let mut expected = expected.to_vec();
    for number in [500, 501] {
        append(&log, number, 1, 3000).await;
        expected.push(number);
    }
    assert_eq!(numbers(&read_all(&log, 0).await), expected);
    log.close().await;
    drop(log);
    let (log, again) = bench.try_open(dir).unwrap();
    assert_eq!((again.torn_bytes, again.temporary_files, again.alerts.len()), (0, 0, 0));
    assert_eq!(numbers(&read_all(&log, 0).await), expected);
    report
}

/// Rule 3: the old segment is sealed, the next one is not there yet.
#[tokio::test]
async fn between_two_segments() {
    let bench = Bench::new();
    let (numbers, _) = sealed_at_the_end(&bench).await;
    opens_and_goes_on(&bench, bench.dir(), &numbers).await;
    assert_eq!(bench.segments().len(), 3);
}

/// Rule 13, as far as it shows without faults: opening writes the end of a sealed segment again. (Of an unsealed one
/// the file's time tells nothing, since its space is reserved again, too.)
#[tokio::test]
async fn opening_writes_the_last_group_again() {
    let bench = Bench::new();
    sealed_at_the_end(&bench).await;
    let newest = bench.segments().pop().unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1);
    OpenOptions::new().write(true).open(&newest).unwrap().set_modified(long_ago).unwrap();
    let before = fs::read(&newest).unwrap();
    let _log = bench.open();
    assert!(fs::metadata(&newest).unwrap().modified().unwrap() > long_ago);
    assert_eq!(fs::read(&newest).unwrap(), before);
}

/// Rule 3: the footer is on disk as far as any byte, and the file is not cut to its size: the segment is simply not
/// sealed yet.
#[tokio::test]
async fn within_sealing() {
    let bench = Bench::new();
    let (numbers, data_end) = sealed_at_the_end(&bench).await;
    let sealed = fs::read(bench.segments().pop().unwrap()).unwrap();
    for written in data_end as usize..=sealed.len() {
        let dir = bench.crash("sealing");
        let mut bytes = sealed[..written].to_vec();
        bytes.resize(16 << 10, 0);
        fs::write(segments_in(&dir).pop().unwrap(), bytes).unwrap();
        let report = opens_and_goes_on(&bench, dir, &numbers).await;
        assert!(report.torn_bytes as usize <= written - data_end as usize);
    }
}

/// Rule 3: a segment, a cursor and the list that were never renamed are removed.
#[tokio::test]
async fn leftover_temporary_files() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    append(&log, 0, 1, 10).await;
    log.commit("search", &progress(1)).await.unwrap();
    let dir = bench.crash("leftover");
    let names = ["00000000000000000001.seg.tmp", "cursors/search.cursor.tmp", "destinations.tmp"];
    for name in names {
        fs::write(dir.join(name), [7; 5000]).unwrap();
    }
    let (log, report) = bench.try_open(dir.clone()).unwrap();
    assert_eq!((report.temporary_files, report.end.offset), (3, 1));
    assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress, progress(1));
    assert!(names.iter().all(|name| !dir.join(name).exists()));
}

/// A directory whose creation was cut short anywhere counts as new.
#[tokio::test]
async fn within_creation() {
    let bench = Bench::new();
    let (_log, _) = bench.open();
    let dir = bench.crash("created");
    for missing in ["identity", "destinations", "request-id.key", "lock", "cursors"] {
        let path = dir.join(missing);
        if path.is_dir() {
            fs::remove_dir(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let again = bench.root.path().join("again");
        copy_directory(&dir, &again);
        let (log, report) = bench.try_open(again).unwrap();
        assert!(report.created && report.alerts.is_empty(), "{report:?}");
        append(&log, 0, 1, 10).await;
        let found = log.subscribe("search", From::Oldest).await.unwrap();
        assert_eq!((found.progress, found.alert), (Progress::default(), None));
    }
}

/// A subscription whose cursor was written and not yet listed: the destination was never served, and starts anew.
#[tokio::test]
async fn within_the_first_subscription() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let list = fs::read(bench.dir().join("destinations")).unwrap();
    log.subscribe("search", From::Now).await.unwrap();
    append(&log, 0, 4, 10).await;
    let dir = bench.crash("unlisted");
    assert!(dir.join("cursors/search.cursor").exists());
    fs::write(dir.join("destinations"), list).unwrap();
    let (log, report) = bench.try_open(dir).unwrap();
    assert_eq!(report.alerts, [""; 0]);
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((found.progress.next, found.alert), (position(4), None));
}

/// Rule 5: cut, and then killed before the space was reserved again.
#[tokio::test]
async fn within_cutting() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 7, 1, 100).await;
    let dir = bench.crash("cut");
    let path = segments_in(&dir).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(end as u64).unwrap();
    let report = opens_and_goes_on(&bench, dir, &[7]).await;
    assert_eq!(report.torn_bytes, 0);
    assert_eq!(fs::metadata(&path).unwrap().len(), 16 << 10);
}

/// Rule 9: segments were removed as far as any of them: what is left is the log.
#[tokio::test]
async fn within_giving_back() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut end = 0;
    while bench.segments().len() < 5 {
        end = append(&log, 0, 1, 3000).await.position.offset + 1;
    }
    let segments = bench.segments();
    let dir = bench.crash("before");
    log.commit("search", &progress(end)).await.unwrap();
    fs::copy(bench.dir().join("cursors/search.cursor"), dir.join("cursors/search.cursor")).unwrap();
    for removed in 0..segments.len() - 1 {
        let again = bench.root.path().join("again");
        copy_directory(&dir, &again);
        for segment in segments_in(&again).iter().take(removed) {
            fs::remove_file(segment).unwrap();
        }
        let (log, report) = bench.try_open(again.clone()).unwrap();
        assert_eq!((report.segments, report.alerts.len()), (segments.len() - removed, 0));
        assert_eq!(log.subscribe("search", From::Now).await.unwrap().progress.next, position(end));
        assert_eq!(segments_in(&again).len(), 1, "the rest goes when everyone has subscribed");
        assert_eq!(append(&log, 0, 1, 10).await.position.offset, end);
    }
}
