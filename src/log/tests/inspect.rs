//! What is seen of a stopped log: every kind of damage is found, told for what it is, and left as it lies.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use plugin_api::{identity::RequestId, operation::Action};
use uuid::Uuid;

use super::{
    faulty::{Call, Faulty},
    *,
};
use crate::{
    log::{
        frame,
        inspect::{Dumped, Finding, Severity, Source, Start, StoppedLog},
        interface::{From, Idempotency, WhenFull},
        segment,
        segment_footer::{self, Footer},
        segment_header,
    },
    record::PayloadWriter,
};

/// A request that a feed could read, with two records.
pub(super) fn save(number: u64, bytes: usize) -> Append {
    let mut payload =
        PayloadWriter::new(Action::Save, if number.is_multiple_of(3) { "offers" } else { "products" }, 64);
    for id in ["a", "b"] {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(
                format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(bytes)).as_bytes(),
            );
            Ok::<_, ()>(())
        };
        payload.record(id, write).unwrap();
    }
    let caller = number.is_multiple_of(2).then(|| "shop".into());
    let idempotency = caller.is_some().then(|| Idempotency { key: format!("key {number}"), digest: [7; 32] });
    Append {
        records: 2,
        payload: payload.into_bytes(),
        attributes: Attributes { caller, idempotency, ..Attributes::default() },
    }
}

/// Three segments, the newest one unsealed, with the cursor of `search` at 0:2. The clock runs a second a request.
pub(super) async fn stopped() -> Bench {
    let bench = Bench::new();
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut number = 0;
    while bench.segments().len() < 3 {
        bench.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
        log.append(save(number, 600)).await.unwrap();
        number += 1;
    }
    for more in number..number + 2 {
        log.append(save(more, 100)).await.unwrap();
    }
    log.commit("search", &progress(2)).await.unwrap();
    log.close().await;
    bench
}

/// A disk that refuses whatever would change it.
fn read_only() -> Arc<Faulty> {
    let disk = Faulty::new();
    disk.set(|call, path| match call {
        Call::List | Call::Lock | Call::Open | Call::Size | Call::Read => Ok(()),
        _ => panic!("{call:?} of {}", path.display()),
    });
    Arc::new(disk)
}

pub(super) fn look(dir: &Path) -> StoppedLog {
    StoppedLog::open_on(read_only(), dir).unwrap()
}

pub(super) fn findings(dir: &Path) -> Vec<Finding> {
    let log = look(dir);
    let mut read = 0;
    let verified = log.verify(&mut |bytes| read += bytes);
    assert_eq!(read, verified.bytes, "every byte counts as read once");
    verified.findings
}

pub(super) fn only(dir: &Path) -> Finding {
    let mut found = findings(dir);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn change(path: &Path, at: u64, change: impl FnOnce(u8) -> u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[change(byte[0])], at).unwrap();
}

pub(super) fn flip(path: &Path, at: u64) {
    change(path, at, |byte| byte ^ 0x10);
}

/// The bytes at which the frames of a segment begin, and where they end.
pub(super) fn places(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let mut places = vec![HEADER as u64];
    while let Ok(length) = frame::claimed_length(&bytes[*places.last().unwrap() as usize..]) {
        places.push(places.last().unwrap() + length as u64);
    }
    places
}

pub(super) fn footer_of(path: &Path) -> (u64, Footer) {
    let bytes = fs::read(path).unwrap();
    let header = segment_header::decode(&bytes[..HEADER]).unwrap();
    let trailer = &bytes[bytes.len() - segment_footer::TRAILER_BYTES..];
    let at = segment_footer::decode_trailer(trailer, bytes.len() as u64).unwrap().at;
    (at, segment_footer::decode(header.nonce, &bytes[at as usize..]).unwrap())
}

/// A log that was closed, and one that was killed, are sound; whoever looks changes no byte and makes no file.
#[tokio::test]
async fn a_sound_log_is_sound() {
    let bench = stopped().await;
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(bench.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let log = look(&bench.dir());
    let verified = log.verify(&mut |_| {});
    assert_eq!(verified.findings, []);
    assert_eq!((verified.segments, verified.start, verified.records), (3, position(0), verified.end.offset));
    assert_eq!(verified.records, verified.frames * 2);
    drop(log);
    assert_eq!(names(), before);

    let (log, _) = bench.open();
    log.append(save(99, 10)).await.unwrap();
    assert_eq!(findings(&bench.crash("killed")), []);
    log.close().await;
}

/// The log of an agent that runs is not looked at, nor is what is no log; nothing is made in its place.
#[tokio::test]
async fn only_a_stopped_log_is_opened() {
    let bench = stopped().await;
    let refused = |dir: &Path| match StoppedLog::open(dir) {
        Err(LogError::Halted { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let (log, _) = bench.open();
    assert!(refused(&bench.dir()).contains("stop it"));
    log.close().await;
    drop(log);
    let looking = look(&bench.dir());
    assert!(bench.try_open(bench.dir()).is_err(), "no agent starts meanwhile");
    drop(looking);
    let missing = bench.root.path().join("missing");
    assert!(refused(&missing).contains("--data-dir") && !missing.exists());
    fs::create_dir(&missing).unwrap();
    assert!(refused(&missing).contains("no agent has used"));
    assert_eq!(fs::read_dir(&missing).unwrap().count(), 0);
    // A copy without the lock's file is looked at, and gets none.
    let copy = bench.crash("copy");
    fs::remove_file(copy.join("lock")).unwrap();
    assert_eq!(findings(&copy), []);
    assert!(!copy.join("lock").exists());
}

/// Every byte of a sealed segment counts: wherever one is wrong, it is found, and told where it is.
#[tokio::test]
async fn every_byte_is_looked_at() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let sound = fs::read(&path).unwrap();
    let (footer_at, footer) = footer_of(&path);
    let (keys_at, places) = (footer.frames_end(), places(&path));
    assert!(keys_at < footer_at, "there must be keys, too");
    for at in (0..sound.len() as u64).step_by(61).chain(keys_at..sound.len() as u64) {
        fs::write(&path, &sound).unwrap();
        flip(&path, at);
        let found = only(&bench.dir());
        assert_eq!(found.path, path, "byte {at}");
        let (severity, place) = if at < HEADER as u64 {
            (Severity::Grave, Some(0))
        } else if (keys_at..footer_at).contains(&at) {
            (Severity::Harmless, Some(keys_at))
        } else if at < footer_at {
            (Severity::Grave, places.iter().rev().find(|place| **place <= at).copied())
        } else {
            (Severity::Harmless, None)
        };
        assert_eq!((found.severity, found.at), (severity, place), "byte {at}: {found:?}");
    }
}

/// Rot names its records and the way past it, and what lies behind it is read.
#[tokio::test]
async fn rot_is_measured() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let (places, base) = (places(&path), segment::base_of(path.file_name().unwrap().as_ref()).unwrap());
    let records = look(&bench.dir()).verify(&mut |_| {}).records;
    flip(&path, places[0] + 80);
    flip(&path, places[1] + 4);
    let found = only(&bench.dir());
    assert!(
        found.what.contains("4 records") && found.what.contains(&format!("{} bytes", places[2] - places[0])),
        "{found:?}"
    );
    assert!(found.advice.contains(&format!("log skip 0:{base}")), "{found:?}");
    assert_eq!(look(&bench.dir()).verify(&mut |_| {}).records, records - 4);
    // The last frame: nothing sound follows, the footer says where it ends.
    flip(&path, places[places.len() - 2] + 80);
    assert_eq!(findings(&bench.dir()).len(), 2);
}

/// In the newest segment, what was torn is told from what rotted (rule 6).
#[tokio::test]
async fn torn_or_rotten() {
    let bench = stopped().await;
    let path = bench.segments()[2].clone();
    let places = places(&path);
    let last = places.len() - 2;
    flip(&path, places[last] + 80);
    let found = only(&bench.dir());
    assert_eq!((found.severity, found.at), (Severity::Harmless, Some(places[last])), "{found:?}");
    assert!(found.what.contains("tore"), "{found:?}");
    flip(&path, places[last] + 80);
    flip(&path, places[0] + 80);
    let found = only(&bench.dir());
    assert_eq!((found.severity, found.at), (Severity::Grave, Some(places[0])), "{found:?}");
    assert!(found.what.contains("rotten"), "{found:?}");
}

/// What lies beside the segments, one kind of damage after the other.
#[tokio::test]
async fn what_lies_beside() {
    use Severity::{Grave, Harmless};
    let bench = stopped().await;
    type Damage = fn(&Path);
    let cases: [(&str, Damage, Severity, &str); 10] = [
        ("identity", |path| flip(path, 20), Grave, "any copy will do"),
        ("identity", |path| fs::remove_file(path).unwrap(), Grave, "any copy will do"),
        ("request-id.key", |path| fs::remove_file(path).unwrap(), Harmless, "makes a new one"),
        ("destinations", |path| flip(path, 33), Harmless, "counts as served"),
        ("destinations", |path| fs::remove_file(path).unwrap(), Harmless, "counts as served"),
        ("cursors/search.cursor", |path| flip(path, 40), Harmless, "restarts at the oldest"),
        ("cursors/search.cursor", |path| fs::remove_file(path).unwrap(), Harmless, "restarts at the oldest"),
        ("00000000000000009999.seg.tmp", |path| fs::write(path, "half").unwrap(), Harmless, "removes it"),
        ("cursors/search.cursor.tmp", |path| fs::write(path, "half").unwrap(), Harmless, "removes it"),
        ("skipped", |path| fs::write(path, "no list").unwrap(), Grave, "halt there again"),
    ];
    for (name, damage, severity, words) in cases {
        let dir = bench.crash("damaged");
        damage(&dir.join(name));
        let found = only(&dir);
        assert_eq!((found.severity, &found.path), (severity, &dir.join(name)), "{found:?}");
        assert!(found.what.contains(words) || found.advice.contains(words), "{found:?}");
    }
    // A cursor that is not listed, and one that another destination's was copied to.
    let dir = bench.crash("damaged");
    fs::write(dir.join("destinations"), small_list(&dir)).unwrap();
    assert!(only(&dir).what.contains("not listed"));
    let dir = bench.crash("damaged");
    fs::copy(dir.join("cursors/search.cursor"), dir.join("cursors/other.cursor")).unwrap();
    assert!(only(&dir).what.contains("belongs to destination \"search\""));
}

fn found_end(dir: &Path) -> u64 {
    look(dir).verify(&mut |_| {}).end.offset
}

/// An empty list of destinations.
fn small_list(dir: &Path) -> Vec<u8> {
    use crate::log::small_file::{self, Kind};
    small_file::encode(Kind::Destinations, look(dir).log_id(), |_| {})
}

/// Segments that are missing or do not belong: in the middle, at the end, another log's.
#[tokio::test]
async fn the_chain_is_followed() {
    let (bench, other) = (stopped().await, stopped().await);
    let dir = bench.crash("middle");
    fs::remove_file(&segments_in(&dir)[1]).unwrap();
    let found = only(&dir);
    assert_eq!((found.severity, &found.path), (Severity::Grave, &segments_in(&dir)[1]));
    assert!(found.what.contains("missing"), "{found:?}");
    let base = |path: &Path| segment::base_of(path.file_name().unwrap().as_ref()).unwrap();
    let (from, to) = (base(&bench.segments()[1]), base(&bench.segments()[2]));
    let all: Vec<u64> =
        (0..found_end(&dir)).step_by(2).filter(|offset| !(from..to).contains(offset)).collect();
    assert_eq!(dumped(&dir, Start::Oldest), (all.clone(), vec![(from, to)]));
    let behind: Vec<u64> = all.iter().copied().filter(|offset| *offset >= to).collect();
    assert_eq!(dumped(&dir, Start::Position(position(from + 2))), (behind.clone(), vec![(from + 2, to)]));
    assert_eq!(dumped(&dir, Start::Position(position(to))), (behind, vec![]));
    for source in [Source::Footers, Source::Frames] {
        assert_eq!(look(&dir).stats(source, &mut |_| {}).unwrap().missing, to - from);
    }

    let dir = bench.crash("oldest");
    fs::remove_file(&segments_in(&dir)[0]).unwrap();
    let found = only(&dir);
    assert_eq!(found.severity, Severity::Grave);
    assert!(found.what.contains("no agent has given it back"), "{found:?}");

    let dir = bench.crash("newest");
    let (log, _) = bench.try_open(dir.clone()).unwrap();
    log.subscribe("search", From::Oldest).await.unwrap();
    log.commit("search", &progress(log.status().end.offset)).await.unwrap();
    log.close().await;
    drop(log);
    let restored = bench.crash("restored");
    fs::remove_file(segments_in(&restored).pop().unwrap()).unwrap();
    fs::copy(dir.join("cursors/search.cursor"), restored.join("cursors/search.cursor")).unwrap();
    let found = only(&restored);
    assert!(
        found.severity == Severity::Grave && found.what.contains("acknowledged data is gone"),
        "{found:?}"
    );

    let dir = bench.crash("foreign");
    let path = segments_in(&dir).pop().unwrap();
    fs::copy(other.segments().pop().unwrap(), &path).unwrap();
    let found = findings(&dir);
    assert!(found.iter().any(|found| found.path == path && found.what.contains("has no place")), "{found:?}");
}

/// Everything that is wrong is told at once, in the order of the files.
#[tokio::test]
async fn all_findings_at_once() {
    let bench = stopped().await;
    let segments = bench.segments();
    flip(&segments[0], HEADER as u64 + 70);
    flip(&segments[1], 100);
    flip(&segments[1], HEADER as u64 + 70);
    let size = fs::metadata(&segments[1]).unwrap().len();
    flip(&segments[1], size - 1);
    fs::write(bench.dir().join("cursors/search.cursor"), "").unwrap();
    let found = findings(&bench.dir());
    let told: Vec<_> =
        found.iter().map(|found| (found.path.file_name().unwrap().to_owned(), found.at)).collect();
    let name = |index: usize| segments[index].file_name().unwrap().to_owned();
    let rot = Some(HEADER as u64);
    assert_eq!(
        told,
        [(name(0), rot), (name(1), Some(0)), (name(1), rot), (name(1), None), ("search.cursor".into(), None)]
    );
}

/// A footer with a right checksum that says something else than the frames: readers would go astray.
#[tokio::test]
async fn footers_are_compared_with_frames() {
    let bench = stopped().await;
    let path = bench.segments()[0].clone();
    let sound = fs::read(&path).unwrap();
    let nonce = segment_header::decode(&sound[..HEADER]).unwrap().nonce;
    let (at, footer) = footer_of(&path);
    let (summary, index) = (footer.summary, footer.places.clone());
    let mut astray = index.clone();
    astray[0].at += 1;
    let mut late = index.clone();
    late.push(segment_footer::IndexEntry { at: footer.frames_end() - 1, ..index[0] });
    let mut renumbered = index.clone();
    renumbered[0].version += 1;
    let frames = segment_footer::Summary { frames: summary.frames + 1, ..summary };
    let time = segment_footer::Summary { last_time: 1, ..summary };
    for (summary, index, words) in [
        (summary, astray, "the footer's index has"),
        (summary, late, "the footer's index has"),
        (summary, renumbered, "the footer's index has"),
        (frames, index.clone(), "the footer says"),
        (time, index, "the footer says"),
    ] {
        let mut bytes = sound[..at as usize].to_vec();
        bytes.extend(segment_footer::encode(nonce, &Footer { summary, places: index, ..footer.clone() }));
        fs::write(&path, bytes).unwrap();
        let found = findings(&bench.dir());
        assert!(
            !found.is_empty() && found.iter().all(|found| found.severity == Severity::Grave),
            "{found:?}"
        );
        assert!(found.iter().any(|found| found.what.contains(words)), "{found:?}");
    }
}

/// Frames whose checksum is right and whose content is impossible: a version that goes back, a payload that holds no
/// records, a group that begins nowhere, an id of another key, a newer format.
#[tokio::test]
async fn sound_frames_are_read_too() {
    let bench = stopped().await;
    let newest = bench.segments().pop().unwrap();
    let (at, log) = (*places(&newest).last().unwrap(), look(&bench.dir()));
    let end = log.verify(&mut |_| {}).end.offset;
    drop(log);
    let header = segment_header::decode(&fs::read(&newest).unwrap()[..HEADER]).unwrap();
    let key: [u8; 32] = fs::read(bench.dir().join("request-id.key")).unwrap().try_into().unwrap();
    let ids = crate::log::request_id::RequestIds::new(header.log_id, &key);
    let sound = frame::Stamp {
        offset: end,
        version: 1 << 40,
        time: Timestamp(1 << 40),
        group_delta: 0,
        request_id: ids.make(end, 1 << 40),
    };
    let rubbish = request(1, 2, 100);
    let back = frame::Stamp { version: 5, request_id: ids.make(end, 5), ..sound };
    let nowhere = frame::Stamp { group_delta: 17, ..sound };
    let foreign = frame::Stamp { request_id: RequestId(Uuid::nil()), ..sound };
    for (stamp, request, severity, words) in [
        (sound, save(1, 10), None, ""),
        (back, save(1, 10), Some(Severity::Grave), "versions must increase"),
        (sound, rubbish, Some(Severity::Grave), "payload is malformed"),
        (nowhere, save(1, 10), Some(Severity::Grave), "where none does"),
        (foreign, save(1, 10), Some(Severity::Harmless), "not made with this directory's key"),
    ] {
        let dir = bench.crash("made");
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, header.nonce, &stamp, &request);
        let path = segments_in(&dir).pop().unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, at).unwrap();
        let found = findings(&dir);
        assert_eq!(found.first().map(|found| found.severity), severity, "{found:?}");
        assert!(found.iter().all(|found| found.what.contains(words) && found.at == Some(at)), "{found:?}");
    }
}

/// What a newer agent wrote is not called damaged.
#[tokio::test]
async fn newer_formats_are_told_as_such() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..HEADER]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let found = findings(&bench.dir());
    let newer = found.iter().find(|found| found.at == Some(0)).unwrap();
    assert!(newer.advice.contains("nothing is damaged") && newer.what.contains("format 2"), "{found:?}");
}

/// The offsets that a dump yields, and the ranges that it misses.
pub(super) fn dumped(dir: &Path, start: Start) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut frames, mut missing) = (Vec::new(), Vec::new());
    for dumped in look(dir).frames(start) {
        match dumped.unwrap() {
            Dumped::Frame(frame) => frames.push(frame.position.offset),
            Dumped::Missing(range) => missing.push((range.from.offset, range.to.offset)),
        }
    }
    (frames, missing)
}

/// From any position and time on, every frame comes once and in order, and rot is told in its place.
#[tokio::test]
async fn frames_from_anywhere() {
    let bench = stopped().await;
    let dir = bench.dir();
    let end = look(&dir).verify(&mut |_| {}).end.offset;
    let all: Vec<u64> = (0..end).step_by(2).collect();
    assert_eq!(dumped(&dir, Start::Oldest), (all.clone(), vec![]));
    for from in 0..end + 2 {
        let expected = all.iter().copied().filter(|offset| offset + 2 > from).collect();
        assert_eq!(dumped(&dir, Start::Position(position(from))), (expected, vec![]), "from {from}");
    }
    // Request n was accepted n + 1 seconds after the clock's first one; the last three at one time.
    for second in 0..all.len() as u64 + 2 {
        let time = 1_000_000 + second * 1_000_000;
        let first = all.iter().position(|offset| {
            look(&dir).frames(Start::Position(position(*offset))).next().is_some_and(
                |dumped| matches!(dumped, Ok(Dumped::Frame(frame)) if frame.accepted_at.0 >= time),
            )
        });
        let expected = first.map_or(vec![], |first| all[first..].to_vec());
        assert_eq!(dumped(&dir, Start::Time(Timestamp(time))).0, expected, "at {time}");
    }
    let path = bench.segments()[1].clone();
    let base = segment::base_of(path.file_name().unwrap().as_ref()).unwrap();
    flip(&path, places(&path)[1] + 90);
    let rest = all.iter().copied().filter(|offset| *offset != base + 2).collect();
    assert_eq!(dumped(&dir, Start::Oldest), (rest, vec![(base + 2, base + 4)]));
    assert_eq!(dumped(&dir, Start::Position(position(base + 4))).1, []);
}

/// In segments with several entries in their indexes, too: what these spare reading is not missed.
#[tokio::test]
async fn frames_by_the_index() {
    let mut bench = Bench::new();
    bench.segment_bytes = 4 << 20;
    let (log, _) = bench.open();
    let mut times = Vec::new();
    for number in 0..14 {
        bench.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
        times.push(bench.clock.0.load(Ordering::SeqCst));
        log.append(save(number, 300_000)).await.unwrap();
    }
    log.close().await;
    drop(log);
    let dir = bench.dir();
    assert!(footer_of(&bench.segments()[0]).1.places.len() > 2);
    for (number, time) in times.iter().enumerate() {
        let expected: Vec<u64> = (number as u64..14).map(|number| number * 2).collect();
        for start in [time - 1, *time].map(|time| Start::Time(Timestamp(time))) {
            assert_eq!(dumped(&dir, start).0, expected, "{start:?}");
        }
        for offset in [2 * number as u64, 2 * number as u64 + 1] {
            assert_eq!(dumped(&dir, Start::Position(position(offset))).0, expected, "from {offset}");
        }
    }
}

/// Footers and frames give the same numbers; a cursor's lag is what lies behind it; rot is counted.
#[tokio::test]
async fn stats_add_up() {
    let bench = stopped().await;
    let footers = look(&bench.dir()).stats(Source::Footers, &mut |_| {}).unwrap();
    let frames = look(&bench.dir()).stats(Source::Frames, &mut |_| {}).unwrap();
    for stats in [&footers, &frames] {
        assert_eq!((stats.records, stats.segments.count), (stats.frames * 2, 3));
        assert_eq!((stats.start, stats.end.offset), (position(0), stats.records));
        assert_eq!(stats.first_time, Some(Timestamp(2_000_000)));
        assert_eq!(stats.last_time, Some(Timestamp(bench.clock.0.load(Ordering::SeqCst))));
        let cursor = &stats.cursors[0];
        assert_eq!((cursor.destination.as_str(), cursor.lag_records), ("search", stats.records - 2));
        let first = places(&bench.segments()[0])[1] - HEADER as u64;
        assert_eq!(cursor.lag_bytes, stats.segments.frame_bytes - first);
    }
    assert_eq!(
        (footers.frames, footers.segments, footers.last_version, footers.by_caller.len()),
        (frames.frames, frames.segments, frames.last_version, 0)
    );
    let sums = |counts: &std::collections::BTreeMap<String, _>| {
        counts.values().map(|counts: &crate::log::inspect::Counts| counts.records).sum::<u64>()
    };
    assert_eq!((sums(&frames.by_index), sums(&frames.by_caller)), (frames.records, frames.records));
    let records = |stats: &crate::log::inspect::Stats| -> Vec<(String, u64)> {
        stats.by_index.iter().map(|(index, counts)| (index.clone(), counts.records)).collect()
    };
    assert_eq!(records(&footers), records(&frames));
    assert_eq!(frames.by_index.keys().collect::<Vec<_>>(), ["offers", "products"]);
    assert_eq!(frames.by_caller.keys().collect::<Vec<_>>(), ["", "shop"]);

    let path = bench.segments()[1].clone();
    flip(&path, places(&path)[1] + 90);
    let rotten = look(&bench.dir()).stats(Source::Frames, &mut |_| {}).unwrap();
    assert_eq!((rotten.rotten, rotten.records, rotten.frames), (2, frames.records, frames.frames - 1));
}

/// What a destination misses and its gap has counted is no finding that somebody must act on.
#[tokio::test]
async fn a_gap_that_is_counted_is_harmless() {
    let mut bench = Bench::new();
    bench
        .limits
        .insert("search".to_owned(), BacklogLimit { bytes_max: 20 << 10, when_full: WhenFull::Detach });
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    for number in 0..40 {
        log.append(save(number, 2000)).await.unwrap();
    }
    log.give_back().await.unwrap();
    assert!(log.status().start > position(0));
    log.close().await;
    drop(log);
    let found = only(&bench.dir());
    assert_eq!(found.severity, Severity::Harmless);
    assert!(found.what.contains("is a gap for it"), "{found:?}");
}
