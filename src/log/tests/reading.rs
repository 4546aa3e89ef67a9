//! Readers, request ids and the end of a log's life.

use plugin_api::identity::{LogId, RequestId};
use ring::rand::SystemRandom;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::log::{
    buffers::Buffers,
    catalogue::{Catalogue, Durable},
    directory,
    files::FileSystem,
    interface::{From, Idempotency, Located, Reader as _},
    reader::{EmbeddedReader, Readable},
    recovery,
    request_id::RequestIds,
};

/// Every position of every frame can be read from, over several segments, sealed or not, before and after a restart.
#[tokio::test]
async fn from_any_position() {
    let mut bench = Bench::new();
    bench.segment_bytes = 4 << 20;
    let (log, _) = bench.open();
    let mut appended = Vec::new();
    for number in 0..60 {
        appended.push(append(&log, number, 3, if number % 4 == 0 { 600_000 } else { 1000 }).await);
    }
    assert!(bench.segments().len() > 2);
    let check = async |log: &EmbeddedLog| {
        for from in (0..180).step_by(7) {
            let frames = read_all(log, from).await;
            assert_eq!(numbers(&frames), (from / 3..60).collect::<Vec<_>>(), "from {from}");
            for frame in frames {
                let expected = &appended[frame.position.offset as usize / 3];
                assert_eq!((frame.position, frame.version), (expected.position, expected.version));
                assert_eq!(frame.request_id, expected.request_id);
            }
        }
    };
    check(&log).await;
    log.close().await;
    drop(log);
    check(&bench.open().0).await;
}

/// A frame larger than a block, and blocks that end within a frame's head.
#[tokio::test]
async fn frames_around_the_block_size() {
    let mut bench = Bench::new();
    bench.segment_bytes = 16 << 20;
    let (log, _) = bench.open();
    let around = 1usize << 20;
    let sizes = [around * 3, around - 90, around - 68, around - 200, 10, around, 50, around * 2 + 1, 8];
    for (number, size) in sizes.iter().enumerate() {
        append(&log, number as u64, 1, *size).await;
    }
    let frames = read_all(&log, 0).await;
    let found: Vec<_> = frames.iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(found, sizes);
}

/// What a frame carries beside its records comes back, also after a restart.
#[tokio::test]
async fn attributes_come_back() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let attributes = Attributes {
        idempotency: Some(Idempotency { key: "a key".to_owned(), digest: [7; 32] }),
        caller: Some("spiffe://mesh/producer".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    };
    log.append(Append { records: 2, payload: b"payload".to_vec(), attributes: attributes.clone() })
        .await
        .unwrap();
    let (log, _) = bench.try_open(bench.crash("killed")).unwrap();
    let frame = read_all(&log, 0).await.remove(0);
    assert_eq!((frame.attributes, &frame.payload[..], frame.records), (attributes, &b"payload"[..], 2));
}

/// A reader at the end waits, sees what comes, also in the next segment, and ends when the log is closed. A dropped
/// call loses nothing.
#[tokio::test]
async fn reader_follows_the_tail() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let mut reader = log.read_from(position(0)).await.unwrap();
    for number in 0..20 {
        // Polled once and dropped: cancelled while it waits.
        assert!(tokio::time::timeout(Duration::ZERO, reader.next()).await.is_err());
        append(&log, number, 1, 3000).await;
        assert_eq!(numbers(&reader.next().await.unwrap()), [number]);
    }
    append(&log, 20, 1, 10).await;
    log.close().await;
    assert_eq!(numbers(&reader.next().await.unwrap()), [20]);
    assert!(matches!(reader.next().await, Err(ReadError::Closed)));
    assert!(matches!(log.append(request(21, 1, 10)).await, Err(AppendError::Closed)));
}

/// Whoever stands at the end is given what was written without a look at the disk, the same as the disk has; whoever
/// falls too far behind reads the disk, misses nothing, and is given what comes once it is at the end again.
#[tokio::test]
async fn what_was_just_written_is_not_read_back() {
    let mut bench = Bench::new();
    bench.segment_bytes = 4 << 20;
    let (log, _) = bench.open();
    let mut reader = log.read_from(position(0)).await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, reader.next()).await.is_err());
    let mut given = Vec::new();
    // Four make a segment: the second round begins within one.
    for first in [0, 21] {
        bench.disk.fail_reads();
        for number in first..first + 10 {
            append(&log, number, 2, 900_000).await;
            given.extend(reader.next().await.unwrap());
        }
        assert_eq!(numbers(&given), (0..first + 10).collect::<Vec<_>>());
        for number in first + 10..first + 21 {
            append(&log, number, 2, 900_000).await;
        }
        assert!(matches!(reader.next().await, Err(ReadError::Io { .. })), "it is too far behind");
        bench.disk.heal();
        while (given.len() as u64) < first + 21 {
            given.extend(reader.next().await.unwrap());
        }
    }
    assert!(bench.segments().len() > 8);
    let told = |frames: &[Frame]| frames.iter().map(|frame| format!("{frame:?}")).collect::<Vec<_>>();
    assert!(told(&given) == told(&read_all(&log, 0).await), "the disk has something else");
}

/// Rule 1, on the readers' side: what the writer has written and not yet published as durable is never seen.
#[tokio::test]
async fn reader_stops_at_the_watermark() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    for number in 0..4 {
        append(&log, number, 1, 100).await;
    }
    let files: Arc<dyn FileSystem> = Arc::new(bench.disk.clone());
    let opened = directory::open(files.clone(), &bench.crash("killed"), &SystemRandom::new()).unwrap();
    let recovered = recovery::examine(&opened.directory).unwrap();
    let all = recovered.durable;
    let frame_bytes = (all.at - HEADER as u64) / 4;
    let catalogue = Arc::new(Catalogue::new(
        files.clone(),
        opened.directory.path.clone(),
        u64::MAX,
        bench.retention,
        recovered.segments,
    ));
    let readable = Arc::new(Readable {
        log_id: opened.directory.log_id,
        files,
        catalogue,
        buffers: Buffers::default(),
        newest: Arc::default(),
    });
    // The second frame's bytes are there, its offset is not durable.
    for durable in
        [Durable { end: 1, ..all }, Durable { end: 1, at: HEADER as u64 + frame_bytes + 20, ..all }]
    {
        let (durable_tx, durable_rx) = watch::channel(durable);
        let mut reader = EmbeddedReader::new(readable.clone(), durable_rx, 0);
        assert_eq!(numbers(&reader.next().await.unwrap()), [0]);
        assert!(tokio::time::timeout(Duration::ZERO, reader.next()).await.is_err());
        durable_tx.send_replace(all);
        assert_eq!(numbers(&reader.next().await.unwrap()), [1, 2, 3]);
    }
}

/// A reader keeps its segment when that is given back, and then finds that it is behind the log's start.
#[tokio::test]
async fn deletion_under_a_reader() {
    let mut bench = Bench::new();
    bench.segment_bytes = 4 << 20;
    let (log, _) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    for number in 0..12 {
        append(&log, number, 1, 900_000).await;
    }
    let mut reader = log.read_from(position(0)).await.unwrap();
    assert_eq!(numbers(&reader.next().await.unwrap()), [0]);
    log.commit("search", &progress(12)).await.unwrap();
    assert_eq!(log.status().start, position(8));
    let mut seen = 1;
    let error = loop {
        match reader.next().await {
            Ok(frames) => seen += frames.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(seen, 4, "the rest of its segment");
    assert!(
        matches!(error, ReadError::BelowStart { wanted, start } if wanted.offset == 4 && start.offset == 8)
    );
}

/// Request ids lead to their records, cannot be guessed, and tell what is gone from what never was.
#[tokio::test]
async fn request_ids() {
    let bench = Bench::new();
    let (log, report) = bench.open();
    log.subscribe("search", From::Oldest).await.unwrap();
    let mut all = Vec::new();
    for number in 0..20 {
        all.push(append(&log, number, 2, 3000).await);
    }
    for appended in &all {
        assert_eq!(log.locate(appended.request_id).await.unwrap(), Located::Found(appended.position));
    }
    let Appended { position: at, version, request_id, .. } = all[5];
    let forged = RequestIds::new(report.log_id, &[1; 32]).make(at.offset, version.0);
    let inside = RequestId(Uuid::from_u128(request_id.0.as_u128() + (1 << 48)));
    let foreign = RequestIds::new(LogId(Uuid::from_u128(1)), &[1; 32]).make(at.offset, version.0);
    for unknown in [forged, inside, foreign, RequestId(Uuid::nil()), RequestId(Uuid::max())] {
        assert_eq!(log.locate(unknown).await.unwrap(), Located::NotFound, "{unknown}");
    }
    log.commit("search", &progress(40)).await.unwrap();
    assert!(log.status().start > at);
    assert_eq!(log.locate(request_id).await.unwrap(), Located::Expired);
    assert_eq!(log.locate(all[19].request_id).await.unwrap(), Located::Found(all[19].position));
    log.close().await;
    drop(log);
    let (log, _) = bench.open();
    assert_eq!(log.locate(all[19].request_id).await.unwrap(), Located::Found(all[19].position));
}

/// An id whose offset was given out anew, after a restore of an older copy, is not taken for the new request's.
#[tokio::test]
async fn ids_of_a_restored_log() {
    let bench = Bench::new();
    let (log, _) = bench.open();
    let copy = bench.crash("older");
    let lost = append(&log, 1, 1, 100).await;
    let (restored, _) = bench.try_open(copy).unwrap();
    bench.clock.0.store(7_000_000, Ordering::SeqCst);
    let new = append(&restored, 2, 1, 100).await;
    assert_eq!(new.position, lost.position);
    assert_eq!(restored.locate(lost.request_id).await.unwrap(), Located::NotFound);
    assert_eq!(restored.locate(new.request_id).await.unwrap(), Located::Found(new.position));
}
