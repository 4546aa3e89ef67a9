//! Files that do not belong here: written by a newer agent, another log's, or missing from the middle.

use super::*;
use crate::log::{cursor, interface::From, small_file};

/// Makes a file claim to have format 2, with a right checksum.
fn make_newer(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let checked =
        bytes.len().min(if path.extension().is_some_and(|e| e == "seg") { HEADER } else { usize::MAX });
    bytes[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..checked]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// A directory that a newer agent wrote: each kind of file is refused with its format and what to run, and nothing is
/// overwritten.
#[tokio::test]
async fn a_newer_format_of_each_file() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    while bench.segments().len() < 3 {
        append(&log, 0, 1, 3000).await;
    }
    log.close().await;
    let segments = bench.segments();
    let names = ["identity", "destinations", "cursors/search.cursor"].map(|name| bench.dir().join(name));
    for path in names.iter().chain(&segments) {
        let dir = bench.crash("newer");
        let newer = dir.join(path.strip_prefix(bench.dir()).unwrap());
        make_newer(&newer);
        let written = fs::read(&newer).unwrap();
        let error = bench.try_open(dir).expect_err("a newer format");
        assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("format 2")), "{error}");
        assert_advises(&error.to_string(), &newer);
        assert_eq!(fs::read(&newer).unwrap(), written);
    }
}

/// What a newer agent adds and does not need to be understood is passed over; what must be is refused.
#[tokio::test]
async fn newer_sections_of_a_cursor() {
    let bench = Bench::new();
    let (log, report) = bench.open();
    append(&log, 0, 4, 10).await;
    log.subscribe("search", From::Oldest).await.unwrap();
    log.close().await;
    let sound = cursor::encode(report.log_id, "search", &progress(2));
    for (tag, refused) in [(0x00F0u16, false), (0x80F0, true)] {
        let dir = bench.crash("newer");
        let path = dir.join("cursors/search.cursor");
        let bytes = small_file::encode(small_file::Kind::Cursor, report.log_id, |out| {
            out.extend_from_slice(&sound[32..]);
            crate::log::sections::put(out, tag, b"new");
        });
        fs::write(&path, bytes).unwrap();
        match bench.try_open(dir) {
            Ok((log, _)) => {
                assert!(!refused);
                let found = log.subscribe("search", From::Now).await.unwrap();
                assert_eq!((found.progress, found.alert), (progress(2), None));
            }
            Err(error) => {
                assert!(refused && matches!(error, LogError::Halted { .. }), "{error}");
                assert_advises(&error.to_string(), &path);
            }
        }
    }
}

/// A directory that was put together from two logs: the cursors are the other one's. Every destination restarts at the
/// oldest position, none at the newest, and the alerts name both logs.
#[tokio::test]
async fn cursors_of_another_log() {
    let (mut bench, mut other) = (Bench::new(), Bench::new());
    let mut ids = Vec::new();
    for bench in [&mut bench, &mut other] {
        bench.destinations = vec!["mirror".to_owned(), "search".to_owned()];
        let (log, report) = bench.open();
        append(&log, 0, 10, 100).await;
        for destination in &bench.destinations {
            log.subscribe(destination, From::Now).await.unwrap();
        }
        log.close().await;
        ids.push(report.log_id.to_string());
    }
    for list_too in [false, true] {
        let dir = bench.crash("mixed");
        copy_directory(&other.dir().join("cursors"), &dir.join("cursors"));
        if list_too {
            fs::copy(other.dir().join("destinations"), dir.join("destinations")).unwrap();
        }
        let (log, report) = bench.try_open(dir.clone()).unwrap();
        assert_eq!(report.alerts.len(), usize::from(list_too), "{report:?}");
        for destination in &bench.destinations {
            let found = log.subscribe(destination, From::Now).await.unwrap();
            assert_eq!(found.progress, Progress::default());
            let alert = found.alert.unwrap();
            assert!(ids.iter().all(|id| alert.contains(id)), "{alert}");
            assert_advises(&alert, &dir.join("cursors"));
        }
    }
}

/// Segments of another log among one's own, also under a name that is free here.
#[tokio::test]
async fn segments_of_another_log() {
    let (bench, other) = (Bench::new(), Bench::new());
    for bench in [&bench, &other] {
        let (log, _) = bench.open();
        while bench.segments().len() < 3 {
            append(&log, 0, 1, 3000).await;
        }
        log.close().await;
    }
    let foreign = &other.segments()[1];
    for name in [foreign.file_name().unwrap().to_str().unwrap(), "00000000000000000777.seg"] {
        let dir = bench.crash("mixed");
        fs::copy(foreign, dir.join(name)).unwrap();
        let error = bench.try_open(dir.clone()).expect_err("another log's segment");
        assert!(matches!(error, LogError::Halted { .. }), "{error}");
        assert_advises(&error.to_string(), &dir.join(name));
    }
}

/// Rule 10: a segment that is missing from the middle halts with advice, whatever the cursors say.
#[tokio::test]
async fn a_segment_missing_from_the_middle() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Now).await.unwrap();
    while bench.segments().len() < 4 {
        append(&log, 0, 1, 3000).await;
    }
    log.close().await;
    for missing in [1, 2] {
        let dir = bench.crash("hole");
        let segments = segments_in(&dir);
        fs::remove_file(&segments[missing]).unwrap();
        let error = bench.try_open(dir).expect_err("a hole");
        assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("missing")), "{error}");
        assert_advises(&error.to_string(), &segments[missing + 1]);
    }
}
