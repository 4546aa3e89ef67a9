//! The file destination on real files: what is on disk after a verdict, a restart, an error, a dropped call.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    fs,
    future::Future as _,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use plugin_api::{
    destination::Destination as _,
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
    verdict::{Verdict, WriteError},
};
use plugin_file::{File, Settings};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

fn operation(index: &str, offset: u64) -> Operation {
    Operation {
        action: Action::Save,
        key: Key { index: index.into(), object_id: format!("object-{offset}").into() },
        body: Bytes::from_static(br#"{"name":"Anvil","price":12.5}"#),
        version: Version(1_795_446_000_000_000 + offset),
        record_index: index.into(),
        origin: None,
        source: Source {
            log_id: LogId(Uuid::from_u128(1)),
            position: Position { partition: 0, offset },
            number: 0,
            request_id: RequestId(Uuid::from_u128(2)),
            accepted_at: Timestamp(1_795_446_000_000_000),
            caller: None,
        },
    }
}

/// One operation of this index for each offset.
fn batch(index: &str, offsets: std::ops::Range<u64>) -> Batch {
    offsets.map(|offset| operation(index, offset)).collect()
}

/// The offsets of a file's lines; every line must be whole and of the given index.
fn offsets(path: &Path, index: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a partial last line in {}", path.display());
    let offset = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["index"], index);
        line["position"]["offset"].as_u64().unwrap()
    };
    text.lines().map(offset).collect()
}

/// The rotated files of an index, oldest first.
fn rotated(dir: &TempDir, index: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let prefix = format!("{index}.2");
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix)).collect();
    files.sort();
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Two indexes in one batch: each in its own file, in order, with a verdict for every operation (G3, G4), readable
/// for the owner only (G10).
#[tokio::test]
async fn writes_each_index_to_its_file_in_order() {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("deep/er");
    let file = File::new(Settings::new(&inner));
    let mixed: Batch =
        (0..100).map(|offset| operation(if offset % 3 == 0 { "a" } else { "b/b" }, offset)).collect();

    let written = file.write(&mixed).await.unwrap();

    assert_eq!(written.verdicts, vec![Verdict::Written; 100]);
    assert_eq!(offsets(&inner.join("a.ndjson"), "a"), (0..100).filter(|n| n % 3 == 0).collect::<Vec<_>>());
    assert_eq!(
        offsets(&inner.join("b%2Fb.ndjson"), "b/b"),
        (0..100).filter(|n| n % 3 != 0).collect::<Vec<_>>()
    );
    assert_eq!((mode(&inner), mode(&inner.join("a.ndjson"))), (0o700, 0o600));
    assert_eq!(mode(&dir.path().join("deep")), 0o700);
}

/// A crash left half a line, or a hole that the file system filled with zeros: what was confirmed stays, the rest is
/// cut before the next line is written (G1 for what was confirmed, G6 for the line that follows).
#[tokio::test]
async fn cuts_what_a_crash_left_of_the_last_line() {
    let hole = [&b"{\"action\":\"save\""[..], &[0; 9000], b"\"}\n{\"action\":\"save\"}\n"].concat();
    for rest in [&b"{"[..], b"{\"action\":\"save\",\"index\"", &[0; 5000], &hole] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.ndjson");
        File::new(Settings::new(dir.path())).write(&batch("a", 0..3)).await.unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(rest).unwrap();

        File::new(Settings::new(dir.path())).write(&batch("a", 3..5)).await.unwrap();

        assert_eq!(offsets(&path, "a"), [0, 1, 2, 3, 4]);
    }
}

/// A file that is nothing but a partial line, and one line that is longer than what recovery reads at a time.
#[tokio::test]
async fn cuts_a_partial_first_line_and_finds_the_end_behind_a_huge_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.ndjson");
    fs::write(&path, vec![b'x'; 40 * 1024 * 1024]).unwrap();
    File::new(Settings::new(dir.path())).write(&batch("a", 0..2)).await.unwrap();
    assert_eq!(offsets(&path, "a"), [0, 1]);

    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&vec![b'x'; 40 * 1024 * 1024])
        .unwrap();
    File::new(Settings::new(dir.path())).write(&batch("a", 2..3)).await.unwrap();
    assert_eq!(offsets(&path, "a"), [0, 1, 2]);
}

/// Rotation by size: no file grows past the limit, none is overwritten though many are rotated within one
/// millisecond, and together they hold everything in order.
#[tokio::test]
async fn rotates_by_size_and_keeps_everything() {
    let dir = TempDir::new().unwrap();
    let file = File::new(Settings { rotate_bytes: 2000, ..Settings::new(dir.path()) });
    for first in (0..200).step_by(4) {
        file.write(&batch("a", first..first + 4)).await.unwrap();
    }
    let mut files = rotated(&dir, "a");
    assert!(files.len() > 20, "only {} rotated files", files.len());
    files.push(dir.path().join("a.ndjson"));
    assert!(files.iter().all(|path| fs::metadata(path).unwrap().len() <= 2000));
    let all: Vec<u64> = files.iter().flat_map(|path| offsets(path, "a")).collect();
    assert_eq!(all, (0..200).collect::<Vec<_>>());
}

/// Rotation by age, also of a file from before a restart; an empty file is never rotated.
#[tokio::test]
async fn rotates_by_age() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { rotate_age: Duration::ZERO, ..Settings::new(dir.path()) };
    File::new(settings.clone()).write(&batch("a", 0..2)).await.unwrap();
    assert_eq!(rotated(&dir, "a").len(), 0);
    File::new(settings).write(&batch("a", 2..4)).await.unwrap();
    assert_eq!(rotated(&dir, "a").len(), 1);
    assert_eq!(offsets(&rotated(&dir, "a")[0], "a"), [0, 1]);
    assert_eq!(offsets(&dir.path().join("a.ndjson"), "a"), [2, 3]);
}

/// More indexes than files may be open: all are written, again and again, with few descriptors (G9).
#[tokio::test]
async fn open_files_are_bounded() {
    let dir = TempDir::new().unwrap();
    let file = File::new(Settings { open_files_max: 3, ..Settings::new(dir.path()) });
    let indexes: Vec<String> = (0..20).map(|number| format!("index-{number}")).collect();
    for round in 0..5 {
        let mixed: Batch = indexes.iter().map(|index| operation(index, round)).collect();
        file.write(&mixed).await.unwrap();
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            fs::read_link(entry.unwrap().path()).ok().filter(|path| path.starts_with(dir.path()))
        });
        let open = descriptors.filter(|path| path.extension().is_some_and(|kind| kind == "ndjson")).count();
        assert_eq!(open, 3);
    }
    for index in &indexes {
        assert_eq!(offsets(&dir.path().join(format!("{index}.ndjson")), index), [0, 1, 2, 3, 4]);
    }
}

/// A call dropped after it began, followed at once by the next one: its lines are there whole and before the next
/// one's, or not at all; never between or after them (G4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_neither_tears_nor_reorders() {
    let dir = TempDir::new().unwrap();
    let file = File::new(Settings::new(dir.path()));
    for round in 0..100 {
        let first = round * 1000;
        let dropped = batch("a", first..first + 500);
        {
            // Polled once, so that its blocking call is on its way, then dropped (or done already, on a busy machine).
            let mut write = pin!(file.write(&dropped));
            let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        if round % 2 == 0 {
            // A second one, dropped while it (most likely) waits for its turn: it must not run later.
            let waiting = batch("a", first + 600..first + 601);
            let mut write = pin!(file.write(&waiting));
            let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        file.write(&batch("a", first + 700..first + 710)).await.unwrap();
    }
    let lines = offsets(&dir.path().join("a.ndjson"), "a");
    assert!(lines.is_sorted_by(|one, next| one < next), "lines are out of order");
    for round in 0..100_u64 {
        let of_dropped =
            lines.iter().filter(|offset| (round * 1000..round * 1000 + 500).contains(*offset)).count();
        assert!(of_dropped == 0 || of_dropped == 500, "{of_dropped} of 500 lines");
    }
}

/// A full disk (`/dev/full` answers every write with ENOSPC) makes the destination unavailable; nothing is rejected,
/// and the same batch goes through once there is room (G3, G5).
#[tokio::test]
async fn a_full_disk_is_unavailable_and_heals() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.ndjson");
    let file = File::new(Settings::new(dir.path()));
    symlink("/dev/full", &path).unwrap();

    for _ in 0..2 {
        let error = file.write(&batch("a", 0..2)).await.unwrap_err();
        assert!(matches!(&error, WriteError::Unavailable { retry_after: None, .. }), "{error:?}");
        assert!(error.to_string().contains("a.ndjson"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    file.write(&batch("a", 0..2)).await.unwrap();
    assert_eq!(offsets(&path, "a"), [0, 1]);
}

/// One index of a batch fails, another's lines were written already: they count as not written, also when batches of
/// other indexes succeed in between, and are cut before the batch comes again (G3).
#[tokio::test]
async fn a_failed_batch_leaves_nothing_that_counts() {
    let dir = TempDir::new().unwrap();
    let file = File::new(Settings::new(dir.path()));
    file.write(&batch("a", 0..1)).await.unwrap();
    symlink("/dev/full", dir.path().join("b.ndjson")).unwrap();
    let mixed: Batch = [operation("a", 1), operation("b", 2)].into_iter().collect();

    assert!(file.write(&mixed).await.is_err());
    file.write(&batch("c", 3..4)).await.unwrap();
    fs::remove_file(dir.path().join("b.ndjson")).unwrap();
    file.write(&mixed).await.unwrap();

    assert_eq!(offsets(&dir.path().join("a.ndjson"), "a"), [0, 1]);
    assert_eq!(offsets(&dir.path().join("b.ndjson"), "b"), [2]);
}

/// The directory cannot be made: probes and writes say so, and go through once it can.
#[tokio::test]
async fn probes_until_the_directory_can_be_made() {
    let dir = TempDir::new().unwrap();
    let blocker = dir.path().join("blocker");
    fs::write(&blocker, "").unwrap();
    let file = File::new(Settings::new(blocker.join("out")));

    assert!(matches!(file.probe().await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(file.write(&batch("a", 0..1)).await, Err(WriteError::Unavailable { .. })));
    fs::remove_file(&blocker).unwrap();
    file.probe().await.unwrap();
    let entries: Vec<_> =
        fs::read_dir(blocker.join("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(entries, [".lock"], "a probe leaves nothing behind");
    file.write(&batch("a", 0..1)).await.unwrap();
}

/// Two destinations on one directory would cut each other's lines: the second waits until the first is gone.
#[tokio::test]
async fn the_directory_has_one_owner() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (File::new(Settings::new(dir.path())), File::new(Settings::new(dir.path())));
    first.write(&batch("a", 0..1)).await.unwrap();
    assert!(matches!(second.probe().await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(second.write(&batch("a", 1..2)).await, Err(WriteError::Unavailable { .. })));
    drop(first);
    second.write(&batch("a", 1..2)).await.unwrap();
    assert_eq!(offsets(&dir.path().join("a.ndjson"), "a"), [0, 1]);
}

/// An operator moves a file or the whole directory away while the agent runs: what was written stays there, what
/// comes next is written where readers look for it, not into the file that has gone (G3).
#[tokio::test]
async fn notices_when_its_files_are_moved_away() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let (path, file) = (out.join("a.ndjson"), File::new(Settings::new(&out)));
    file.write(&batch("a", 0..1)).await.unwrap();

    fs::rename(&path, out.join("taken.ndjson")).unwrap();
    file.write(&batch("a", 1..2)).await.unwrap();
    assert_eq!(offsets(&out.join("taken.ndjson"), "a"), [0]);
    assert_eq!(offsets(&path, "a"), [1]);

    fs::rename(&out, dir.path().join("old")).unwrap();
    file.write(&batch("a", 2..3)).await.unwrap();
    assert_eq!(offsets(&dir.path().join("old/a.ndjson"), "a"), [1]);
    assert_eq!(offsets(&path, "a"), [2]);

    fs::rename(&path, out.join("taken.ndjson")).unwrap();
    fs::write(&path, "").unwrap();
    file.write(&batch("a", 3..4)).await.unwrap();
    assert_eq!(offsets(&path, "a"), [3]);

    fs::rename(&out, dir.path().join("older")).unwrap();
    fs::create_dir(&out).unwrap();
    file.write(&batch("b", 4..5)).await.unwrap();
    assert!(out.join(".lock").exists(), "the new directory is locked as the old one was");
    assert_eq!(offsets(&out.join("b.ndjson"), "b"), [4]);
}
