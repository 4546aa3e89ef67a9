//! A real file system without space: a tmpfs of 2 MiB, filled to its last byte. Mounting needs root (CAP_SYS_ADMIN);
//! without it these tests say that they were passed over.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    process::Command,
};

use super::*;
use crate::log::interface::From;

/// A small file system, unmounted when it is dropped.
struct Small {
    bench: Bench,
}

impl Small {
    /// `None`, with a word, where nothing may be mounted.
    fn mount() -> Option<Self> {
        let mut bench = Bench::new();
        bench.segment_bytes = 64 << 10;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "sync-agent-test"])
            .arg(bench.root.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { bench }),
            Ok(output) => {
                println!("passed over, cannot mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("passed over, cannot mount: {error}");
                None
            }
        }
    }

    /// Takes all space that is left, to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.bench.root.path().join("filling");
        let mut file = File::create(&path).unwrap();
        for size in [64 << 10, 4096, 1] {
            loop {
                match file.write(&vec![1; size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.bench.root.path()).status();
    }
}

/// Appends until there is no space for the next segment; returns the end.
async fn append_until_full(log: &EmbeddedLog, from: u64) -> u64 {
    for number in from.. {
        match log.append(request(number, 1, 3000)).await {
            Ok(_) => {}
            Err(AppendError::NoSpace { retry_after }) => {
                assert!(retry_after > Duration::ZERO);
                return number;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the disk is small")
}

/// G2, rule 11: a full disk is backpressure. Cursors are still written, from the reserve where nothing else is left;
/// they give segments back, and appending goes on by itself.
#[tokio::test]
async fn a_full_disk_is_backpressure() {
    let Some(small) = Small::mount() else { return };
    let bench = &small.bench;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    append_until_full(&log, 0).await;
    let filling = small.fill();
    let end = append_until_full(&log, log.status().end.offset).await;
    assert!(bench.dir().join("reserve").exists());
    // Within the oldest segment, so that nothing is given back for it.
    log.commit("search", &progress(1)).await.unwrap();
    assert!(!bench.dir().join("reserve").exists(), "the cursor was written from somewhere else");
    for next in 2..5 {
        log.commit("search", &progress(next)).await.unwrap();
    }
    assert_eq!(numbers(&read_all(&log, 0).await), (0..end).collect::<Vec<_>>());
    fs::remove_file(filling).unwrap();
    log.commit("search", &progress(end)).await.unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    while let Err(error) = log.append(request(end, 1, 3000)).await {
        assert!(matches!(error, AppendError::NoSpace { .. }), "{error}");
        assert!(std::time::Instant::now() < deadline);
    }
}

/// A start on a disk that is full to the last byte, with the reserve used up and a torn tail: everything is there, it
/// is read and delivered, appends are refused with a time to come back, and what is delivered makes room.
#[tokio::test]
async fn a_start_on_a_full_disk() {
    let Some(small) = Small::mount() else { return };
    let bench = &small.bench;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    append_until_full(&log, 0).await;
    let end = log.status().end.offset;
    log.commit("search", &progress(2)).await.unwrap();
    log.close().await;
    drop(log);
    fs::remove_file(bench.dir().join("reserve")).unwrap();
    small.fill();
    let (log, report) = bench.open();
    assert_eq!((report.end.offset, report.alerts.len()), (end, 0));
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!((found.progress, found.alert), (progress(2), None));
    assert_eq!(append_until_full(&log, end).await, end);
    assert_eq!(numbers(&read_all(&log, 2).await), (2..end).collect::<Vec<_>>());
    // There is no byte for a cursor: that is said, and poisons nothing.
    let error = log.commit("search", &progress(end)).await.unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(append_until_full(&log, end).await, end);
}
