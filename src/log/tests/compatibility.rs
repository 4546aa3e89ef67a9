//! What `FORMAT.md` promises between versions: a newer agent opens what an older one left; an older one passes over what
//! it may, refuses the rest with words, and never takes it for damage.
//!
//! The newer agent is played by writing what this one does not know.

use std::{fs, os::unix::fs::FileExt};

use super::{
    inspect::{findings, footer_of, places, save, stopped},
    *,
};
use crate::log::{
    frame, gaps,
    inspect::Severity,
    interface::{From, GapCause},
    sections::{self, MUST_UNDERSTAND},
    segment_footer, segment_header,
};

/// Adds a section to a small file, or another format number, as a newer agent would: with a right checksum.
fn rewrite_small(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Adds a section to the footer of a sealed segment.
fn add_to_footer(path: &Path, tag: u16) {
    let bytes = fs::read(path).unwrap();
    let nonce = segment_header::decode(&bytes[..HEADER]).unwrap().nonce;
    let (at, _) = footer_of(path);
    let mut footer = bytes[at as usize..bytes.len() - segment_footer::TRAILER_BYTES].to_vec();
    sections::put(&mut footer, tag, b"later");
    fs::write(path, [&bytes[..at as usize], &sealed(footer, at, nonce)].concat()).unwrap();
}

/// A footer's sections with their trailer.
fn sealed(mut footer: Vec<u8>, at: u64, nonce: u64) -> Vec<u8> {
    let length = footer.len() as u32;
    footer.extend(at.to_le_bytes());
    footer.extend(length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), &footer);
    footer.extend(checksum.to_le_bytes());
    footer.extend(b"SYNCEND\n");
    footer
}

/// Appends a frame to the newest segment that has one more attribute.
fn append_frame(dir: &Path, tag: u16) {
    let path = segments_in(dir).pop().unwrap();
    let (at, bytes) = (*places(&path).last().unwrap(), fs::read(&path).unwrap());
    let header = segment_header::decode(&bytes[..HEADER]).unwrap();
    let offset = header.base + 2 * (places(&path).len() as u64 - 1);
    let request_id = plugin_api::identity::RequestId(uuid::Uuid::nil());
    let (version, time) = (1 << 40, Timestamp(1 << 40));
    let stamp = frame::Stamp { offset, version, time, group_delta: 0, request_id };
    let mut request = save(1, 10);
    let mut attribute = Vec::new();
    sections::put(&mut attribute, tag, b"later");
    // Encoded as a part of the payload, and then counted to the attributes.
    request.payload.splice(0..0, attribute.iter().copied());
    let mut frame = Vec::new();
    frame::encode(&mut frame, header.nonce, &stamp, &request);
    frame[64..68].copy_from_slice(&(attribute.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header.nonce.to_le_bytes()), &frame[..8]);
    let checksum = crc32c::crc32c_append(checksum, &frame[12..]);
    frame[8..12].copy_from_slice(&checksum.to_le_bytes());
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&frame, at).unwrap();
}

/// A stopped log in which every kind of small file is there.
async fn with_every_file() -> Bench {
    let bench = stopped().await;
    let log_id = super::inspect::look(&bench.dir()).log_id();
    let gap = gaps::opened(0, GapCause::Removed, Timestamp(1));
    fs::write(bench.dir().join("cursors/search.gaps"), gaps::encode(log_id, "search", &[gap])).unwrap();
    fs::write(bench.dir().join("skipped"), crate::log::skipped::encode(log_id, &[])).unwrap();
    bench
}

const SMALL: [&str; 5] =
    ["identity", "destinations", "cursors/search.cursor", "cursors/search.gaps", "skipped"];

/// Every file's bytes but those that opening may change.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = SMALL.iter().map(|name| dir.join(name)).collect();
    paths.extend(segments_in(dir));
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A section that a later version added and that may be passed over changes nothing, wherever it stands.
#[tokio::test]
async fn what_may_be_passed_over_is() {
    let bench = with_every_file().await;
    for name in SMALL {
        rewrite_small(&bench.dir().join(name), |bytes| sections::put(bytes, 99, b"later"));
    }
    add_to_footer(&bench.segments()[0], 99);
    append_frame(&bench.dir(), 99);
    fs::write(bench.dir().join("a file of later"), "x").unwrap();
    let found = findings(&bench.dir());
    // The frame's id was not made by this directory.
    assert!(found.iter().all(|found| found.what.contains("request id")), "{found:?}");
    let (log, report) = bench.open();
    assert_eq!(report.alerts, [""; 0]);
    let found = log.subscribe("search", From::Now).await.unwrap();
    assert_eq!(found.progress, progress(2));
    assert_eq!(read_all(&log, 0).await.len() as u64 * 2, log.status().end.offset);
    log.append(save(1, 10)).await.unwrap();
    log.close().await;
    assert!(bench.dir().join("a file of later").exists());
}

/// What must be understood and is not, and a newer format, is refused with words that say so; nothing is changed, and
/// nothing is called damaged.
#[tokio::test]
async fn what_must_be_understood_is_refused() {
    let bench = with_every_file().await;
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 2] =
        [|bytes| sections::put(bytes, 99 | MUST_UNDERSTAND, b"later"), |bytes| bytes[8] = 2];
    for (name, change) in SMALL.iter().flat_map(|name| changes.map(|change| (name, change))) {
        let dir = bench.crash("newer");
        rewrite_small(&dir.join(name), change);
        refused(&bench, &dir, &dir.join(name));
    }
    let dir = bench.crash("newer");
    append_frame(&dir, 99 | MUST_UNDERSTAND);
    refused(&bench, &dir, &segments_in(&dir)[2]);
    // The newest segment, sealed.
    let dir = bench.crash("newer");
    fs::remove_file(&segments_in(&dir)[2]).unwrap();
    add_to_footer(&segments_in(&dir)[1], 99 | MUST_UNDERSTAND);
    refused(&bench, &dir, &segments_in(&dir)[1]);
}

fn refused(bench: &Bench, dir: &Path, newer: &Path) {
    let before = contents(dir);
    let error = bench.try_open(dir.to_owned()).unwrap_err();
    let LogError::Halted { path, what } = &error else { panic!("{error}") };
    assert!(path == newer && what.contains("or a newer one"), "{error}");
    assert_eq!(contents(dir), before, "{error}");
    let found = findings(dir);
    let told = found.iter().find(|found| found.path == newer).unwrap();
    assert_eq!(told.severity, Severity::Grave);
    assert!(told.advice.contains("nothing is damaged"), "{found:?}");
}

/// A footer that must be understood costs an older agent its index, and no record: the frames say the same.
#[tokio::test]
async fn a_footer_of_later() {
    let bench = stopped().await;
    add_to_footer(&bench.segments()[0], 99 | MUST_UNDERSTAND);
    let (log, report) = bench.open();
    assert!(report.alerts.len() == 1 && report.alerts[0].contains("without an index"), "{report:?}");
    assert_eq!(read_all(&log, 0).await.len() as u64 * 2, log.status().end.offset);
}

/// Footers of the first agents have neither keys nor counts: all is read, and a gap still counts by index.
#[tokio::test]
async fn a_footer_of_before() {
    let bench = stopped().await;
    let path = bench.segments()[0].clone();
    let bytes = fs::read(&path).unwrap();
    let nonce = segment_header::decode(&bytes[..HEADER]).unwrap().nonce;
    let (at, footer) = footer_of(&path);
    let mut first = Vec::new();
    let sections_of = &bytes[at as usize..bytes.len() - segment_footer::TRAILER_BYTES];
    sections::for_each(sections_of, |tag, value| {
        if tag <= 2 {
            sections::put(&mut first, tag, value);
        }
        Ok(true)
    })
    .unwrap();
    assert!(first.len() < sections_of.len());
    let end = footer.frames_end();
    fs::write(&path, [&bytes[..end as usize], &sealed(first, end, nonce)].concat()).unwrap();
    assert_eq!(findings(&bench.dir()), []);
    let stopped = super::inspect::look(&bench.dir());
    let stats = stopped.stats(crate::log::inspect::Source::Footers, &mut |_| {}).unwrap();
    drop(stopped);
    assert_eq!(stats.by_index.values().map(|counts| counts.records).sum::<u64>(), stats.records);
    let (log, report) = bench.open();
    assert_eq!(report.alerts, [""; 0]);
    assert_eq!(read_all(&log, 0).await.len() as u64 * 2, log.status().end.offset);
}
