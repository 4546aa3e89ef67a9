//! Every call that changes the disk, in every change that the log makes, fails once: with EIO and with ENOSPC. What is
//! demanded: errors of writes and syncs poison (rule 2), ENOSPC before anything is changed is backpressure (rule 11), a
//! cursor that could not be begun is that commit's error alone; and after a restart all that was acknowledged is there,
//! and the log goes on without an alert.

use rustix::io::Errno;

use super::{super::faulty::Call, *};
use crate::log::interface::From;

const ERRORS: [Errno; 2] = [Errno::IO, Errno::NOSPC];

/// More calls than any change makes.
const CALLS_MAX: usize = 100;

fn is_change(call: Call, _: &Path) -> bool {
    call.changes()
}

/// A log that was used for a while: a sealed segment, one that has room for a small frame only, and a destination at
/// 1.
async fn used(bench: &Bench) -> (EmbeddedLog, u64) {
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut end = 0;
    while bench.segments().len() < 2 {
        append(&log, end, 1, 3000).await;
        end += 1;
    }
    for _ in 0..2 {
        append(&log, end, 1, 3000).await;
        end += 1;
    }
    log.commit("search", &progress(1)).await.unwrap();
    (log, end)
}

/// Restarts: what was acknowledged is there, perhaps with one request beside it, `in_doubt`; the destination is where
/// one of `cursors` is, and everything goes on.
async fn restart(bench: &Bench, log: EmbeddedLog, end: u64, in_doubt: bool, cursors: &[u64]) {
    bench.disk.heal();
    log.close().await;
    drop(log);
    let (log, report) = bench.open();
    assert_eq!(report.alerts, [""; 0]);
    let found = report.end.offset;
    assert!(found == end || in_doubt && found == end + 1, "ends at {found}, acknowledged were {end}");
    let start = report.start.offset;
    assert_eq!(numbers(&read_all(&log, start).await), (start..found).collect::<Vec<_>>());
    let subscription = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!(subscription.alert, None);
    let cursor = subscription.progress.next.offset;
    assert!(cursors.contains(&cursor) && start <= cursor, "cursor at {cursor}, start at {start}");
    for number in found..found + 6 {
        append(&log, number, 1, 3000).await;
    }
    // By now more may have been given back.
    let start = log.status().start.offset;
    assert_eq!(numbers(&read_all(&log, start).await), (start..found + 6).collect::<Vec<_>>());
}

/// Creation: it fails and names the path, or only warns that no space is reserved; the next start finds a new log.
#[tokio::test]
async fn creation() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let opened = bench.try_open(bench.dir());
            let Some((call, path)) = struck.get() else {
                assert!(nth > 15, "so many calls make a log: {nth}");
                break;
            };
            bench.disk.heal();
            match opened {
                Ok((log, _)) => {
                    assert!(path.ends_with("reserve"), "{call:?} of {}", path.display());
                    append(&log, 0, 1, 10).await;
                    log.close().await;
                }
                Err(error @ LogError::Io { .. }) => {
                    assert!(error.to_string().contains("default"), "no path: {error}");
                }
                Err(error) => panic!("{error}"),
            }
            let (log, report) = bench.open();
            assert_eq!(report.alerts, [""; 0], "{call:?} of {}", path.display());
            append(&log, report.end.offset, 1, 10).await;
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// Rolling: ENOSPC while space is reserved is backpressure with a time to come back, and ends by itself; anything else
/// poisons.
#[tokio::test]
async fn rolling() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, mut end) = used(&bench).await;
            let segments = bench.segments().len();
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let answer = log.append(request(end, 1, 3000)).await;
            let Some((call, path)) = struck.get() else {
                assert!(answer.is_ok() && bench.segments().len() == segments + 1 && nth > 8, "{nth} calls");
                break;
            };
            let what = format!("{call:?} of {}: {answer:?}", path.display());
            let reserves = matches!(call, Call::Create | Call::Allocate);
            let in_doubt = match answer {
                Err(AppendError::NoSpace { retry_after }) => {
                    assert!(reserves && errno == Errno::NOSPC && retry_after > Duration::ZERO, "{what}");
                    assert_eq!(bench.segments().len(), segments, "{what}");
                    end += until_accepted(&log, end).await;
                    false
                }
                Err(AppendError::Poisoned { cause }) => {
                    assert!(!(reserves && errno == Errno::NOSPC), "{what}");
                    assert_advises(&AppendError::Poisoned { cause }.to_string(), &bench.dir());
                    true
                }
                // It gave back what it could and asked again.
                Ok(_) => {
                    assert!(reserves && errno == Errno::NOSPC, "{what}");
                    end += 1;
                    false
                }
                Err(error) => panic!("{what}, {error}"),
            };
            restart(&bench, log, end, in_doubt, &[1]).await;
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// Comes back until the request is accepted; returns how many records that are.
async fn until_accepted(log: &EmbeddedLog, number: u64) -> u64 {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        match log.append(request(number, 1, 3000)).await {
            Ok(_) => return 1,
            Err(AppendError::NoSpace { .. }) => assert!(std::time::Instant::now() < deadline),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A write group: an error of its write or its sync poisons, ENOSPC included.
#[tokio::test]
async fn appending() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, end) = used(&bench).await;
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let answer = log.append(request(end, 1, 10)).await;
            if struck.get().is_none() {
                assert!(answer.is_ok());
                assert_eq!(nth, 2, "one write, one sync");
                break;
            }
            assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
            bench.disk.heal();
            let again = log.append(request(end, 1, 10)).await;
            assert!(matches!(again, Err(AppendError::Poisoned { .. })), "{again:?}");
            restart(&bench, log, end, true, &[1]).await;
        }
    }
}

/// A cursor: before its sync an error is that commit's alone, and on a full disk the reserve makes up for it; from the
/// sync on it poisons.
#[tokio::test]
async fn committing() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, end) = used(&bench).await;
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let committed = log.commit("search", &progress(2)).await;
            let Some((call, path)) = struck.get() else {
                assert!(committed.is_ok());
                assert_eq!(nth, 5, "create, write, sync, rename, sync of the directory");
                break;
            };
            let what = format!("{call:?} of {}: {committed:?}", path.display());
            bench.disk.heal();
            let (end, cursors) = match (call, errno) {
                (Call::Create | Call::Write, Errno::NOSPC) => {
                    assert!(committed.is_ok(), "{what}");
                    assert!(!bench.dir().join("reserve").exists(), "{what}");
                    (end, vec![2])
                }
                (Call::Create | Call::Write, _) => {
                    assert!(matches!(committed, Err(LogError::Io { .. })), "{what}");
                    append(&log, end, 1, 10).await;
                    log.commit("search", &progress(4)).await.unwrap();
                    (end + 1, vec![4])
                }
                _ => {
                    assert!(matches!(committed, Err(LogError::Io { .. })), "{what}");
                    let answer = log.append(request(end, 1, 10)).await;
                    assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{what}, {answer:?}");
                    (end, vec![1, 2])
                }
            };
            restart(&bench, log, end, false, &cursors).await;
        }
    }
}

/// The first subscription, tried again in the same process after any failure: once it is answered the destination is
/// listed for good, and goes on at its cursor after a restart, never at the newest position.
#[tokio::test]
async fn subscribing() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, _) = bench.open();
            append(&log, 0, 4, 10).await;
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let first = log.subscribe("search", From::Oldest).await;
            let Some((call, path)) = struck.get() else {
                assert_eq!(nth, 10, "a cursor and the list, five calls each");
                break;
            };
            let what = format!("{call:?} of {}: {first:?}", path.display());
            bench.disk.heal();
            log.subscribe("search", From::Oldest).await.unwrap();
            log.commit("search", &progress(1)).await.unwrap();
            log.close().await;
            drop(log);
            let (log, report) = bench.open();
            assert_eq!((report.end.offset, report.alerts.len()), (4, 0), "{what}");
            let found = log.subscribe("search", From::Now).await.unwrap();
            assert_eq!((found.progress, found.alert), (progress(1), None), "{what}");
        }
    }
}

/// Giving segments back: a removal that fails poisons, since what is there is not certain; nothing is lost by it.
#[tokio::test]
async fn giving_back() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, mut end) = used(&bench).await;
            while bench.segments().len() < 4 {
                append(&log, end, 1, 3000).await;
                end += 1;
            }
            let counts = |call, path: &Path| {
                call == Call::Remove || call == Call::SyncDirectory && !path.ends_with("cursors")
            };
            let struck = bench.disk.fail_nth(nth, errno, counts);
            let committed = log.commit("search", &progress(end)).await;
            let Some((call, path)) = struck.get() else {
                assert!(committed.is_ok() && nth >= 6 && bench.segments().len() == 1, "{nth} calls");
                break;
            };
            let what = format!("{call:?} of {}: {committed:?}", path.display());
            assert!(committed.is_ok(), "the cursor itself is durable: {what}");
            let answer = log.append(request(end, 1, 10)).await;
            assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{what}, {answer:?}");
            restart(&bench, log, end, false, &[end]).await;
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// Rule 10: behind a removal that failed no other segment goes, though its cursor is persisted: it would leave a hole,
/// and the log would not open any more.
#[tokio::test]
async fn giving_back_ends_with_the_first_failure() {
    let bench = Bench::new();
    let (log, mut end) = used(&bench).await;
    while bench.segments().len() < 4 {
        append(&log, end, 1, 3000).await;
        end += 1;
    }
    let second: u64 = bench.segments()[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let struck = bench.disk.fail_nth(0, Errno::IO, |call, _| call == Call::Remove);
    log.commit("search", &progress(second)).await.unwrap();
    assert_eq!(struck.get().unwrap().1, bench.segments()[0]);
    bench.disk.heal();
    log.commit("search", &progress(end)).await.unwrap();
    assert_eq!(bench.segments().len(), 4);
    restart(&bench, log, end, false, &[end]).await;
}

/// Opening after a crash, with a torn tail to cut and a half-made file to remove: it fails with the path, or goes
/// without what it could not reserve; the next start finds everything.
#[tokio::test]
async fn opening() {
    for errno in ERRORS {
        for nth in 0..=CALLS_MAX {
            let bench = Bench::new();
            let (log, end) = used(&bench).await;
            let crashed = bench.crash("crashed");
            log.close().await;
            drop(log);
            fs::remove_dir_all(bench.dir()).unwrap();
            copy_directory(&crashed, &bench.dir());
            fs::write(bench.dir().join("00000000000000000099.seg.tmp"), [1; 100]).unwrap();
            tear(&bench.segments().pop().unwrap());
            let struck = bench.disk.fail_nth(nth, errno, is_change);
            let opened = bench.try_open(bench.dir());
            let Some((call, path)) = struck.get() else {
                assert!(opened.is_ok_and(|(_, report)| report.torn_bytes == 500 && report.end.offset == end));
                assert!(nth > 7, "{nth} calls");
                break;
            };
            let what = format!("{call:?} of {}", path.display());
            let log = match opened {
                Ok((log, _)) => {
                    let is_reserve =
                        path.ends_with("reserve") || errno == Errno::NOSPC && call == Call::Allocate;
                    assert!(is_reserve, "{what}");
                    log
                }
                Err(error) => {
                    assert!(matches!(error, LogError::Io { .. }), "{what}: {error}");
                    assert!(error.to_string().contains("default"), "{what}: {error}");
                    bench.disk.heal();
                    bench.open().0
                }
            };
            restart(&bench, log, end, false, &[1]).await;
            assert_ne!(nth, CALLS_MAX);
        }
    }
}

/// Puts 500 bytes that are no frame behind the last frame.
fn tear(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[end..end + 500].fill(0xAB);
    fs::write(segment, bytes).unwrap();
}
