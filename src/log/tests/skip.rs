//! Rot that an operator has given up: readers pass over it, and nothing but it (rules 6 and 7).

use std::fs;

use ring::rand::SystemRandom;

use super::{
    inspect::{dumped, findings, flip, look, only, places, save, stopped},
    *,
};
use crate::log::{
    census, directory,
    files::FileSystem,
    inspect::{Rotten, Severity, Sought, Start, StoppedLog},
    interface::Located,
    recovery, segment,
    small_file::{self, Kind},
};

/// Gives up everything that is rotten; returns the offsets.
fn give_up(bench: &Bench, dir: &Path) -> Vec<(u64, u64)> {
    let log = StoppedLog::open_on(Arc::new(bench.disk.clone()), dir).unwrap();
    let rotten = log.rotten(&mut |_| {}).unwrap();
    log.give_up(&rotten, Timestamp(5)).unwrap();
    let offsets = |rotten: &Rotten| {
        let (from, to) = rotten.positions();
        (from.offset, to.offset)
    };
    rotten.iter().map(offsets).collect()
}

/// The offsets of all frames from `from` on, and the ranges that are missing in between.
async fn read_over(log: &EmbeddedLog, from: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut offsets, mut missing, mut next) = (Vec::new(), Vec::new(), from);
    let end = log.status().end.offset;
    let mut reader = log.read_from(position(from)).await.unwrap();
    while next < end {
        match tokio::time::timeout(DEADLINE, reader.next()).await.expect("more frames") {
            Ok(frames) => {
                offsets.extend(frames.iter().map(|frame| frame.position.offset));
                next = offsets.last().unwrap() + 2;
            }
            Err(ReadError::GivenUp { from, to, .. }) => {
                // Whoever asks again is told again, and goes on by asking for what lies behind.
                assert!(matches!(reader.next().await, Err(ReadError::GivenUp { .. })));
                missing.push((from.offset, to.offset));
                next = to.offset;
                reader = log.read_from(to).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    (offsets, missing)
}

/// The same of the log in a directory, which is closed afterwards.
async fn open_and_read_over(bench: &Bench) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (log, _) = bench.open();
    let read = read_over(&log, 0).await;
    log.close().await;
    read
}

fn base_of(path: &Path) -> u64 {
    segment::base_of(path.file_name().unwrap().as_ref()).unwrap()
}

/// Rot in a sealed segment: before it is given up its readers halt, afterwards everything but the range is read, from
/// wherever one begins. The segment keeps every byte, and doing it again does nothing.
#[tokio::test]
async fn sealed_segments() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let (places, base) = (places(&path), base_of(&path));
    for rotten in [1, 2, places.len() - 2] {
        flip(&path, places[rotten] + 80);
    }
    let before = fs::read(&path).unwrap();
    let last = base + 2 * (places.len() as u64 - 2);
    let expected = vec![(base + 2, base + 6), (last, last + 2)];
    let (log, _) = bench.open();
    let mut reader = log.read_from(position(base)).await.unwrap();
    reader.next().await.unwrap();
    let Err(ReadError::Rotten { what, .. }) = reader.next().await else { panic!() };
    assert!(what.contains(&format!("log skip 0:{}", base + 2)), "{what}");
    log.close().await;
    drop((log, reader));

    assert_eq!(give_up(&bench, &bench.dir()), expected);
    assert_eq!(give_up(&bench, &bench.dir()), []);
    let (log, report) = bench.open();
    assert_eq!(report.alerts, [""; 0]);
    let end = log.status().end.offset;
    let is_lost = |offset: &u64| expected.iter().any(|(from, to)| (from..to).contains(&offset));
    for from in 0..end {
        let begin = from - from % 2;
        let sound: Vec<u64> = (begin..end).step_by(2).filter(|offset| !is_lost(offset)).collect();
        let missing =
            expected.iter().filter(|(_, to)| *to > from).map(|(first, to)| (*first.max(&from), *to));
        assert_eq!(read_over(&log, from).await, (sound, missing.collect()), "from {from}");
    }
    log.close().await;
    drop(log);
    assert_eq!(fs::read(&path).unwrap(), before);
    let found = findings(&bench.dir());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|found| found.severity == Severity::Harmless), "{found:?}");
    assert_eq!(dumped(&bench.dir(), Start::Oldest).1, expected);
}

/// Rot in the newest segment halts opening; once it is given up, up to the next sound frame, the log opens, is appended
/// to, rolls, and opens again.
#[tokio::test]
async fn newest_segment() {
    let bench = stopped().await;
    let path = bench.segments()[2].clone();
    let (places, base) = (places(&path), base_of(&path));
    flip(&path, places[0] + 80);
    let Err(LogError::Halted { what, .. }) = bench.try_open(bench.dir()) else { panic!() };
    assert!(what.contains(&format!("log skip 0:{base}")), "{what}");
    assert_eq!(give_up(&bench, &bench.dir()), [(base, base + 2)]);

    let (log, report) = bench.open();
    assert_eq!((report.torn_bytes, report.end.offset % 2), (0, 0));
    let mut end = report.end.offset;
    while bench.segments().len() < 4 {
        assert_eq!(log.append(save(7, 600)).await.unwrap().position.offset, end);
        end += 2;
    }
    let expected = ((0..end).step_by(2).filter(|offset| *offset != base).collect(), vec![(base, base + 2)]);
    assert_eq!(read_over(&log, 0).await, expected);
    log.close().await;
    drop(log);
    assert_eq!(only(&bench.dir()).severity, Severity::Harmless);
    assert_eq!(open_and_read_over(&bench).await, expected);
}

/// A rotten header costs no record where the next segment says what it held; rot behind it is given up with it. In the
/// newest segment nothing says so.
#[tokio::test]
async fn headers() {
    let bench = stopped().await;
    let segments = bench.segments();
    let (places, base) = (places(&segments[1]), base_of(&segments[1]));
    flip(&segments[1], 200);
    assert!(
        matches!(bench.try_open(bench.dir()), Err(LogError::Halted { what, .. }) if what.contains("log skip"))
    );
    let log = look(&bench.dir());
    let Sought::Rotten(rotten) = log.seek_rotten(position(base)).unwrap() else { panic!() };
    assert_eq!((rotten.len(), rotten[0].records(), rotten[0].bytes()), (1, 0, (0, HEADER as u64)));
    drop(log);
    assert_eq!(give_up(&bench, &bench.dir()), [(base, base)]);
    let (log, _) = bench.open();
    let end = log.status().end.offset;
    assert_eq!(read_over(&log, 0).await, ((0..end).step_by(2).collect(), vec![]));
    log.close().await;
    drop(log);
    assert_eq!(only(&bench.dir()).severity, Severity::Harmless);

    flip(&segments[1], places[0] + 80);
    assert_eq!(give_up(&bench, &bench.dir()), [(base, base + 2)]);
    let sound = (0..end).step_by(2).filter(|offset| *offset != base).collect();
    assert_eq!(open_and_read_over(&bench).await, (sound, vec![(base, base + 2)]));

    flip(&segments[2], 200);
    let log = look(&bench.dir());
    let Sought::Not(what) = log.seek_rotten(position(end - 1)).unwrap() else { panic!() };
    assert!(what.contains("restore it from a copy"), "{what}");
    assert_eq!(log.rotten(&mut |_| {}).unwrap(), []);
}

/// What was given up was for that segment; a request id that leads into it leads nowhere any more.
#[tokio::test]
async fn request_ids_in_the_range() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut ids = Vec::new();
    while bench.segments().len() < 2 {
        ids.push(log.append(save(1, 600)).await.unwrap());
    }
    log.close().await;
    drop(log);
    let path = bench.segments()[0].clone();
    flip(&path, places(&path)[1] + 80);
    give_up(&bench, &bench.dir());
    let (log, _) = bench.open();
    assert_eq!(log.locate(ids[0].request_id).await.unwrap(), Located::Found(ids[0].position));
    assert_eq!(log.locate(ids[1].request_id).await.unwrap(), Located::Expired);
    assert_eq!(log.locate(ids[2].request_id).await.unwrap(), Located::Found(ids[2].position));
}

/// Whichever call of recording it fails, the log is as it was or the range is given up; a second attempt succeeds.
#[tokio::test]
async fn failures_in_between() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    flip(&path, places(&path)[1] + 80);
    for failing in 0.. {
        let dir = bench.crash("failing");
        let log = StoppedLog::open_on(Arc::new(bench.disk.clone()), &dir).unwrap();
        let rotten = log.rotten(&mut |_| {}).unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        bench.disk.set(move |_, _| match counted.fetch_add(1, Ordering::SeqCst) {
            call if call == failing => Err(std::io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        });
        let given_up = log.give_up(&rotten, Timestamp(5));
        bench.disk.set(|_, _| Ok(()));
        drop(log);
        let severity = findings(&dir).iter().map(|found| found.severity).max();
        if given_up.is_ok() {
            assert!(failing >= 5 && calls.load(Ordering::SeqCst) == failing, "every call was tried");
            assert_eq!(severity, Some(Severity::Harmless));
            break;
        }
        let log = StoppedLog::open_on(Arc::new(bench.disk.clone()), &dir).unwrap();
        log.give_up(&rotten, Timestamp(5)).unwrap();
        drop(log);
        bench.try_open(dir.clone()).unwrap().0.close().await;
        assert_eq!(only(&dir).severity, Severity::Harmless);
    }
}

/// Without its list the log halts its readers again and says so; a list of a newer agent is not passed over.
#[tokio::test]
async fn the_list_itself() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let base = base_of(&path);
    flip(&path, places(&path)[1] + 80);
    give_up(&bench, &bench.dir());
    let list = bench.dir().join("skipped");
    let sound = fs::read(&list).unwrap();

    flip(&list, 20);
    let (log, report) = bench.open();
    assert!(report.alerts[0].contains("halts again"), "{report:?}");
    let mut reader = log.read_from(position(base + 2)).await.unwrap();
    assert!(matches!(reader.next().await, Err(ReadError::Rotten { .. }) | Ok(_)));
    assert!(matches!(reader.next().await, Err(ReadError::Rotten { .. })));
    log.close().await;
    drop((log, reader));

    let newer = small_file::encode(Kind::Skipped, look(&bench.dir()).log_id(), |out| {
        crate::log::sections::put(out, 0x8002, b"later");
    });
    fs::write(&list, newer).unwrap();
    assert!(matches!(bench.try_open(bench.dir()), Err(LogError::Halted { path, .. }) if path == list));

    // Ranges of segments that are gone are dropped from the list.
    fs::write(&list, sound).unwrap();
    let copy = bench.crash("gone");
    for segment in &segments_in(&copy)[..2] {
        fs::remove_file(segment).unwrap();
    }
    let newest = segments_in(&copy).remove(0);
    flip(&newest, places(&newest)[0] + 80);
    give_up(&bench, &copy);
    assert_eq!(fs::read(copy.join("skipped")).unwrap().len(), 32 + 6 + 56, "one range is left");
}

/// A destination that is left behind misses what was given up, too, under no index, and by index what lies behind it.
#[tokio::test]
async fn gaps_count_over_it() {
    let bench = stopped().await;
    let path = bench.segments()[1].clone();
    let base = base_of(&path);
    flip(&path, places(&path)[1] + 80);
    give_up(&bench, &bench.dir());
    let files: Arc<dyn FileSystem> = Arc::new(bench.disk.clone());
    let opened = directory::open(files.clone(), &bench.dir(), &SystemRandom::new()).unwrap();
    let recovered = recovery::examine(&opened.directory).unwrap();
    let (segment, _) = &recovered.segments[1];
    let count = |from, to| {
        let counts =
            census::unsettled(&*files, opened.directory.log_id, segment, &progress(from), to).unwrap();
        let unknown = counts.get("").copied().unwrap_or_default();
        (unknown, counts.values().sum::<u64>() - unknown)
    };
    assert_eq!(
        (count(base, base + 8), count(base + 3, base + 8), count(base + 4, base + 8)),
        ((2, 6), (1, 4), (0, 4))
    );
}

/// A stopped log of so many requests of two records, and its only segment.
async fn one_segment(requests: u64) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let (log, _) = bench.open();
    for number in 0..requests {
        log.append(save(number, 100)).await.unwrap();
    }
    log.close().await;
    let path = bench.segments().remove(0);
    (bench, path)
}

/// Rot right behind what was given up in the newest segment is given up like any other.
#[tokio::test]
async fn rot_behind_what_was_given_up() {
    let (bench, path) = one_segment(6).await;
    let places = places(&path);
    flip(&path, places[1] + 80);
    assert_eq!(give_up(&bench, &bench.dir()), [(2, 4)]);
    flip(&path, places[2] + 80);
    assert_eq!(give_up(&bench, &bench.dir()), [(4, 6)]);
    assert_eq!(open_and_read_over(&bench).await, (vec![0, 6, 8, 10], vec![(2, 4), (4, 6)]));
}

/// Offsets that were given up are not used again, though nothing is left behind them: the last group is torn.
#[tokio::test]
async fn nothing_is_left_behind_what_was_given_up() {
    let (bench, path) = one_segment(4).await;
    let places = places(&path);
    flip(&path, places[2] + 80);
    assert_eq!(give_up(&bench, &bench.dir()), [(4, 6)]);
    flip(&path, places[3] + 80);
    let (log, report) = bench.open();
    assert_eq!(report.end, position(6));
    assert_eq!(log.append(save(9, 100)).await.unwrap().position, position(6));
    assert_eq!(read_over(&log, 0).await, (vec![0, 2, 6], vec![(4, 6)]));
    log.close().await;
    drop(log);
    assert_eq!(open_and_read_over(&bench).await, (vec![0, 2, 6], vec![(4, 6)]));
}
