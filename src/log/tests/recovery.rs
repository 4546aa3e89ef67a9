//! What recovery does with each kind of damage (rules 4 to 7, 10, 13 and the formats' versions).

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    sync::atomic::Ordering,
};

use super::*;
use crate::log::{frame, segment_header};

/// The end of the last frame in an unsealed segment.
fn data_end(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn flip(path: &Path, at: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at as u64).unwrap();
}

/// Three groups of one frame, then one group of three frames, made by hand: groups are otherwise a matter of timing.
/// Returns the places at which the frames of the last group begin and where it ends.
async fn log_with_groups(bench: &Bench) -> [usize; 4] {
    let (log, _) = bench.open();
    for number in 0..3 {
        append(&log, number, 2, 50).await;
    }
    log.close().await;
    write_group(bench, 6)
}

/// Writes a group of three frames behind the log's last one, as if the first record had the offset `offset`.
fn write_group(bench: &Bench, offset: u64) -> [usize; 4] {
    let path = bench.segments().pop().unwrap();
    let header = segment_header::decode(&fs::read(&path).unwrap()[..HEADER]).unwrap();
    let start = data_end(&path);
    let (mut group, mut places) = (Vec::new(), [start; 4]);
    for index in 0..3u64 {
        let stamp = frame::Stamp {
            offset: offset + index * 2,
            version: 2_000_000 + index * 2,
            time: Timestamp(2_000_000),
            group_delta: group.len() as u32,
            request_id: plugin_api::identity::RequestId(uuid::Uuid::from_u128(index.into())),
        };
        frame::encode(&mut group, header.nonce, &stamp, &request(3 + index, 2, 50));
        places[index as usize + 1] = start + group.len();
    }
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&group, start as u64).unwrap();
    places
}

/// G1, rules 5, 6 and 13: a write that was torn at any byte of the last group is cut at the last whole frame, without
/// losing an earlier one; the file is clean behind the cut and the log goes on with the next offset.
#[tokio::test]
async fn torn_tail_at_every_byte() {
    let bench = Bench::new();
    let places = log_with_groups(&bench).await;
    let original = fs::read(bench.segments().pop().unwrap()).unwrap();
    for cut in places[0]..places[3] {
        let dir = bench.crash("torn");
        let path = segments_in(&dir).pop().unwrap();
        let mut bytes = original.clone();
        bytes[cut..].fill(0);
        fs::write(&path, bytes).unwrap();
        let whole = (0..4).rev().find(|index| places[*index] <= cut).unwrap();
        let (log, report) = bench.try_open(dir.clone()).unwrap();
        assert_eq!(report.end.offset, 6 + 2 * whole as u64, "cut at {cut}");
        // Zeros that were written are not told from zeros that were not.
        assert!(report.torn_bytes <= (cut - places[whole]) as u64, "cut at {cut}");
        assert!(report.torn_bytes > 0 || cut - places[whole] < 4, "cut at {cut}");
        let appended = append(&log, 99, 1, 20).await;
        assert_eq!(appended.position.offset, 6 + 2 * whole as u64);
        let expected: Vec<u64> = (0..3 + whole as u64).chain([99]).collect();
        assert_eq!(numbers(&read_all(&log, 0).await), expected, "cut at {cut}");
        log.close().await;
        assert!(fs::read(&path).unwrap()[places[0]..].len() > 10_000, "the space is reserved again");
    }
}

/// G1, rule 6: sectors of a torn write reach the disk in any order: sound frames behind a broken one of the same group
/// are no rot, and all of them go.
#[tokio::test]
async fn torn_in_the_middle_of_the_last_group() {
    for damaged in 0..2 {
        let bench = Bench::new();
        let places = log_with_groups(&bench).await;
        let path = bench.segments().pop().unwrap();
        flip(&path, places[damaged] + 70);
        let (log, report) = bench.open();
        assert_eq!(report.end.offset, 6 + 2 * damaged as u64);
        assert_eq!(report.torn_bytes as usize, places[3] - places[damaged]);
        log.close().await;
        assert_eq!(data_end(&path), places[damaged], "nothing of it stays on disk");
    }
}

/// Rule 6: damage in an earlier group, with sound groups behind it, is rot: acknowledged data must not be cut.
#[tokio::test]
async fn rot_in_an_earlier_group_halts() {
    let bench = Bench::new();
    let places = log_with_groups(&bench).await;
    let path = bench.segments().pop().unwrap();
    let before = fs::read(&path).unwrap();
    for at in [HEADER, HEADER + 5, HEADER + 80, places[0] - 1] {
        fs::write(&path, &before).unwrap();
        flip(&path, at);
        let damaged = fs::read(&path).unwrap();
        let error = bench.try_open(bench.dir()).unwrap_err();
        assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("rotten")), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is cut");
    }
    fs::write(&path, &before).unwrap();
    assert_eq!(bench.open().1.end.offset, 12);
}

/// Rule 4: a page of an earlier group that reads as zeros is not taken for the end of the log.
#[tokio::test]
async fn zeros_before_a_later_group_halt() {
    let bench = Bench::new();
    let places = log_with_groups(&bench).await;
    let file = OpenOptions::new().write(true).open(bench.segments().pop().unwrap()).unwrap();
    file.write_all_at(&vec![0; places[0] - HEADER], HEADER as u64).unwrap();
    let error = bench.try_open(bench.dir()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("rotten")), "{error}");
}

/// Rule 4: the zeros that are reserved behind the last frame are the end, and nothing is reported.
#[tokio::test]
async fn zero_tail_is_the_end() {
    let bench = Bench::new();
    let (log, report) = bench.open();
    assert!(report.created && report.alerts.is_empty(), "{report:?}");
    append(&log, 1, 3, 100).await;
    let dir = bench.crash("killed");
    let (log, report) = bench.try_open(dir).unwrap();
    assert_eq!((report.torn_bytes, report.end.offset, report.created), (0, 3, false));
    assert_eq!(report.alerts, [""; 0]);
    assert_eq!(numbers(&read_all(&log, 0).await), [1]);
}

/// A sealed segment is damaged: opening scans none, the reader that needs it halts (rule 7), and others do not.
#[tokio::test]
async fn rot_in_a_sealed_segment_halts_its_readers() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut number = 0;
    while bench.segments().len() < 3 {
        append(&log, number, 1, 3000).await;
        number += 1;
    }
    log.close().await;
    drop(log);
    let segments = bench.segments();
    flip(&segments[1], HEADER + 100);
    let (log, report) = bench.open();
    assert_eq!(report.alerts, [""; 0]);
    let mut reader = log.read_from(position(0)).await.unwrap();
    let first = reader.next().await.unwrap();
    for _ in 0..2 {
        let error = reader.next().await.unwrap_err();
        let ReadError::Rotten { path, at, .. } = error else { panic!("{error}") };
        assert_eq!((path, at), (segments[1].clone(), HEADER as u64));
    }
    let third = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(numbers(&read_all(&log, third).await), (third..number).collect::<Vec<_>>());
    assert_eq!(numbers(&first), (0..first.len() as u64).collect::<Vec<_>>());
}

/// A footer only makes reading faster: with a rotten one everything is still read, and the operator hears of it.
#[tokio::test]
async fn rotten_footer() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut number = 0;
    while bench.segments().len() < 3 {
        append(&log, number, 1, 3000).await;
        number += 1;
    }
    log.close().await;
    drop(log);
    let first = bench.segments()[0].clone();
    flip(&first, fs::metadata(&first).unwrap().len() as usize - 30);
    let (log, report) = bench.open();
    assert_eq!(report.alerts.len(), 1, "{report:?}");
    assert_eq!(numbers(&read_all(&log, 2).await), (2..number).collect::<Vec<_>>());
}

/// Rule 10: a segment missing in the middle halts; missing at the start it is the log's start.
#[tokio::test]
async fn missing_segments() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut number = 0;
    while bench.segments().len() < 4 {
        append(&log, number, 1, 3000).await;
        number += 1;
    }
    log.close().await;
    for (missing, halts) in [(0, false), (1, true), (2, true)] {
        let dir = bench.crash("missing");
        let segments = segments_in(&dir);
        fs::remove_file(&segments[missing]).unwrap();
        match bench.try_open(dir) {
            Ok((log, report)) => {
                assert!(!halts, "segment {missing}");
                assert!(report.start.offset > 0);
                let error = log.read_from(position(0)).await.err().unwrap();
                let ReadError::BelowStart { start, .. } = error else { panic!() };
                assert_eq!(start, report.start);
            }
            Err(LogError::Halted { path, what }) => {
                assert!(halts && what.contains("missing"), "{what}");
                assert_eq!(path, segments[missing + 1]);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Another log's segment, and one of a newer format, are neither read nor overwritten.
#[tokio::test]
async fn foreign_and_newer_segments_halt() {
    let (bench, other) = (Bench::new(), Bench::new());
    for bench in [&bench, &other] {
        let (log, _) = bench.open();
        append(&log, 1, 1, 10).await;
        log.close().await;
    }
    let path = bench.segments().pop().unwrap();
    let own = fs::read(&path).unwrap();
    fs::copy(other.segments().pop().unwrap(), &path).unwrap();
    let error = bench.try_open(bench.dir()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("of log")), "{error}");

    let mut newer = own.clone();
    newer[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&newer[..12]), &newer[16..HEADER]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &newer).unwrap();
    let error = bench.try_open(bench.dir()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("format 2")), "{error}");
    assert_eq!(fs::read(&path).unwrap(), newer);
}

/// A sound frame that only a newer version understands is never cut, though it is the last one.
#[tokio::test]
async fn newer_frame_at_the_end_halts() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    append(&log, 1, 1, 10).await;
    log.close().await;
    drop(log);
    let path = bench.segments().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let header = segment_header::decode(&bytes[..HEADER]).unwrap();
    let end = data_end(&path);
    bytes[HEADER + 13] = 7;
    let checksum = crc32c::crc32c(&header.nonce.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &bytes[HEADER..HEADER + 8]);
    let checksum = crc32c::crc32c_append(checksum, &bytes[HEADER + 12..end]);
    bytes[HEADER + 8..HEADER + 12].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = bench.try_open(bench.dir()).unwrap_err();
    assert!(matches!(&error, LogError::Halted { what, .. } if what.contains("codec 7")), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// A sound frame whose offset is not the next one is no torn write: offsets are dense, so something is missing, and
/// nothing is cut.
#[tokio::test]
async fn offsets_that_are_not_dense_halt() {
    for offset in [0, 1, 3] {
        let bench = Bench::new();
        let (log, _) = bench.open();
        append(&log, 1, 2, 50).await;
        log.close().await;
        drop(log);
        write_group(&bench, offset);
        let path = bench.segments().pop().unwrap();
        let before = fs::read(&path).unwrap();
        let error = bench.try_open(bench.dir()).unwrap_err();
        assert!(
            matches!(&error, LogError::Halted { what, .. } if what.contains("where 2 is due")),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

/// G1: a second agent on the directory is refused with words that help, and the first one goes on.
#[tokio::test]
async fn second_agent_is_refused() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let error = bench.try_open(bench.dir()).unwrap_err();
    let LogError::Halted { path, what } = error else { panic!("{error}") };
    assert!(path.ends_with("lock") && what.contains("another agent") && what.contains("data.dir"), "{what}");
    append(&log, 1, 1, 10).await;
    log.close().await;
    drop(log);
    assert_eq!(bench.open().1.end.offset, 1);
}

/// Offsets and versions go on after a restart, also when the clock was set back; the report says by how much versions
/// are ahead.
#[tokio::test]
async fn reopened_log_goes_on() {
    let bench = Bench::new();
    bench.clock.0.store(50_000_000, Ordering::SeqCst);
    let (log, _) = bench.open();
    let first = append(&log, 0, 10, 100).await;
    assert_eq!((first.position.offset, first.version.0), (0, 50_000_000));
    let second = append(&log, 1, 1, 100).await;
    assert_eq!((second.position.offset, second.version.0), (10, 50_000_010));
    log.close().await;
    drop(log);
    bench.clock.0.store(20_000_000, Ordering::SeqCst);
    let (log, report) = bench.open();
    assert_eq!(report.versions_ahead, Duration::from_micros(30_000_010));
    assert_eq!((report.end.offset, report.created), (11, false));
    let third = append(&log, 2, 1, 100).await;
    assert_eq!((third.position.offset, third.version.0), (11, 50_000_011));
    bench.clock.0.store(90_000_000, Ordering::SeqCst);
    assert_eq!(append(&log, 3, 1, 100).await.version.0, 90_000_000);
    let frames = read_all(&log, 0).await;
    assert_eq!(frames[2].accepted_at, Timestamp(20_000_000));
    assert_eq!(frames[2].log_id, report.log_id);
}

/// Versions also go on when the newest segment is still empty: its header has the last one.
#[tokio::test]
async fn versions_survive_in_an_empty_segment() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut last = append(&log, 0, 1, 3000).await;
    while bench.segments().len() < 2 {
        last = append(&log, 1, 1, 3000).await;
    }
    log.close().await;
    drop(log);
    // As if the crash had come between the new segment and its first frame.
    let newest = File::options().write(true).open(bench.segments().pop().unwrap()).unwrap();
    newest.set_len(HEADER as u64).unwrap();
    bench.clock.0.store(1, Ordering::SeqCst);
    let (log, report) = bench.open();
    assert_eq!(report.end, last.position);
    let next = append(&log, 2, 1, 10).await;
    assert_eq!((next.position, next.version), (last.position, last.version));
}

/// Directories are 0700 and files 0600.
#[tokio::test]
async fn permissions() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", Default::default()).await.unwrap();
    append(&log, 0, 1, 10).await;
    let mut pending = vec![bench.root.path().join("logs")];
    let mut files = 0;
    while let Some(path) = pending.pop() {
        let metadata = fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert_eq!(files, 7, "lock, identity, key, reserve, destinations, cursor, segment");
}

/// A damaged identity halts, a lost key is replaced with an alert, and segments without an identity are not taken for
/// a new log.
#[tokio::test]
async fn identity_and_key() {
    let bench = Bench::new();
    let (log, first) = bench.open();
    append(&log, 0, 1, 10).await;
    log.close().await;
    drop(log);
    fs::remove_file(bench.dir().join("request-id.key")).unwrap();
    let (log, report) = bench.open();
    assert_eq!((report.log_id, report.alerts.len()), (first.log_id, 1));
    drop(log);
    let identity = bench.dir().join("identity");
    let bytes = fs::read(&identity).unwrap();
    let dir = bench.crash("identity");
    flip(&dir.join("identity"), 20);
    assert!(matches!(bench.try_open(dir.clone()), Err(LogError::Halted { .. })));
    fs::remove_file(dir.join("identity")).unwrap();
    assert!(matches!(bench.try_open(dir.clone()), Err(LogError::Halted { .. })));
    fs::write(dir.join("identity"), bytes).unwrap();
    assert_eq!(bench.try_open(dir).unwrap().1.log_id, first.log_id);
}
